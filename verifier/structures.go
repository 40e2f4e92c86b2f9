package verifier

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"

	"github.com/trustpool/trustpool/verifier/eventlog"
)

// parseExact reads raw as one TPM structure and nothing else. go-tpm ignores bytes after the end and takes some encodings that no TPM writes, so what was
// understood is written again and must be the same bytes: the checks then speak of exactly what was signed.
func parseExact[T tpm2.Marshallable, P interface {
	*T
	tpm2.Unmarshallable
}](raw []byte) (*T, error) {
	if len(raw) == 0 {
		return nil, errors.New("is missing")
	}
	if len(raw) > maxStructure {
		return nil, fmt.Errorf("has %d bytes, more than %d", len(raw), maxStructure)
	}

	value, err := tpm2.Unmarshal[T, P](raw)
	if err != nil {
		return nil, fmt.Errorf("does not parse: %w", err)
	}
	if again := tpm2.Marshal(P(value)); !bytes.Equal(again, raw) {
		return nil, mismatch{detail: "is not in the one canonical form, or has bytes after its end", expected: again, got: raw}
	}
	return value, nil
}

// quoted is a parsed TPMS_ATTEST. info is nil if it is not of type quote.
type quoted struct {
	*tpm2.TPMSAttest
	info *tpm2.TPMSQuoteInfo
}

func parseQuoted(raw []byte) (*quoted, error) {
	attest, err := parseExact[tpm2.TPMSAttest](raw)
	if err != nil {
		return nil, fmt.Errorf("quoted %w", err)
	}
	q := &quoted{TPMSAttest: attest}
	if attest.Type == tpm2.TPMSTAttestQuote {
		q.info, err = attest.Attested.Quote()
	}
	return q, err
}

// selection returns the signed TPML_PCR_SELECTION (Part 2, 10.9.7) with each bank's PCRs in rising order.
func (q *quoted) selection() ([]Selection, error) {
	signed := q.info.PCRSelect.PCRSelections
	if len(signed) > maxBanks {
		return nil, fmt.Errorf("the signed selection has %d banks, more than %d", len(signed), maxBanks)
	}

	selection := make([]Selection, 0, len(signed))
	for _, bank := range signed {
		s := Selection{Alg: eventlog.Alg(bank.Hash)}
		// Part 2, 10.6.1: PCR n is bit n mod 8 of octet n / 8.
		for n := range 8 * len(bank.PCRSelect) {
			if bank.PCRSelect[n/8]&(1<<(n%8)) != 0 {
				s.PCRs = append(s.PCRs, n)
			}
		}
		selection = append(selection, s)
	}
	return selection, nil
}

// signature is a parsed TPMT_SIGNATURE.
type signature struct{ *tpm2.TPMTSignature }

func parseSignature(raw []byte) (*signature, error) {
	sig, err := parseExact[tpm2.TPMTSignature](raw)
	if err != nil {
		return nil, fmt.Errorf("signature %w", err)
	}
	return &signature{sig}, nil
}
