package daemon_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/trustpool/trustpool/cmd/internal/daemon"
	"github.com/trustpool/trustpool/tpmsim/pki"
)

// files are TLS files in a folder of their own.
type files struct {
	daemon.TLSFiles

	ca *pki.CA
}

func newFiles(t *testing.T) files {
	t.Helper()

	dir := t.TempDir()
	f := files{ca: newCA(t), TLSFiles: daemon.TLSFiles{
		Certificate: filepath.Join(dir, "server.pem"), Key: filepath.Join(dir, "server-key.pem"),
		ClientCA: filepath.Join(dir, "ca.pem"), CRL: filepath.Join(dir, "crl.pem"),
	}}
	f.writeServer(t, pki.Leaf{DNSNames: []string{"first.example"}, Server: true})
	write(t, f.ClientCA, f.ca.PEM())
	f.revoke(t)

	return f
}

func newCA(t *testing.T) *pki.CA {
	t.Helper()

	ca, err := pki.New("test")
	if err != nil {
		t.Fatal(err)
	}

	return ca
}

func (f files) writeServer(t *testing.T, leaf pki.Leaf) {
	t.Helper()

	pair := f.issue(t, leaf)
	write(t, f.Certificate, pair.CertPEM)
	write(t, f.Key, pair.KeyPEM)
}

func (f files) issue(t *testing.T, leaf pki.Leaf) *pki.Pair {
	t.Helper()

	pair, err := f.ca.Issue(leaf)
	if err != nil {
		t.Fatal(err)
	}

	return pair
}

func (f files) revoke(t *testing.T, pairs ...*pki.Pair) {
	t.Helper()

	list, err := f.ca.CRL(pairs...)
	if err != nil {
		t.Fatal(err)
	}

	write(t, f.CRL, list)
}

