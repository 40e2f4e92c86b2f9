package verifier

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
)

// secretSize is what a credential holds: no more than any EK's nameAlg gives room for (Part 1, 24.4), enough that nobody guesses it.
const secretSize = 32

// Challenge is a credential for one AK: only a TPM that holds both the EK and an object with the AK's Name can open it (TPM2_MakeCredential, Part 1, 24). One Challenge takes
// one answer. It is not safe for concurrent use.
type Challenge struct {
	// EKPublic is the TPMT_PUBLIC of the EK, AKName the Name of the AK that it was made for.
	EKPublic []byte
	AKName   []byte
	// Blob is the TPMS_ID_OBJECT and EncryptedSecret the encrypted seed, both without size prefixes (Part 2, 12.4.2 and 11.4.3).
	Blob            []byte
	EncryptedSecret []byte

	secret []byte // nil once it was answered
}

// NewChallenge makes a credential with fresh random bytes for the AK. ekPublic is the TPMT_PUBLIC of the EK on record: the one that an inventory or a certificate speaks for, never
// just the one that the node sent.
func NewChallenge(ekPublic, akName []byte) (*Challenge, error) {
	ek, err := parseEK(ekPublic)
	if err != nil {
		return nil, fmt.Errorf("making a credential: %w", err)
	}
	if err := ek.checkAttributes(); err != nil {
		return nil, fmt.Errorf("making a credential: %w", err)
	}
	if _, err := ek.publicKey(); err != nil { // the sizes and the point, which go-tpm takes as they are
		return nil, fmt.Errorf("making a credential: %w", err)
	}
	key, err := tpm2.ImportEncapsulationKey(ek.public)
	if err != nil {
		return nil, fmt.Errorf("making a credential: reading the EK: %w", err)
	}

	secret := make([]byte, secretSize)
	if _, err := rand.Read(secret); err != nil {
		return nil, fmt.Errorf("making a credential: %w", err)
	}
	blob, seed, err := tpm2.CreateCredential(rand.Reader, key, akName, secret)
	if err != nil {
		return nil, fmt.Errorf("making a credential: %w", err)
	}
	return &Challenge{EKPublic: ek.raw, AKName: bytes.Clone(akName), Blob: blob, EncryptedSecret: seed, secret: secret}, nil
}

// Answer tells whether secret is what the credential holds. Only the first answer counts: each further one is an error.
func (c *Challenge) Answer(secret []byte) error {
	want := c.secret
	c.secret = nil
	if len(want) == 0 {
		return errors.New("the credential was answered before: make a new one")
	}
	if subtle.ConstantTimeCompare(want, secret) != 1 {
		return errors.New("the answer is not the secret of the credential: no TPM with this EK holds this AK")
	}
	return nil
}
