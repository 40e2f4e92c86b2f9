package tpmsim

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"time"
)

// What the EK certificates say of the TPM. The manufacturer is IBM's identifier,
// which every swtpm has, so that a verifier can tell a simulated TPM.
const (
	tpmManufacturer = "id:00001014"
	tpmModel        = "swtpm"
	tpmVersion      = "id:20191023"
)

// ekAuthority signs EK certificates. It lives as long as the manufacture of one
// TPM and its key is never written down.
type ekAuthority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

// newEKAuthority makes an authority with a self-signed certificate.
func newEKAuthority() (*ekAuthority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}

	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "trustpool simulated EK authority"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              noExpiry(),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &ekAuthority{key, cert}, nil
}

// certify returns the EK certificate of a public key, in DER.
// TCG EK Credential Profile for TPM Family 2.0, 3.2.
func (a *ekAuthority) certify(public crypto.PublicKey, usage x509.KeyUsage) ([]byte, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	name, err := tpmName()
	if err != nil {
		return nil, fmt.Errorf("encoding the TPM's name: %w", err)
	}

	return x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "trustpool simulated TPM"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              noExpiry(),
		KeyUsage:              usage,
		UnknownExtKeyUsage:    []asn1.ObjectIdentifier{{2, 23, 133, 8, 1}}, // tcg-kp-EKCertificate
		BasicConstraintsValid: true,
		ExtraExtensions:       []pkix.Extension{name},
	}, a.cert, public, a.key)
}

// tpmName returns the subject alternative name of an EK certificate: one
// directory name with manufacturer, model and version of the TPM.
// TCG EK Credential Profile for TPM Family 2.0, 3.2.9.
func tpmName() (pkix.Extension, error) {
	const directoryName = 4 // of GeneralName: RFC 5280, 4.2.1.6

	attribute := func(last int, value string) pkix.RelativeDistinguishedNameSET {
		return pkix.RelativeDistinguishedNameSET{{Type: asn1.ObjectIdentifier{2, 23, 133, 2, last}, Value: value}}
	}
	name, err := asn1.Marshal(pkix.RDNSequence{
		attribute(1, tpmManufacturer),
		attribute(2, tpmModel),
		attribute(3, tpmVersion),
	})
	if err != nil {
		return pkix.Extension{}, err
	}

	value, err := asn1.Marshal([]asn1.RawValue{{
		Class: asn1.ClassContextSpecific, Tag: directoryName, IsCompound: true, Bytes: name,
	}})
	if err != nil {
		return pkix.Extension{}, err
	}
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Critical: true, Value: value}, nil
}

// noExpiry is the end of a certificate that has none: RFC 5280, 4.1.2.5.
func noExpiry() time.Time { return time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC) }

// newSerial returns a random serial number of 127 bits.
func newSerial() (*big.Int, error) {
	return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
}
