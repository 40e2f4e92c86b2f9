// Package wording says in words what several commands have to say of keys and TPMs.
package wording

import (
	"cmp"
	"strings"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/verifier"
)

// Binding says what ties an attestation key to a machine, and what does not.
func Binding(binding verifier.EKBinding) string {
	return cmp.Or(binding.Meaning(), console.Printable(string(binding)))
}

// TPM says what an EK certificate says of its TPM, and who believes it.
func TPM(tpm verifier.TPMInfo) string {
	if tpm.Manufacturer == "" && tpm.Model == "" {
		return "no certificate says what it is"
	}
	words := console.Printable(strings.TrimSpace(tpm.Vendor() + " " + tpm.Model + ", firmware " + cmp.Or(tpm.Firmware, "not told")))
	if !tpm.Certified {
		words += " (so says a certificate that nobody has checked)"
	}
	return words
}
