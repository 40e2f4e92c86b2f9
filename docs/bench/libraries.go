package main

import (
	"fmt"

	"github.com/google/go-attestation/attest"
	"github.com/google/go-tpm-tools/client"
)

// goAttestation makes an AK with go-attestation and attests by TPM.AttestPlatform, which quotes every bank.
func goAttestation(key string, tpm *counted) (attester, error) {
	opened, err := attest.OpenTPM(&attest.OpenConfig{CommandChannel: tpm})
	if err != nil {
		return nil, fmt.Errorf("opening the TPM: %w", err)
	}

	algorithm := attest.ECDSA
	if key == "rsa-2048" {
		algorithm = attest.RSA
	}

	ak, err := opened.NewAK(&attest.AKConfig{Algorithm: algorithm})
	if err != nil {
		return nil, fmt.Errorf("making an AK: %w", err)
	}

	return func(nonce []byte) error {
		_, err := opened.AttestPlatform(ak, nonce, &attest.PlatformAttestConfig{EventLog: emptyLog()})

		return err
	}, nil
}

// goTPMTools makes an AK with go-tpm-tools and attests by Key.Attest, which quotes every bank.
func goTPMTools(key string, tpm *counted) (attester, error) {
	newKey := client.AttestationKeyECC
	if key == "rsa-2048" {
		newKey = client.AttestationKeyRSA
	}

	ak, err := newKey(tpm)
	if err != nil {
		return nil, fmt.Errorf("making an AK: %w", err)
	}

	return func(nonce []byte) error {
		_, err := ak.Attest(client.AttestOpts{Nonce: nonce, TCGEventLog: emptyLog(), SkipTeeAttestation: true})

		return err
	}, nil
}
