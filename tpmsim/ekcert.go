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
	"maps"
	"math/big"
	"slices"
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
	// The name of the TPM: 3.2.9.
	name, err := directoryName(map[int]string{1: tpmManufacturer, 2: tpmModel, 3: tpmVersion})
	if err != nil {
		return nil, fmt.Errorf("encoding the TPM's name: %w", err)
	}
	return a.sign(public, &x509.Certificate{
		Subject:            pkix.Name{CommonName: "trustpool simulated TPM"},
		KeyUsage:           usage,
		UnknownExtKeyUsage: []asn1.ObjectIdentifier{{2, 23, 133, 8, 1}}, // tcg-kp-EKCertificate
		ExtraExtensions:    []pkix.Extension{name},
	})
}

// certifyPlatform returns a certificate, in DER, of the platform that has the TPM
// of this RSA EK.
func (a *ekAuthority) certifyPlatform(ek crypto.PublicKey) ([]byte, error) {
	name, err := directoryName(map[int]string{4: "trustpool", 5: "simulated node", 6: "1"})
	if err != nil {
		return nil, fmt.Errorf("encoding the platform's name: %w", err)
	}
	return a.sign(ek, &x509.Certificate{
		Subject:            pkix.Name{CommonName: "trustpool simulated platform"},
		KeyUsage:           x509.KeyUsageKeyEncipherment,
		UnknownExtKeyUsage: []asn1.ObjectIdentifier{{2, 23, 133, 8, 2}}, // tcg-kp-PlatformAttributeCertificate
		ExtraExtensions:    []pkix.Extension{name},
	})
}

// sign completes a certificate that is no authority's and never expires, and
// returns it in DER.
func (a *ekAuthority) sign(public crypto.PublicKey, template *x509.Certificate) ([]byte, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	template.NotBefore = time.Now().Add(-time.Hour)
	template.NotAfter = noExpiry()
	template.BasicConstraintsValid = true
	return x509.CreateCertificate(rand.Reader, template, a.cert, public, a.key)
}

// directoryName returns a critical subject alternative name: one directory name
// with the attributes 2.23.133.2.N of the TCG, in the order of N.
func directoryName(attributes map[int]string) (pkix.Extension, error) {
	const generalName = 4 // the tag of directoryName in GeneralName: RFC 5280, 4.2.1.6

	var rdns pkix.RDNSequence
	for _, last := range slices.Sorted(maps.Keys(attributes)) {
		id := asn1.ObjectIdentifier{2, 23, 133, 2, last}
		rdns = append(rdns, pkix.RelativeDistinguishedNameSET{{Type: id, Value: attributes[last]}})
	}
	name, err := asn1.Marshal(rdns)
	if err != nil {
		return pkix.Extension{}, err
	}

	value, err := asn1.Marshal([]asn1.RawValue{{
		Class: asn1.ClassContextSpecific, Tag: generalName, IsCompound: true, Bytes: name,
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
