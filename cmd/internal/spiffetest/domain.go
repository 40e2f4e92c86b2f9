// Package spiffetest is a SPIFFE Workload API for tests: trust domains, and a server that gives their X.509-SVIDs and bundles over a unix socket, with the messages of go-spiffe.
package spiffetest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"

	"github.com/trustpool/trustpool/tpmsim/pki"
)

// Domain is a trust domain with its authorities. It is for one goroutine.
type Domain struct {
	// Name is that of the trust domain, such as example.org.
	Name string

	authorities []*pki.CA
	revoked     []*pki.Pair
}

// NewDomain makes a trust domain with one authority.
func NewDomain(t testing.TB, name string) *Domain {
	t.Helper()

	d := &Domain{Name: name}
	d.AddAuthority(t)

	return d
}

// AddAuthority makes the authority that signs from now on. Those of before stay in the bundle.
func (d *Domain) AddAuthority(t testing.TB) {
	t.Helper()

	ca, err := pki.New("authority of " + d.Name)
	if err != nil {
		t.Fatal(err)
	}

	d.authorities = append(d.authorities, ca)
}

// DropAuthorities takes all authorities out of the bundle but the one that signs.
func (d *Domain) DropAuthorities() {
	d.authorities = d.authorities[len(d.authorities)-1:]
}

// ID returns the SPIFFE ID with that path, which begins with a slash.
func (d *Domain) ID(path string) string { return "spiffe://" + d.Name + path }

// SVID is an X.509-SVID with its key.
type SVID struct {
	*pki.Pair

	// ID is its SPIFFE ID.
	ID     string
	domain *Domain
}

// Issue signs an X.509-SVID for an ID, which may be one of another trust domain: then it is a forged one. Changes make something else of it.
func (d *Domain) Issue(t testing.TB, id string, changes ...func(*pki.Leaf)) SVID {
	t.Helper()

	uri, err := url.Parse(id)
	if err != nil {
		t.Fatal(err)
	}

	leaf := pki.Leaf{URIs: []*url.URL{uri}, Server: true, Client: true}
	for _, change := range changes {
		change(&leaf)
	}

	pair, err := d.authorities[len(d.authorities)-1].Issue(leaf)
	if err != nil {
		t.Fatal(err)
	}

	return SVID{Pair: pair, ID: id, domain: d}
}

// Sign signs any certificate, which gets a key of its own and is good now.
func (d *Domain) Sign(t testing.TB, template *x509.Certificate) *x509.Certificate {
	t.Helper()

	ca := d.authorities[len(d.authorities)-1]

	keyPEM, err := ca.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}

	key, err := x509.ParsePKCS8PrivateKey(decode(t, keyPEM))
	if err != nil {
		t.Fatal(err)
	}

	public, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}

	template.SerialNumber, template.NotBefore, template.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)

	der, err := x509.CreateCertificate(rand.Reader, template, certificateOf(t, ca), public.Public(), key)
	if err != nil {
		t.Fatal(err)
	}

	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}

	return certificate
}

// Revoke puts X.509-SVIDs on the CRL of the authority that signs now.
func (d *Domain) Revoke(svids ...SVID) {
	for _, svid := range svids {
		d.revoked = append(d.revoked, svid.Pair)
	}
}

// Pool returns a pool of all authorities.
func (d *Domain) Pool(t testing.TB) *x509.CertPool {
	t.Helper()

	pool := x509.NewCertPool()
	for _, ca := range d.authorities {
		pool.AddCert(certificateOf(t, ca))
	}

	return pool
}

// PEM returns all authorities as the files that SPIRE's agent writes have them.
func (d *Domain) PEM() []byte {
	var all []byte
	for _, ca := range d.authorities {
		all = append(all, ca.PEM()...)
	}

	return all
}

// bundle returns the authorities as the Workload API sends them.
func (d *Domain) bundle(t testing.TB) []byte {
	t.Helper()

	var der []byte
	for _, ca := range d.authorities {
		der = slices.Concat(der, certificateOf(t, ca).Raw)
	}

	return der
}

func certificateOf(t testing.TB, ca *pki.CA) *x509.Certificate {
	t.Helper()

	certificate, err := x509.ParseCertificate(decode(t, ca.PEM()))
	if err != nil {
		t.Fatal(err)
	}

	return certificate
}

// Answer returns what the Workload API sends to a workload with that X.509-SVID, whose trust domain is federated with the others.
func Answer(t testing.TB, svid SVID, federated ...*Domain) *workload.X509SVIDResponse {
	t.Helper()

	key, chain := decode(t, svid.KeyPEM), svid.Certificate.Certificate[0]
	answer := &workload.X509SVIDResponse{
		Svids:            []*workload.X509SVID{{SpiffeId: svid.ID, X509Svid: chain, X509SvidKey: key, Bundle: svid.domain.bundle(t)}},
		FederatedBundles: make(map[string][]byte),
	}

	for _, domain := range federated {
		answer.FederatedBundles["spiffe://"+domain.Name] = domain.bundle(t)
	}

	for _, domain := range append([]*Domain{svid.domain}, federated...) {
		if len(domain.revoked) == 0 {
			continue
		}

		list, err := domain.authorities[len(domain.authorities)-1].CRL(domain.revoked...)
		if err != nil {
			t.Fatal(err)
		}

		answer.Crl = append(answer.Crl, decode(t, list))
	}

	return answer
}

func decode(t testing.TB, text []byte) []byte {
	t.Helper()

	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatal("no PEM")
	}

	return block.Bytes
}
