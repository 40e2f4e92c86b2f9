package eventlog

import (
	"crypto"
	"fmt"
	"slices"

	// Linked in so that Alg.Hash is usable: crypto.Hash.New panics for a hash that nobody imported.
	_ "crypto/sha1" //nolint:gosec // SHA-1 banks exist and are read; policy decides what they are worth.
	_ "crypto/sha256"
	_ "crypto/sha512"
)

// Alg is a TPM_ALG_ID of a hash (TPM2 Part 2, 6.3, table 9).
type Alg uint16

// The hashes that PCR banks use. SM3 digests are parsed but cannot be replayed: the standard library has no SM3.
const (
	AlgSHA1   Alg = 0x0004
	AlgSHA256 Alg = 0x000B
	AlgSHA384 Alg = 0x000C
	AlgSHA512 Alg = 0x000D
	AlgSM3    Alg = 0x0012
)

// maxDigest is the longest digest a log may declare, that of SHA-512 (TPM2 Part 2, 10.3.1: TPMU_HA).
const maxDigest = 64

// ParseAlg reads the name that [Alg.String] gives to a known hash: sha1, sha256, sha384, sha512, sm3_256.
func ParseAlg(s string) (Alg, error) {
	known := []Alg{AlgSHA1, AlgSHA256, AlgSHA384, AlgSHA512, AlgSM3}
	i := slices.IndexFunc(known, func(a Alg) bool { return a.String() == s })
	if i < 0 {
		return 0, fmt.Errorf("unknown hash algorithm %q: write sha1, sha256, sha384, sha512 or sm3_256", s)
	}

	return known[i], nil
}

// String gives the name that tpm2-tools use, or the number as "0x0000" for other algorithms.
func (a Alg) String() string {
	switch a {
	case AlgSHA1:
		return "sha1"
	case AlgSHA256:
		return "sha256"
	case AlgSHA384:
		return "sha384"
	case AlgSHA512:
		return "sha512"
	case AlgSM3:
		return "sm3_256"
	default:
		return fmt.Sprintf("0x%04x", uint16(a))
	}
}

// Size is the length of a digest in bytes, 0 for an unknown algorithm.
func (a Alg) Size() int {
	switch a {
	case AlgSHA1:
		return 20
	case AlgSHA256, AlgSM3:
		return 32
	case AlgSHA384:
		return 48
	case AlgSHA512:
		return 64
	default:
		return 0
	}
}

// Hash is the standard library's hash for a, or 0 if it has none. A non-zero Hash is available.
func (a Alg) Hash() crypto.Hash {
	switch a {
	case AlgSHA1:
		return crypto.SHA1
	case AlgSHA256:
		return crypto.SHA256
	case AlgSHA384:
		return crypto.SHA384
	case AlgSHA512:
		return crypto.SHA512
	default:
		return 0
	}
}
