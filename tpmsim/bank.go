package tpmsim

import (
	"crypto"
	_ "crypto/sha1" //nolint:gosec // the SHA-1 bank is one that real launches extend
	_ "crypto/sha256"
	_ "crypto/sha512"

	"github.com/google/go-tpm/tpm2"
)

// bank is one PCR bank: its TPM_ALG_ID and the hash that extends it.
type bank struct {
	alg  tpm2.TPMAlgID
	hash crypto.Hash
}

// activeBanks returns the banks that a manufactured node has, in the order in
// which its event log lists them.
func activeBanks() []bank {
	return []bank{
		{tpm2.TPMAlgSHA1, crypto.SHA1},
		sha256Bank(),
		{tpm2.TPMAlgSHA384, crypto.SHA384},
	}
}

func sha256Bank() bank { return bank{tpm2.TPMAlgSHA256, crypto.SHA256} }

// sum returns the bank's hash over the concatenated parts.
func (b bank) sum(parts ...[]byte) []byte {
	h := b.hash.New()
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

// zeros returns the all-zero digest of the bank.
func (b bank) zeros() []byte { return make([]byte, b.hash.Size()) }
