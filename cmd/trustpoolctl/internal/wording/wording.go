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
	switch binding {
	case verifier.BindingInventory:
		return "inventory: it is the TPM that your inventory names for this node"
	case verifier.BindingChain:
		return "chain: a genuine TPM was reached under this name; which machine it sits in is not proven"
	case verifier.BindingFirstUse:
		return "first use: it is the TPM that answered first; that proves nothing about hardware"
	default:
		return console.Printable(string(binding))
	}
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
