package tpm

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	attestation "github.com/google/go-attestation/attest"
)

// ekCertificate is an EK certificate and where it came from.
type ekCertificate struct {
	parsed *x509.Certificate
	source string
	// beside are further certificates (DER) that came with it.
	beside [][]byte
}

// certifies says whether the certificate is for this key. No certificate certifies nothing.
func (c *ekCertificate) certifies(key *ekKey) bool {
	if c == nil || key == nil {
		return false
	}

	own, ok := c.parsed.PublicKey.(interface{ Equal(crypto.PublicKey) bool })

	return ok && own.Equal(key.key)
}

// fittingTemplates returns the templates that make keys of the certificate's type and size.
func fittingTemplates(c *ekCertificate) []ekTemplate {
	var bits int

	switch key := c.parsed.PublicKey.(type) {
	case *rsa.PublicKey:
		bits = key.N.BitLen()
	case *ecdsa.PublicKey:
		bits = key.Params().BitSize
	}

	return slices.DeleteFunc(ekTemplates(), func(t ekTemplate) bool {
		return t.algorithm != c.parsed.PublicKeyAlgorithm || t.bits != bits
	})
}

// parseEKCertificate parses what was stored for an EK certificate. go-attestation knows the oddities: the header of the TCG's PC Client specification before the certificate, and
// padding or worse behind it. The critical SAN, which x509 leaves for others to understand, is no hindrance to parsing.
func parseEKCertificate(stored []byte) (*x509.Certificate, error) {
	if len(bytes.Trim(stored, padding)) == 0 {
		return nil, errors.New("it is empty")
	}

	return attestation.ParseEKCertificate(stored)
}

// maxCertificateFile bounds the operator's file. A certificate has about 1 KiB.
const maxCertificateFile = 256 << 10

// readCertificateFile reads an operator's file: PEM, the EK's certificate first and others behind it, or one certificate in DER.
func readCertificateFile(path string) (*ekCertificate, error) {
	file, err := os.Open(path) // #nosec G304 -- the operator's config names the file
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // read only: nothing to lose

	content, err := io.ReadAll(io.LimitReader(file, maxCertificateFile+1))
	if err != nil {
		return nil, err
	}

	if len(content) > maxCertificateFile {
		return nil, fmt.Errorf("%s has more than %d bytes", path, maxCertificateFile)
	}

	blocks := certificatesOf(content)

	parsed, err := parseEKCertificate(blocks[0])
	if err != nil {
		return nil, fmt.Errorf("%s holds no certificate (DER or PEM): %w", path, err)
	}

	return &ekCertificate{parsed: parsed, source: path, beside: blocks[1:]}, nil
}

// certificatesOf returns the certificates of a PEM file, or the content itself if it is none.
func certificatesOf(content []byte) [][]byte {
	var blocks [][]byte

	for rest := content; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}

		if block.Type == "CERTIFICATE" {
			blocks = append(blocks, block.Bytes)
		}
	}

	if len(blocks) == 0 {
		return [][]byte{content}
	}

	return blocks
}
