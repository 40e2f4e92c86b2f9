package tpm

import (
	"fmt"

	"github.com/google/go-tpm/tpm2"
)

// pcrKey names one PCR of one bank.
type pcrKey struct {
	bank tpm2.TPMAlgID
	pcr  int
}

// kept returns the last values read of the selected PCRs, nil if one is missing.
func (s *tpmSession) kept(selections []Selection) []Bank {
	banks := make([]Bank, 0, len(selections))

	for _, selection := range selections {
		bank := Bank{Selection: selection}

		for _, pcr := range selection.PCRs() {
			value, ok := s.pcrs[pcrKey{selection.Bank, pcr}]
			if !ok {
				return nil
			}

			bank.Values = append(bank.Values, value)
		}

		banks = append(banks, bank)
	}

	return banks
}

// readPCRs reads the selected PCRs into the kept values. TPM2_PCR_Read gives at most eight digests a command, and says which ones (TPM 2.0 Part 3, 22.4).
func (s *tpmSession) readPCRs(selections []Selection) error {
	left := append([]Selection(nil), selections...)

	for remaining(left) {
		response, err := tpm2.PCRRead{PCRSelectionIn: list(left)}.Execute(s.line)
		if err != nil {
			return fmt.Errorf("reading PCRs: %w", err)
		}

		if err := s.keep(left, response); err != nil {
			return fmt.Errorf("reading PCRs: %w", err)
		}
	}

	return nil
}

// keep takes the values of one response and strikes them from left.
func (s *tpmSession) keep(left []Selection, response *tpm2.PCRReadResponse) error {
	values := response.PCRValues.Digests

	for _, got := range response.PCRSelectionOut.PCRSelections {
		for pcr := range min(PCRs, 8*len(got.PCRSelect)) {
			if got.PCRSelect[pcr/8]&(1<<(pcr%8)) == 0 {
				continue
			}

			if len(values) == 0 || !strike(left, got.Hash, pcr) {
				return fmt.Errorf("the TPM's answer does not fit its selection")
			}

			s.pcrs[pcrKey{got.Hash, pcr}] = values[0].Buffer
			values = values[1:]
		}
	}

	if len(response.PCRValues.Digests) == 0 || len(values) != 0 {
		return fmt.Errorf("the TPM gives no value for a selected PCR, or one too many")
	}

	return nil
}

// strike removes one PCR and says whether it was there.
func strike(left []Selection, bank tpm2.TPMAlgID, pcr int) bool {
	for i := range left {
		if left[i].Bank == bank && left[i].Has(pcr) {
			left[i].Mask[pcr/8] &^= 1 << (pcr % 8)

			return true
		}
	}

	return false
}

func remaining(selections []Selection) bool {
	for _, s := range selections {
		if s.Mask != [PCRs / 8]byte{} {
			return true
		}
	}

	return false
}
