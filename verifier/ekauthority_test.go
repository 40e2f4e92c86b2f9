package verifier_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
)

// ekAuthority is a maker of TPMs: a root, or an intermediate of one.
type ekAuthority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newEKAuthority(t testing.TB, name string, issuer *ekAuthority) *ekAuthority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &ekAuthority{key: key}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(7),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             now().Add(-time.Hour),
		NotAfter:              now().Add(time.Hour),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	if issuer == nil {
		issuer = &ekAuthority{key: key, cert: template}
	}
	a.cert = issuer.sign(t, template, key.Public())
	return a
}

func (a *ekAuthority) sign(t testing.TB, template *x509.Certificate, public crypto.PublicKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, public, a.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func (a *ekAuthority) pem() []byte { return pemOf("CERTIFICATE", a.cert.Raw) }

// certify makes an EK certificate as the profile wants it, but for what alter changes.
func (a *ekAuthority) certify(t testing.TB, ekPublic []byte, alter func(*x509.Certificate)) []byte {
	t.Helper()
	area, err := tpm2.Unmarshal[tpm2.TPMTPublic](ekPublic)
	if err != nil {
		t.Fatal(err)
	}
	key, err := tpm2.Pub(*area)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(0x1234),
		NotBefore:             now().Add(-time.Hour),
		NotAfter:              time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
		KeyUsage:              x509.KeyUsageKeyAgreement,
		UnknownExtKeyUsage:    []asn1.ObjectIdentifier{{2, 23, 133, 8, 1}},
		BasicConstraintsValid: true,
		ExtraExtensions:       []pkix.Extension{tpmName(t, "id:49465800")},
	}
	if _, isRSA := key.(*rsa.PublicKey); isRSA {
		template.KeyUsage = x509.KeyUsageKeyEncipherment
	}
	if alter != nil {
		alter(template)
	}
	return a.sign(t, template, key).Raw
}

// tpmName is a critical subject alternative name with all three names in one set, as some makers write it, and a name of another kind before.
func tpmName(t testing.TB, manufacturer string) pkix.Extension {
	t.Helper()
	oid := func(last int) asn1.ObjectIdentifier { return asn1.ObjectIdentifier{2, 23, 133, 2, last} }
	rdns, err := asn1.Marshal(pkix.RDNSequence{{
		{Type: oid(1), Value: manufacturer}, {Type: oid(2), Value: "SLB9670"}, {Type: oid(3), Value: "id:00070055"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	value, err := asn1.Marshal([]asn1.RawValue{
		{Class: asn1.ClassContextSpecific, Tag: 2, Bytes: []byte("tpm.example")},
		{Class: asn1.ClassContextSpecific, Tag: 4, IsCompound: true, Bytes: rdns},
	})
	if err != nil {
		t.Fatal(err)
	}
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Critical: true, Value: value}
}

// crl is a list that revokes the serial numbers, valid around the present, but for what alter changes.
func (a *ekAuthority) crl(t testing.TB, alter func(*x509.RevocationList), serials ...int64) []byte {
	t.Helper()
	template := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: now().Add(-time.Hour), NextUpdate: now().Add(time.Hour)}
	for _, serial := range serials {
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries, x509.RevocationListEntry{
			SerialNumber: big.NewInt(serial), RevocationTime: now().Add(-time.Minute),
		})
	}
	if alter != nil {
		alter(template)
	}
	der, err := x509.CreateRevocationList(rand.Reader, template, a.cert, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}
