package daemon_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trustpool/trustpool/cmd/internal/daemon"
	"github.com/trustpool/trustpool/tpmsim/pki"
)

// serveTokens serves with the files, and says of each caller whether it showed a certificate.
func serveTokens(t *testing.T, files daemon.TLSFiles) (*daemon.TLS, string) {
	t.Helper()

	loaded, err := daemon.LoadTokenTLS(files, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}

	server := &http.Server{
		ReadHeaderTimeout: time.Minute, TLSConfig: loaded.Config(), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if len(r.TLS.VerifiedChains) > 0 {
				w.WriteHeader(http.StatusAccepted)
			}
		}),
	}
	done := make(chan error, 1)
	go func() { done <- server.ServeTLS(listener, "", "") }()
	t.Cleanup(func() {
		_ = server.Close()

		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})

	return loaded, "https://" + listener.Addr().String()
}

// call returns the status of a call by whoever holds the pair; 0 if the handshake failed.
func (f files) call(t *testing.T, url string, pair *pki.Pair) int {
	t.Helper()

	config := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: f.ca.Pool(), ServerName: "first.example"}
	if pair != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair.Certificate, nil }
	}

	transport := &http.Transport{TLSClientConfig: config}
	defer transport.CloseIdleConnections()

	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}

	response, err := transport.RoundTrip(request)
	if err != nil {
		return 0
	}

	if err := response.Body.Close(); err != nil {
		t.Fatal(err)
	}

	return response.StatusCode
}

func TestWhereTokensAreTakenACertificateMayBeMissingButNotWrong(t *testing.T) {
	t.Parallel()

	f := newFiles(t)
	good, revoked := f.issue(t, pki.Leaf{Client: true}), f.issue(t, pki.Leaf{Client: true})
	f.revoke(t, revoked)

	foreign, err := newCA(t).Issue(pki.Leaf{Client: true})
	if err != nil {
		t.Fatal(err)
	}

	loaded, url := serveTokens(t, f.TLSFiles)

	for name, test := range map[string]struct {
		pair *pki.Pair
		want int
	}{
		"no certificate":                  {nil, http.StatusOK},
		"good certificate":                {good, http.StatusAccepted},
		"revoked certificate":             {revoked, 0},
		"certificate of another CA":       {foreign, 0},
		"certificate that is for servers": {f.issue(t, pki.Leaf{Server: true}), 0},
	} {
		if got := f.call(t, url, test.pair); got != test.want {
			t.Errorf("%s: status %d, want %d", name, got, test.want)
		}
	}

	f.revoke(t, good)

	if err := loaded.Reload(); err != nil {
		t.Fatal(err)
	}

	if got := f.call(t, url, good); got != 0 {
		t.Errorf("after it was revoked: status %d", got)
	}
}

func TestWithoutAClientCANoCertificateIsAskedForAndNoneCounts(t *testing.T) {
	t.Parallel()

	f := newFiles(t)
	good := f.issue(t, pki.Leaf{Client: true})
	f.ClientCA, f.CRL = "", ""
	loaded, url := serveTokens(t, f.TLSFiles)

	if got := f.call(t, url, good); got != http.StatusOK {
		t.Errorf("status %d, want %d", got, http.StatusOK)
	}

	// One that a resumed session brings, from when there was a CA.
	if err := loaded.VerifyConnection(state([]*x509.Certificate{good.Certificate.Leaf}...)); err == nil {
		t.Error("a certificate counts that nobody can have verified")
	}

	registry := prometheus.NewRegistry()
	loaded.Register(registry, "test")

	if _, err := registry.Gather(); err != nil {
		t.Error(err)
	}
}
