package agent

import (
	"crypto/sha256"
	"slices"
	"strconv"
	"strings"

	"github.com/google/go-tpm/tpm2"

	"github.com/trustpool/trustpool/agent/internal/tpm"
	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
)

// MinNonce is the least bytes of a nonce.
const MinNonce = 16

// Nonce is a caller's nonce that may be signed as it is.
type Nonce struct {
	bytes []byte
}

// The extraData that say more than "I saw this nonce" are these two bytes and a SHA-256. The marks are no TPM_ALG_ID, so no TPMT_HA begins so.
const (
	mark          = 0x7B
	markBound     = 0x01 // BIND_MODE_BOUND
	markCertified = 0x03 // the last of those that are reserved

	markedSize = 2 + sha256.Size
)

// ParseNonce makes sure that a nonce has from 16 to most bytes and can't be taken for the extraData of a bind mode that says more than "I saw this nonce": those have
// 34 bytes and begin with a mark. Every way to have a bare nonce signed goes through it.
func ParseNonce(nonce []byte, most int) (Nonce, error) {
	switch {
	case len(nonce) < MinNonce:
		return Nonce{}, refuse(agentv1.ErrorReason_ERROR_REASON_NONCE_TOO_SHORT)
	case len(nonce) > most:
		return Nonce{}, refuse(agentv1.ErrorReason_ERROR_REASON_NONCE_TOO_LONG, "max_nonce_size", strconv.Itoa(most))
	case len(nonce) == markedSize && nonce[0] == mark && nonce[1] >= markBound && nonce[1] <= markCertified:
		return Nonce{}, refuse(agentv1.ErrorReason_ERROR_REASON_NONCE_RESERVED)
	}

	return Nonce{bytes: nonce}, nil
}

// defaultSelection is what a dynamic launch measures into.
func defaultSelection() []tpm.Selection {
	return []tpm.Selection{tpm.Select(tpm2.TPMAlgSHA256, 17, 18, 19)}
}

// parseSelections checks the selections of a request against the banks that are active.
func parseSelections(requested []*agentv1.PcrSelection, active []tpm2.TPMAlgID) ([]tpm.Selection, error) {
	var selections []tpm.Selection

	for _, r := range requested {
		selection, err := parseSelection(r)
		if err != nil {
			return nil, err
		}

		if slices.ContainsFunc(selections, func(s tpm.Selection) bool { return s.Bank == selection.Bank }) {
			return nil, refuse(agentv1.ErrorReason_ERROR_REASON_SELECTION_REPEATED)
		}

		selections = append(selections, selection)
	}

	if len(selections) == 0 {
		selections = defaultSelection()
	}

	for _, s := range selections {
		if !slices.Contains(active, s.Bank) {
			return nil, refuse(agentv1.ErrorReason_ERROR_REASON_BANK_INACTIVE, "active_banks", bankNames(active))
		}
	}

	return selections, nil
}

func parseSelection(r *agentv1.PcrSelection) (tpm.Selection, error) {
	// The enum's numbers are TPM_ALG_IDs, but a caller may send any number.
	if _, known := agentv1.HashAlgo_name[int32(r.GetHashAlgo())]; !known || r.GetHashAlgo() == agentv1.HashAlgo_HASH_ALGO_UNSPECIFIED {
		return tpm.Selection{}, refuse(agentv1.ErrorReason_ERROR_REASON_BANK_UNKNOWN)
	}

	if len(r.GetPcrIndices()) == 0 {
		return tpm.Selection{}, refuse(agentv1.ErrorReason_ERROR_REASON_SELECTION_EMPTY)
	}

	selection := tpm.Selection{Bank: tpm2.TPMAlgID(r.GetHashAlgo())} // #nosec G115 -- a known enum number

	for _, index := range r.GetPcrIndices() {
		if index < 0 || index >= tpm.PCRs {
			return tpm.Selection{}, refuse(agentv1.ErrorReason_ERROR_REASON_PCR_OUT_OF_RANGE)
		}

		if selection.Has(int(index)) {
			return tpm.Selection{}, refuse(agentv1.ErrorReason_ERROR_REASON_SELECTION_REPEATED)
		}

		selection.Add(int(index))
	}

	return selection, nil
}

// wantedLogs says for each wanted source which digest the caller knows already, nil for none.
func wantedLogs(requested []*agentv1.LogRequest, sources []string) (map[string][]byte, error) {
	wanted := make(map[string][]byte, len(requested))

	for _, r := range requested {
		if !slices.Contains(sources, r.GetSource()) {
			return nil, refuse(agentv1.ErrorReason_ERROR_REASON_LOG_SOURCE_UNKNOWN, "log_sources", strings.Join(sources, ","))
		}

		_, twice := wanted[r.GetSource()]
		if n := len(r.GetKnownDigest()); twice || n != 0 && n != sha256.Size {
			return nil, refuse(agentv1.ErrorReason_ERROR_REASON_LOG_REQUEST_INVALID)
		}

		wanted[r.GetSource()] = r.GetKnownDigest()
	}

	return wanted, nil
}

func bankNames(banks []tpm2.TPMAlgID) string {
	names := make([]string, 0, len(banks))
	for _, bank := range banks {
		names = append(names, tpm.BankName(bank))
	}

	return strings.Join(names, ",")
}
