package client

import (
	"crypto/rand"
	"fmt"
)

// nonceSize is enough that no nonce ever comes twice, and within what every TPM signs.
const nonceSize = 32

// NewNonce returns 32 fresh random bytes for one challenge. Keep them: only who made the nonce can say that a quote is fresh.
func NewNonce() ([]byte, error) {
	nonce := make([]byte, nonceSize)
	if _, err := rand.Read(nonce); err != nil {
		return nil, fmt.Errorf("making a nonce: %w", err)
	}

	return nonce, nil
}
