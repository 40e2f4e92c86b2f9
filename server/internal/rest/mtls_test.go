package rest_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/server/internal/access"
	"github.com/trustpool/trustpool/server/internal/rest"
	"github.com/trustpool/trustpool/server/internal/store/storetest"
)

// authority makes client certificates of one CA.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{}
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "callers"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.certificate, a.key = a.sign(t, &template)
	return a
}

// sign makes a certificate, which the authority signs, or itself if there is none yet.
func (a *authority) sign(t *testing.T, template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	parent, signer := template, key
	if a.certificate != nil {
		parent, signer = a.certificate, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return certificate, key
}

func (a *authority) client(t *testing.T, name string) tls.Certificate {
	t.Helper()
	certificate, key := a.sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	return tls.Certificate{Certificate: [][]byte{certificate.Raw}, PrivateKey: key, Leaf: certificate}
}

func TestACertificateWithANameThatARuleHasOpensAsATokenDoes(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	rules := []access.Rule{{SAN: []string{"dns:ops.example"}, Role: access.Operator}}
	door, err := access.New(access.Config{Store: db, Rules: rules, Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	s := &site{done: make(chan struct{})}
	handler, err := rest.New(rest.Config{Store: db, Door: door, Issuer: newIssuer(t, slog.New(slog.DiscardHandler)), Hurry: s.hurry, Done: s.done, Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	callers := newAuthority(t)
	server := httptest.NewUnstartedServer(handler)
	pool := x509.NewCertPool()
	pool.AddCert(callers.certificate)
	server.TLS = &tls.Config{ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: pool, MinVersion: tls.VersionTLS13}
	server.StartTLS()
	t.Cleanup(server.Close)
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())

	for name, want := range map[string]int{"ops.example": 0, "other.example": http.StatusUnauthorized, "": http.StatusUnauthorized} {
		config := api.Config{URL: server.URL, RootCAs: roots}
		if name != "" {
			config.Certificates = []tls.Certificate{callers.client(t, name)}
		}
		c, err := api.NewClient(config)
		if err != nil {
			t.Fatal(err)
		}
		who, err := c.Caller(t.Context())
		if api.StatusOf(err) != want || want == 0 && (err != nil || who.Name != "dns:ops.example" || who.Role != "operator") {
			t.Errorf("%q: %+v %v", name, who, err)
		}
		c.Close()
	}
}
