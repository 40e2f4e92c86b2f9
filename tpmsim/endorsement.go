package tpmsim

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
)

// Endorsement says how the vendor shipped a TPM's endorsement keys (EKs). The zero
// value is how most do: RSA-2048 and, of the high range, ECC P-384, each
// persistent and with its certificate in NV.
type Endorsement struct {
	// Certificates are those of the EKs. The zero value means OwnCertificates.
	Certificates Certificates

	// Padding is what the NV indices of certificates hold behind them. The zero
	// value means NoPadding.
	Padding Padding

	// PlatformCertificate adds one to NV index 0x01c08000, as swtpm's own
	// manufacture does: an X.509 certificate over the RSA EK with the purpose
	// tcg-kp-PlatformAttributeCertificate, and no attribute certificate.
	PlatformCertificate bool

	// LowRangeECC makes the ECC EK one of the low range: P-256 by template L-2 at
	// handle 0x81010002, its certificate in NV index 0x01c0000a.
	LowRangeECC bool

	// NotPersistent leaves the EKs to be derived from their templates.
	NotPersistent bool
}

// Certificates says of which keys the EK certificates are.
type Certificates uint8

// The choices of EK certificates.
const (
	OwnCertificates   Certificates = iota // of the EKs
	NoCertificates                        // there are none, and no indices for them
	WrongCertificates                     // of other keys of the same kinds, by the same authority
)

// Padding says how the NV index of a certificate is filled up to paddedSize.
type Padding uint8

// The choices of padding.
const (
	NoPadding   Padding = iota // an index is as large as its certificate
	ZeroPadding                // with bytes 00
	OnesPadding                // with bytes FF
)

// paddedSize is larger than all of the certificates and at most what swtpm takes.
const paddedSize = 1600

// platformCertIndex is where swtpm's manufacture puts a platform certificate.
const platformCertIndex = 0x01c08000

// check refuses choices that are none.
func (e Endorsement) check() error {
	if e.Certificates > WrongCertificates {
		return fmt.Errorf("unknown choice of EK certificates %d", e.Certificates)
	}
	if e.Padding > OnesPadding {
		return fmt.Errorf("unknown choice of padding %d", e.Padding)
	}
	return nil
}

// keys returns the EKs.
func (e Endorsement) keys() []endorsementKey {
	if e.LowRangeECC {
		return []endorsementKey{rsaEK(), p256EK()}
	}
	return []endorsementKey{rsaEK(), p384EK()}
}

// manufacture derives a key and leaves of it and its certificates what is wanted.
func (e Endorsement) manufacture(m *machine, ca *ekAuthority, k endorsementKey) error {
	public, err := k.derive(m, !e.NotPersistent)
	if err != nil {
		return fmt.Errorf("deriving it: %w", err)
	}
	if err := e.certify(m, ca, k, public); err != nil {
		return fmt.Errorf("giving it a certificate: %w", err)
	}

	if _, isRSA := public.(*rsa.PublicKey); !isRSA || !e.PlatformCertificate {
		return nil
	}
	cert, err := ca.certifyPlatform(public)
	if err != nil {
		return fmt.Errorf("certifying the platform: %w", err)
	}
	return writeReadOnlyNV(m, platformCertIndex, cert)
}

// certify writes the certificate of a key, or what is to be found in its place.
func (e Endorsement) certify(m *machine, ca *ekAuthority, k endorsementKey, public crypto.PublicKey) error {
	if e.Certificates == NoCertificates {
		return nil
	}
	if e.Certificates == WrongCertificates {
		other, err := otherKey(public)
		if err != nil {
			return fmt.Errorf("making another key: %w", err)
		}
		public = other
	}

	cert, err := ca.certify(public, k.keyUsage)
	if err != nil {
		return err
	}
	return writeReadOnlyNV(m, k.certIndex, e.pad(cert))
}

// pad fills a certificate up.
func (e Endorsement) pad(cert []byte) []byte {
	missing := max(paddedSize-len(cert), 0)
	switch e.Padding {
	case ZeroPadding:
		return append(cert, make([]byte, missing)...)
	case OnesPadding:
		return append(cert, bytes.Repeat([]byte{0xff}, missing)...)
	default:
		return cert
	}
}

// otherKey returns a new key of the same kind and size.
func otherKey(public crypto.PublicKey) (crypto.PublicKey, error) {
	switch public := public.(type) {
	case *rsa.PublicKey:
		key, err := rsa.GenerateKey(rand.Reader, public.N.BitLen())
		if err != nil {
			return nil, err
		}
		return key.Public(), nil
	case *ecdsa.PublicKey:
		key, err := ecdsa.GenerateKey(public.Curve, rand.Reader)
		if err != nil {
			return nil, err
		}
		return key.Public(), nil
	default:
		return nil, errors.New("neither RSA nor ECDSA")
	}
}
