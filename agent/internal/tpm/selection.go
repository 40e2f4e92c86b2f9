package tpm

import (
	"crypto"
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-tpm/tpm2"
)

// PCRs is the number of PCRs of a PC Client TPM (TCG PC Client Platform TPM Profile, 4.6).
const PCRs = 24

// Selection is a set of PCRs of one bank.
type Selection struct {
	// Bank is the bank's hash algorithm.
	Bank tpm2.TPMAlgID
	// Mask has bit n%8 of byte n/8 set for PCR n (TPMS_PCR_SELECTION, TPM 2.0 Part 2, 10.6.2).
	Mask [PCRs / 8]byte
}

// Select returns the selection of the given PCRs, each from 0 to 23.
func Select(bank tpm2.TPMAlgID, pcrs ...int) Selection {
	s := Selection{Bank: bank}
	for _, pcr := range pcrs {
		s.Add(pcr)
	}

	return s
}

// Add selects one more PCR, 0 to 23.
func (s *Selection) Add(pcr int) {
	s.Mask[pcr/8] |= 1 << (pcr % 8)
}

// Has says whether the PCR is selected.
func (s Selection) Has(pcr int) bool {
	return s.Mask[pcr/8]&(1<<(pcr%8)) != 0
}

// PCRs returns the selected PCRs in rising order.
func (s Selection) PCRs() []int {
	var pcrs []int

	for pcr := range PCRs {
		if s.Has(pcr) {
			pcrs = append(pcrs, pcr)
		}
	}

	return pcrs
}

// String returns the selection as tpm2-tools write it: sha256:17,18,19.
func (s Selection) String() string {
	indices := make([]string, 0, PCRs)
	for _, pcr := range s.PCRs() {
		indices = append(indices, fmt.Sprint(pcr))
	}

	return BankName(s.Bank) + ":" + strings.Join(indices, ",")
}

// BankName returns a bank's name as tpm2-tools write it.
func BankName(bank tpm2.TPMAlgID) string {
	switch bank {
	case tpm2.TPMAlgSHA1:
		return "sha1"
	case tpm2.TPMAlgSHA256:
		return "sha256"
	case tpm2.TPMAlgSHA384:
		return "sha384"
	case tpm2.TPMAlgSHA512:
		return "sha512"
	default:
		return fmt.Sprintf("0x%04x", uint16(bank))
	}
}

// list converts selections to what the TPM takes.
func list(selections []Selection) tpm2.TPMLPCRSelection {
	var l tpm2.TPMLPCRSelection
	for _, s := range selections {
		l.PCRSelections = append(l.PCRSelections, tpm2.TPMSPCRSelection{Hash: s.Bank, PCRSelect: slices.Clone(s.Mask[:])})
	}

	return l
}

// Bank holds the values of the selected PCRs of one bank, in rising order of the PCRs.
type Bank struct {
	Selection Selection
	Values    [][]byte
}

// digest returns the hash over all values: what TPM2_Quote signs as pcrDigest (TPM 2.0 Part 1, 17.6.1).
func digest(hash crypto.Hash, banks []Bank) []byte {
	h := hash.New()

	for _, bank := range banks {
		for _, value := range bank.Values {
			h.Write(value)
		}
	}

	return h.Sum(nil)
}
