package saved

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/trustpool/trustpool/verifier"
)

// Types of PEM blocks (RFC 7468, 5 and 13).
const (
	pemKey         = "PUBLIC KEY"
	pemCertificate = "CERTIFICATE"
)

// maxCertificates bounds those of one file.
const maxCertificates = 8

// addKey adds what a file says of the AK, whose form its content shows: PEM, a TPM2B_PUBLIC, or a certificate in DER.
func addKey(ev *verifier.Evidence, data []byte) error {
	switch {
	case bytes.Contains(data, []byte("-----BEGIN ")):
		return addPEM(ev, data)
	case isTPM2B(data):
		ev.AKPublic = data[2:]
		return nil
	}
	if _, err := x509.ParseCertificate(data); err != nil {
		return fmt.Errorf("is no TPM2B_PUBLIC, nor PEM, nor an X.509 certificate: %w", err)
	}
	ev.AKCertificates = append(ev.AKCertificates, data)
	return nil
}

// addPEM adds a key or certificates; nothing if text is empty.
func addPEM(ev *verifier.Evidence, text []byte) error {
	for len(bytes.TrimSpace(text)) > 0 {
		block, rest := pem.Decode(text)
		if block == nil {
			return errors.New("is no PEM, or has other text after it")
		}
		text = rest
		switch {
		case block.Type == pemKey && len(ev.AKKey) == 0:
			ev.AKKey = block.Bytes
		case block.Type == pemCertificate && len(ev.AKCertificates) < maxCertificates:
			ev.AKCertificates = append(ev.AKCertificates, block.Bytes)
		default:
			return fmt.Errorf("has a block %q too many, or of no use", block.Type)
		}
	}
	return nil
}
