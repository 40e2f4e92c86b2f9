package agent

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"testing"
	"time"
)

// selfSigned is a certificate with these usages, which is its own authority.
func selfSigned(t *testing.T, usages ...x509.ExtKeyUsage) *x509.Certificate {
	t.Helper()

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}

	template := &x509.Certificate{SerialNumber: big.NewInt(1), ExtKeyUsage: usages, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}

	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}

	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}

	return certificate
}

func TestOnlyClientAuthWrittenOutMakesAClient(t *testing.T) {
	t.Parallel()

	for name, test := range map[string]struct {
		usages []x509.ExtKeyUsage
		isGood bool
	}{
		"clientAuth":          {[]x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, true},
		"anyExtendedKeyUsage": {[]x509.ExtKeyUsage{x509.ExtKeyUsageAny}, false},
		"no usage":            {nil, false},
		"serverAuth":          {[]x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, false},
	} {
		certificate, authorities := selfSigned(t, test.usages...), x509.NewCertPool()
		authorities.AddCert(certificate)

		// What crypto/tls hands over of a resumed session: nothing was verified.
		state := tls.ConnectionState{PeerCertificates: []*x509.Certificate{certificate}}
		if err := verifying(&tls.Config{ClientCAs: authorities, MinVersion: tls.VersionTLS13}).VerifyConnection(state); (err == nil) != test.isGood {
			t.Errorf("%s: got %v", name, err)
		}
	}

	if err := verifyChain(nil, x509.NewCertPool()); err == nil {
		t.Error("nobody was let in")
	}
}
