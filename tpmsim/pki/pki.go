// Package pki is a throw-away public-key infrastructure for simulated nodes and
// tests: one authority, certificates for servers and for clients, made in memory
// and, if wanted, written to a private folder. Nothing in it is meant to outlive a
// day or to protect anything.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"time"
)

// Certificates are valid from an hour ago, so that a clock that is a little late
// does not matter, for a day.
const (
	backdated = time.Hour
	lifetime  = 24 * time.Hour
)

// CA is a certificate authority. Its key exists only in memory.
type CA struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

// New makes an authority: ECDSA P-256, self-signed, with name as its common name,
// valid from an hour ago for a day.
func New(name string) (*CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making authority %q: %w", name, err)
	}

	now := time.Now()
	cert, err := sign(&x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             now.Add(-backdated),
		NotAfter:              now.Add(lifetime),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}, nil, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("making authority %q: %w", name, err)
	}
	return &CA{key, cert}, nil
}

// Leaf says what certificate to issue.
type Leaf struct {
	// DNSNames, IPs and URIs become the subject alternative names. The certificate
	// has no other name.
	DNSNames []string
	IPs      []net.IP
	URIs     []*url.URL

	// Server and Client give the extended key usages serverAuth and clientAuth.
	// At least one must be set, and no other usage is given.
	Server, Client bool

	// NotBefore and NotAfter bound the validity. Zero values mean an hour ago and
	// in a day.
	NotBefore, NotAfter time.Time
}

// Pair is a certificate with its private key.
type Pair struct {
	// Certificate is the pair for a tls.Config, its Leaf set, without the
	// authority's certificate.
	Certificate tls.Certificate
	// CertPEM and KeyPEM are the same; the key is PKCS #8.
	CertPEM, KeyPEM []byte
}

// Issue makes a key and a certificate for it.
func (ca *CA) Issue(leaf Leaf) (*Pair, error) {
	template, err := leaf.template(time.Now())
	if err != nil {
		return nil, fmt.Errorf("issuing a certificate: %w", err)
	}

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("issuing a certificate: %w", err)
	}
	cert, err := sign(template, ca.cert, key.Public(), ca.key)
	if err != nil {
		return nil, fmt.Errorf("issuing a certificate: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("issuing a certificate: encoding the key: %w", err)
	}

	return &Pair{
		Certificate: tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert},
		CertPEM:     pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}),
		KeyPEM:      pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	}, nil
}

// IssueFor signs a certificate for a key that somebody else holds. The pair's PrivateKey and KeyPEM are left for the caller to fill.
func (ca *CA) IssueFor(leaf Leaf, key crypto.PublicKey) (*Pair, error) {
	template, err := leaf.template(time.Now())
	if err != nil {
		return nil, fmt.Errorf("issuing a certificate: %w", err)
	}
	cert, err := sign(template, ca.cert, key, ca.key)
	if err != nil {
		return nil, fmt.Errorf("issuing a certificate: %w", err)
	}

	return &Pair{
		Certificate: tls.Certificate{Certificate: [][]byte{cert.Raw}, Leaf: cert},
		CertPEM:     pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}),
	}, nil
}

// PEM returns the authority's certificate.
func (ca *CA) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.cert.Raw})
}

// KeyPEM returns its private key (PKCS #8, PEM), for tools that issue certificates themselves.
func (ca *CA) KeyPEM() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(ca.key)
	if err != nil {
		return nil, fmt.Errorf("encoding the CA's key: %w", err)
	}

	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// Pool returns a pool of the authority's certificate alone.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	return pool
}

func (l Leaf) template(now time.Time) (*x509.Certificate, error) {
	if !l.Server && !l.Client {
		return nil, errors.New("it is for neither a server nor a client: set Server or Client")
	}

	t := &x509.Certificate{
		NotBefore:             now.Add(-backdated),
		NotAfter:              now.Add(lifetime),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		DNSNames:              l.DNSNames,
		IPAddresses:           l.IPs,
		URIs:                  l.URIs,
	}
	if l.Server {
		t.ExtKeyUsage = append(t.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	if l.Client {
		t.ExtKeyUsage = append(t.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
	}
	if !l.NotBefore.IsZero() {
		t.NotBefore = l.NotBefore
	}
	if !l.NotAfter.IsZero() {
		t.NotAfter = l.NotAfter
	}
	return t, nil
}

// sign certifies a public key. A nil issuer means self-signed.
func sign(template, issuer *x509.Certificate, key crypto.PublicKey, issuerKey *ecdsa.PrivateKey) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	if issuer == nil {
		issuer = template
	}

	der, err := x509.CreateCertificate(rand.Reader, template, issuer, key, issuerKey)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}
