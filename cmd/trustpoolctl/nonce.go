package main

import (
	"encoding/hex"
	"fmt"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/client"
)

// parseNonce reads a nonce of any length: how long it may be is for the node to say.
func parseNonce(text string) ([]byte, error) {
	nonce, err := hex.DecodeString(text)
	if err != nil {
		return nil, console.Usagef("--nonce: %q is no even number of hexadecimal digits", console.Printable(text))
	}
	return nonce, nil
}

// parseOwnNonce reads the nonce that the user vouches for.
func parseOwnNonce(text string) ([]byte, error) {
	nonce, err := parseNonce(text)
	if err != nil {
		return nil, err
	}
	if len(nonce) < verifier.MinNonceSize {
		return nil, console.Usagef("--nonce: %d bytes are too few to be met only once, at least %d are needed", len(nonce), verifier.MinNonceSize)
	}
	return nonce, nil
}

func freshNonce() ([]byte, error) {
	nonce, err := client.NewNonce()
	if err != nil {
		return nil, fmt.Errorf("challenging: %w", err)
	}
	return nonce, nil
}
