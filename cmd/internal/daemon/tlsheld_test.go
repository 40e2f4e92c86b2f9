package daemon_test

import (
	"crypto"
	"crypto/ecdsa"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/trustpool/trustpool/cmd/internal/daemon"
	"github.com/trustpool/trustpool/tpmsim/pki"
)

// TestAKeyInNoFileSignsForItsOwnCertificateOnly has a key held elsewhere, at the first load and at a reload.
func TestAKeyInNoFileSignsForItsOwnCertificateOnly(t *testing.T) {
	t.Parallel()

	f := newFiles(t)
	pair := f.issue(t, pki.Leaf{DNSNames: []string{"held.example"}, Server: true})
	held, ok := pair.Certificate.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		t.Fatal("not an ECDSA key")
	}

	f.Key = "tpm" // no file
	f.Held = func(public crypto.PublicKey) (crypto.Signer, error) {
		if !held.PublicKey.Equal(public) {
			return nil, errors.New("another key")
		}

		return held, nil
	}

	if _, err := daemon.LoadTLS(f.TLSFiles, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "another key") {
		t.Errorf("a certificate for another key was loaded: %v", err)
	}

	write(t, f.Certificate, pair.CertPEM)
	loaded := f.load(t)

	for name, content := range map[string][]byte{
		"certificate for another key": f.issue(t, pki.Leaf{Server: true}).CertPEM, "no certificate": nil, "a key": pair.KeyPEM, "garbage": garbage("CERTIFICATE"),
	} {
		write(t, f.Certificate, content)

		if err := loaded.Reload(); err == nil || serverName(t, loaded) != "held.example" {
			t.Errorf("%s: error %v, and the server is %s", name, err, serverName(t, loaded))
		}
	}
}
