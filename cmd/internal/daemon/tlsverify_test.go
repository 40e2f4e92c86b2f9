package daemon_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"log/slog"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/trustpool/trustpool/cmd/internal/daemon"
)

// chain is an authority, one below it, and a client of that one.
type chain struct {
	root, middle, leaf *x509.Certificate
	rootKey, middleKey *ecdsa.PrivateKey
}

func newChain(t *testing.T, usages ...x509.ExtKeyUsage) chain {
	t.Helper()

	return newChainBelow(t, nil, usages...)
}

// newChainBelow has an authority in its middle that is for these usages only.
func newChainBelow(t *testing.T, middleUsages []x509.ExtKeyUsage, usages ...x509.ExtKeyUsage) chain {
	t.Helper()

	var c chain

	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "root"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	c.root, c.rootKey = certify(t, authority, nil, nil)

	below := *authority
	below.ExtKeyUsage = middleUsages
	below.SerialNumber, below.Subject = big.NewInt(2), pkix.Name{CommonName: "middle"}
	c.middle, c.middleKey = certify(t, &below, c.root, c.rootKey)

	c.leaf, _ = certify(t, &x509.Certificate{
		SerialNumber: big.NewInt(3), ExtKeyUsage: usages, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}, c.middle, c.middleKey)

	return c
}

func certify(t *testing.T, template, issuer *x509.Certificate, issuerKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}

	if issuer == nil {
		issuer, issuerKey = template, key
	}

	der, err := x509.CreateCertificate(rand.Reader, template, issuer, key.Public(), issuerKey)
	if err != nil {
		t.Fatal(err)
	}

	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}

	return certificate, key
}

// list is a CRL (DER) of the root's.
func (c chain) list(t *testing.T, revoked int64, extensions ...pkix.Extension) []byte {
	t.Helper()

	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(1), ThisUpdate: time.Now().Add(-2 * time.Hour), NextUpdate: time.Now().Add(-time.Hour), ExtraExtensions: extensions,
		RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: big.NewInt(revoked), RevocationTime: time.Now()}},
	}, c.root, c.rootKey)
	if err != nil {
		t.Fatal(err)
	}

	return der
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
		"codeSigning":         {[]x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}, false},
	} {
		f, c := newFiles(t), newChain(t, test.usages...)
		f.CRL = ""
		write(t, f.ClientCA, pemOf(c.root))

		if err := f.load(t).VerifyConnection(state(c.leaf, c.middle)); (err == nil) != test.isGood {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestAnAuthorityForServersMakesNoClients(t *testing.T) {
	t.Parallel()

	for usage, isGood := range map[x509.ExtKeyUsage]bool{x509.ExtKeyUsageClientAuth: true, x509.ExtKeyUsageServerAuth: false} {
		f, c := newFiles(t), newChainBelow(t, []x509.ExtKeyUsage{usage}, x509.ExtKeyUsageClientAuth)
		f.CRL = ""
		write(t, f.ClientCA, pemOf(c.root))

		if err := f.load(t).VerifyConnection(state(c.leaf, c.middle)); (err == nil) != isGood {
			t.Errorf("an authority for %v: %v", usage, err)
		}
	}
}

func TestARevokedAuthorityTakesItsClientsWithIt(t *testing.T) {
	t.Parallel()

	f, c := newFiles(t), newChain(t, x509.ExtKeyUsageClientAuth)
	write(t, f.ClientCA, pemOf(c.root))

	// An outdated list, and in DER: it counts all the same. 3 is the leaf's serial, but not with this issuer.
	write(t, f.CRL, c.list(t, 3))

	loaded := f.load(t)
	if err := loaded.VerifyConnection(state(c.leaf, c.middle)); err != nil {
		t.Errorf("a list of another issuer revoked it: %v", err)
	}

	write(t, f.CRL, c.list(t, 2))

	if err := loaded.Reload(); err != nil {
		t.Fatal(err)
	}

	if err := loaded.VerifyConnection(state(c.leaf, c.middle)); err == nil {
		t.Error("a client of a revoked authority was let in")
	}

	// With the intermediate among the authorities there is a chain that ends in it; that does not make it any better.
	write(t, f.ClientCA, append(pemOf(c.root), pemOf(c.middle)...))

	if err := loaded.Reload(); err != nil {
		t.Fatal(err)
	}

	// Nor does it help not to show it.
	for _, shown := range [][]*x509.Certificate{{c.leaf, c.middle}, {c.leaf}} {
		if err := loaded.VerifyConnection(state(shown...)); err == nil {
			t.Errorf("a client of a revoked authority, which shows %d certificates, was let in, because that is in the client CA file", len(shown))
		}
	}
}

func TestAListThatTellsOnlyAPartIsRefused(t *testing.T) {
	t.Parallel()

	f, c := newFiles(t), newChain(t)
	write(t, f.ClientCA, pemOf(c.root))
	write(t, f.CRL, c.list(t, 2, pkix.Extension{Id: []int{2, 5, 29, 27}, Critical: true, Value: []byte{2, 1, 1}}))

	if _, err := daemon.LoadTLS(f.TLSFiles, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "delta CRLs") {
		t.Errorf("got %v", err)
	}
}