func (f files) load(t *testing.T) *daemon.TLS {
	t.Helper()

	loaded, err := daemon.LoadTLS(f.TLSFiles, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}

	return loaded
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()

	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// serverName is the name in the certificate that a server would show now.
func serverName(t *testing.T, loaded *daemon.TLS) string {
	t.Helper()

	config, err := loaded.Config().GetConfigForClient(nil)
	if err != nil {
		t.Fatal(err)
	}

	return config.Certificates[0].Leaf.DNSNames[0]
}

func TestThereIsNoTLSWithoutClientVerification(t *testing.T) {
	t.Parallel()

	f := newFiles(t)
	loaded := f.load(t)

	inner, err := loaded.Config().GetConfigForClient(nil)
	if err != nil {
		t.Fatal(err)
	}

	for name, config := range map[string]*tls.Config{"outer": loaded.Config(), "inner": inner} {
		if config.ClientAuth != tls.RequireAndVerifyClientCert || config.MinVersion != tls.VersionTLS13 || config.VerifyConnection == nil || config.ClientCAs == nil {
			t.Errorf("%s config lets clients in unverified: %+v", name, config)
		}
	}

	f.ClientCA = ""
	if _, err := daemon.LoadTLS(f.TLSFiles, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("no client CA was accepted")
	}
}

func TestGoodFilesReplaceThoseInUse(t *testing.T) {
	t.Parallel()

	f := newFiles(t)
	loaded := f.load(t)
	changes := 0
	loaded.OnChange(func() { changes++ })

	if err := loaded.Reload(); err != nil || changes != 0 {
		t.Errorf("%d changes without one, error %v", changes, err)
	}

	f.writeServer(t, pki.Leaf{DNSNames: []string{"second.example"}, Server: true})

	if err := loaded.Reload(); err != nil || changes != 1 || serverName(t, loaded) != "second.example" {
		t.Errorf("after %d changes the server is %s, error %v", changes, serverName(t, loaded), err)
	}
}

func TestBadFilesReplaceNothing(t *testing.T) {
	t.Parallel()

	other := newCA(t)

	for name, test := range map[string]struct {
		spoil func(*testing.T, files)
		want  string
	}{
		"no certificate": {func(t *testing.T, f files) { mustRemove(t, f.Certificate) }, "no such file"},
		"key of another certificate": {func(t *testing.T, f files) {
			write(t, f.Key, f.issue(t, pki.Leaf{Server: true}).KeyPEM)
		}, "private key does not match"},
		"certificate that is not for servers": {func(t *testing.T, f files) { f.writeServer(t, pki.Leaf{Client: true}) }, "serverAuth"},
		"certificate that has ended": {func(t *testing.T, f files) {
			f.writeServer(t, pki.Leaf{Server: true, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)})
		}, "ended at"},
		"empty client CA":          {func(t *testing.T, f files) { write(t, f.ClientCA, nil) }, "0 PEM blocks"},
		"client CA cut off":        {func(t *testing.T, f files) { write(t, f.ClientCA, f.ca.PEM()[:100]) }, "of 1 PEM blocks, 0 are whole"},
		"second client CA cut off": {func(t *testing.T, f files) { write(t, f.ClientCA, append(f.ca.PEM(), other.PEM()[:100]...)) }, "of 2 PEM blocks, 1 are whole"},
		"second CRL cut off": {func(t *testing.T, f files) {
			list, err := f.ca.CRL()
			if err != nil {
				t.Fatal(err)
			}

			write(t, f.CRL, append(bytes.Clone(list), list[:len(list)-40]...))
		}, "of 2 PEM blocks, 1 are whole"},
		"client CA with garbage":     {func(t *testing.T, f files) { write(t, f.ClientCA, append(f.ca.PEM(), garbage("CERTIFICATE")...)) }, "x509"},
		"client CA that is a client": {func(t *testing.T, f files) { write(t, f.ClientCA, f.issue(t, pki.Leaf{Client: true}).CertPEM) }, "not an authority's"},
		"client CA with a key":       {func(t *testing.T, f files) { write(t, f.ClientCA, f.issue(t, pki.Leaf{Client: true}).KeyPEM) }, "PRIVATE KEY"},
		"empty CRL":                  {func(t *testing.T, f files) { write(t, f.CRL, nil) }, "x509"},
		"CRL that is none":           {func(t *testing.T, f files) { write(t, f.CRL, f.ca.PEM()) }, "X509 CRL"},
		"CRL of another CA": {func(t *testing.T, f files) {
			list, err := other.CRL()
			if err != nil {
				t.Fatal(err)
			}

			write(t, f.CRL, list)
		}, "not signed by an authority"},
		"file without end": {func(t *testing.T, f files) { write(t, f.CRL, make([]byte, 16<<20+1)) }, "more than"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			f := newFiles(t)

			var log bytes.Buffer

			loaded, err := daemon.LoadTLS(f.TLSFiles, slog.New(slog.NewTextHandler(&log, nil)))
			if err != nil {
				t.Fatal(err)
			}

			registry := prometheus.NewRegistry()
			loaded.Register(registry, "test")
			loaded.OnChange(func() { t.Error("the bad files were taken over") })
			test.spoil(t, f)

			if err := loaded.Reload(); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}

			if got := serverName(t, loaded); got != "first.example" {
				t.Errorf("the server is now %s", got)
			}

			if err := testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP test_tls_reload_failures_total How often TLS files were found that can't be used, so that the last good ones stayed.
# TYPE test_tls_reload_failures_total counter
test_tls_reload_failures_total 1
`), "test_tls_reload_failures_total"); err != nil {
				t.Error(err)
			}

			if !strings.Contains(log.String(), "level=ERROR") {
				t.Errorf("the log says %q", log.String())
			}
		})
	}
}

func mustRemove(t *testing.T, path string) {
	t.Helper()

	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func garbage(kind string) []byte {
	return []byte("-----BEGIN " + kind + "-----\nAAAA\n-----END " + kind + "-----\n")
}

func TestTLSMetricsPassTheLinter(t *testing.T) {
	t.Parallel()

	registry := prometheus.NewRegistry()
	newFiles(t).load(t).Register(registry, "test")

	problems, err := testutil.GatherAndLint(registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}

// state is what crypto/tls says of a connection whose client has these certificates, in a resumed session for instance: nothing was verified.
func state(chain ...*x509.Certificate) tls.ConnectionState {
	return tls.ConnectionState{PeerCertificates: chain}
}

func TestVerifyConnectionLooksAtEverythingItself(t *testing.T) {
	t.Parallel()

	f := newFiles(t)
	good := f.issue(t, pki.Leaf{Client: true})
	revoked := f.issue(t, pki.Leaf{Client: true})
	f.revoke(t, revoked)

	ended := f.issue(t, pki.Leaf{Client: true, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)})

	foreign, err := newCA(t).Issue(pki.Leaf{Client: true})
	if err != nil {
		t.Fatal(err)
	}

	loaded := f.load(t)

	for name, test := range map[string]struct {
		chain []*x509.Certificate
		want  string
	}{
		"no certificate":                       {nil, "no client certificate"},
		"revoked certificate":                  {[]*x509.Certificate{revoked.Certificate.Leaf}, "revoked"},
		"expired certificate":                  {[]*x509.Certificate{ended.Certificate.Leaf}, "is after "},
		"certificate of another CA":            {[]*x509.Certificate{foreign.Certificate.Leaf}, "unknown authority"},
		"certificate of a node, for servers":   {[]*x509.Certificate{f.issue(t, pki.Leaf{Server: true}).Certificate.Leaf}, "not for clients"},
		"certificate for servers, and clients": {[]*x509.Certificate{f.issue(t, pki.Leaf{Server: true, Client: true}).Certificate.Leaf}, ""},
		"good certificate":                     {[]*x509.Certificate{good.Certificate.Leaf}, ""},
	} {
		for range 2 { // whoever was let in is remembered; nobody else may be
			err := loaded.VerifyConnection(state(test.chain...))
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("%s: got %v, want %q", name, err, test.want)
			}
		}
	}

	f.revoke(t, good)

	if err := loaded.Reload(); err != nil {
		t.Fatal(err)
	}

	if err := loaded.VerifyConnection(state(good.Certificate.Leaf)); err == nil {
		t.Error("a certificate that was let in before it was revoked is let in again")
	}

	if err := loaded.VerifyConnection(state(revoked.Certificate.Leaf)); err != nil {
		t.Errorf("the CRL that revokes no more is not followed: %v", err)
	}
}

func TestCredentialsAreFoundWhereSystemdPutsThem(t *testing.T) {
	t.Setenv("CREDENTIALS_DIRECTORY", "/run/credentials/x")

	for path, want := range map[string]string{
		"/etc/key.pem": "/etc/key.pem", "credential:key": "/run/credentials/x/key", "": "",
		"credential:": "", "credential:../key": "", "credential:..": "",
	} {
		if got, err := daemon.CredentialPath(path); got != want || (err == nil) != (want != "" || path == "") {
			t.Errorf("%q is %q, %v", path, got, err)
		}
	}

	t.Setenv("CREDENTIALS_DIRECTORY", "")

	if _, err := daemon.CredentialPath("credential:key"); err == nil || !strings.Contains(err.Error(), "LoadCredential=key:PATH") {
		t.Errorf("got %v", err)
	}
}
