package verifier

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"

	"github.com/trustpool/trustpool/verifier/eventlog"
)

const (
	maxAKCertificates = 8
	maxAKCertificate  = 16 << 10 // one certificate or key, DER
)

// attestationKey takes the evidence's AK in all forms that are there. Where only the key is there but the policy pins a public area with that key, it
// is the pinned one that is judged: the policy's word on the attributes is as good as anybody's, and QualifiedSigner shows whether the TPM agrees.
func (e *exam) attestationKey() (*ak, error) {
	chain, err := parseChain(e.ev.AKCertificates)
	if err != nil {
		return nil, err
	}
	bare, err := bareKey(e.ev.AKKey, chain)
	if err != nil {
		return nil, err
	}

	a, err := e.publicArea(bare)
	if err != nil {
		return nil, err
	}
	if bare != nil && !bytes.Equal(bare.spki, a.spki) {
		return nil, errors.New("the AK's public area is not of the key that its certificate or PEM file has")
	}
	a.chain = chain
	if len(e.ev.AKParent) > 0 {
		if a.parent, err = parseAK(e.ev.AKParent); err != nil {
			return nil, fmt.Errorf("the AK's parent: %w", err)
		}
	}
	return a, nil
}

// publicArea returns the AK with its public area if that is known, else bare.
func (e *exam) publicArea(bare *ak) (*ak, error) {
	if len(e.ev.AKPublic) > 0 || bare == nil {
		return parseAK(e.ev.AKPublic)
	}
	for _, pin := range e.policy.pins() {
		if pinned, err := parseAK(pin.Public); err == nil && bytes.Equal(pinned.spki, bare.spki) {
			return pinned, nil
		}
	}
	return bare, nil
}

// parseChain reads the AK's certificates.
func parseChain(der [][]byte) ([]*x509.Certificate, error) {
	if len(der) > maxAKCertificates {
		return nil, fmt.Errorf("there are %d certificates of the AK, more than %d", len(der), maxAKCertificates)
	}
	chain := make([]*x509.Certificate, 0, len(der))
	for _, raw := range der {
		if len(raw) > maxAKCertificate {
			return nil, fmt.Errorf("a certificate of the AK has %d bytes, more than %d", len(raw), maxAKCertificate)
		}
		cert, err := x509.ParseCertificate(raw)
		if err != nil {
			return nil, fmt.Errorf("reading the AK's certificate: %w", err)
		}
		chain = append(chain, cert)
	}
	return chain, nil
}

// bareKey returns the key of spki and of the first certificate, which have to be the same; nil if there is neither.
func bareKey(spki []byte, chain []*x509.Certificate) (*ak, error) {
	var fromCert *ak
	if len(chain) > 0 {
		var err error
		if fromCert, err = newBareKey(chain[0].PublicKey); err != nil {
			return nil, fmt.Errorf("the AK's certificate: %w", err)
		}
	}
	if len(spki) == 0 {
		return fromCert, nil
	}

	fromKey, err := parseSPKI(spki)
	if err != nil {
		return nil, err
	}
	if fromCert != nil && !bytes.Equal(fromCert.spki, fromKey.spki) {
		return nil, errors.New("the AK's certificate and the AK's key are of different keys")
	}
	return fromKey, nil
}

// parseSPKI reads a PKIX SubjectPublicKeyInfo, in the one encoding that is written too.
func parseSPKI(raw []byte) (*ak, error) {
	if len(raw) > maxAKCertificate {
		return nil, fmt.Errorf("the AK's key has %d bytes, more than %d", len(raw), maxAKCertificate)
	}
	key, err := x509.ParsePKIXPublicKey(raw)
	if err != nil {
		return nil, fmt.Errorf("reading the AK's key: %w", err)
	}
	bare, err := newBareKey(key)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(bare.spki, raw) {
		return nil, errors.New("the AK's key is not in the one canonical form, or has bytes after its end")
	}
	return bare, nil
}

func newBareKey(key crypto.PublicKey) (*ak, error) {
	spki, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, fmt.Errorf("the AK's key: %w", err)
	}
	return &ak{bare: key, spki: spki}, nil
}

// bareSigningKey takes the kinds that signingKey takes. The scheme and its hash follow from the kind of the key: a signature can't choose.
func bareSigningKey(key crypto.PublicKey) (*signingKey, error) {
	const bits, exponent = 2048, 65537

	switch k := key.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() != bits || k.E != exponent {
			return nil, fmt.Errorf("the AK is an RSA key of %d bits with exponent %d, not of %d with %d", k.N.BitLen(), k.E, bits, exponent)
		}
		return &signingKey{rsa: k, scheme: tpm2.TPMAlgRSASSA, hash: eventlog.AlgSHA256}, nil
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			return &signingKey{ecc: k, scheme: tpm2.TPMAlgECDSA, hash: eventlog.AlgSHA256}, nil
		case elliptic.P384():
			return &signingKey{ecc: k, scheme: tpm2.TPMAlgECDSA, hash: eventlog.AlgSHA384}, nil
		}
		return nil, fmt.Errorf("the AK is an ECDSA key on %s, not on P-256 or P-384", k.Curve.Params().Name)
	default:
		return nil, errors.New("the AK's key is neither RSA nor ECDSA")
	}
}
