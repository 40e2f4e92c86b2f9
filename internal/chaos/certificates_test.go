//go:build chaos

package chaos

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/trustpool/trustpool/tpmsim/pki"
)

// reloadFailures is the metric that counts TLS files which could not be used.
const reloadFailures = "trustpool_agent_tls_reload_failures_total"

// serveWith puts a pair in the place of the server's certificate and key.
func (n *node) serveWith(t *testing.T, pair *pki.Pair) {
	t.Helper()

	if err := pki.WriteDir(n.dir, n.ca, pair, nil); err != nil {
		t.Fatal(err)
	}
}

// newcomer asks over a connection of its own.
func (n *node) newcomer(t *testing.T) error {
	t.Helper()

	conn := n.dial(t, n.address, n.mutual())
	defer conn.Close()

	_, err := quote(t.Context(), conn, 0)

	return err
}

// TestChaosCertificateExpired is also the clock that is far ahead: for a certificate both are one.
func TestChaosCertificateExpired(t *testing.T) {
	t.Parallel()

	n := newNode(t, options{})
	crowd := n.crowd(n.conn)

	expired := server()
	expired.NotAfter = time.Now().Add(-time.Minute)
	n.serveWith(t, n.issue(t, expired))
	n.wantMetric(t, reloadFailures, above(0))
	n.said.wait(t, "TLS files can't be used, the last good ones stay", "earlier than the one in use")

	if err := n.newcomer(t); err != nil {
		t.Errorf("with an expired certificate beside the good one: %v", err)
	}

	crowd.hears(t, n, answered)
	crowd.done(t)
	n.startsWithout(t)
}

// TestChaosCertificateNotYetValid is the clock that is far behind, as at a boot without a battery.
func TestChaosCertificateNotYetValid(t *testing.T) {
	t.Parallel()

	n := newNode(t, options{})
	early := server()
	early.NotBefore = time.Now().Add(10 * time.Hour)
	n.serveWith(t, n.issue(t, early))
	n.startsWithout(t)
}

// startsWithout starts the agent on a certificate that is not valid: it says so, serves those that need none, and takes a good one without a restart.
func (n *node) startsWithout(t *testing.T) {
	t.Helper()

	n.kill(t)
	n.start(t)
	n.said.wait(t, "the server's certificate is not valid now")

	local := n.crowd(n.local(t), 2)
	local.hears(t, n, answered)

	if err := n.newcomer(t); heard(err) != unreachable {
		t.Errorf("who looks at the certificate hears %s", heard(err))
	}

	n.serveWith(t, n.issue(t, server()))
	n.until(t, "newcomer who is let in", func() error { return n.newcomer(t) })
	local.done(t)
}

func TestChaosCertificateOfACallerExpired(t *testing.T) {
	t.Parallel()

	n := newNode(t, options{})
	crowd := n.crowd(n.conn)

	for name, leaf := range map[string]pki.Leaf{
		"expired":       {DNSNames: []string{caller}, Client: true, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)},
		"not yet valid": {DNSNames: []string{caller}, Client: true, NotBefore: time.Now().Add(time.Hour)},
	} {
		pair := n.issue(t, leaf)
		conn := n.dial(t, n.address, credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS13, RootCAs: n.ca.Pool(), Certificates: []tls.Certificate{pair.Certificate}}))

		if _, err := quote(t.Context(), conn, 0); heard(err) != unreachable {
			t.Errorf("who comes with a certificate that is %s hears %s", name, heard(err))
		}

		_ = conn.Close() // or it would try again and again
	}

	n.wantMetric(t, `trustpool_agent_denials_total{reason="certificate"}`, above(1))
	n.said.wait(t, "connection refused", "not yet valid")
	crowd.hears(t, n, answered)
	crowd.done(t)
}

// TestChaosCertificatesSwapped puts the key of another certificate there, and another authority for the callers.
func TestChaosCertificatesSwapped(t *testing.T) {
	t.Parallel()

	n := newNode(t, options{})
	crowd := n.crowd(n.conn)
	good := n.issue(t, server())
	n.serveWith(t, good)
	n.wantMetric(t, "trustpool_agent_tls_reloads_total", above(0))

	write(t, filepath.Join(n.dir, "server-key.pem"), n.issue(t, server()).KeyPEM)
	n.wantMetric(t, reloadFailures, above(0))

	if err := n.newcomer(t); err != nil {
		t.Errorf("with a key that does not fit: %v", err)
	}

	write(t, filepath.Join(n.dir, "server-key.pem"), good.KeyPEM)
	crowd.hears(t, n, answered)
	crowd.done(t)

	// Whoever signs callers' certificates decides who is let in: those of the old authority are out, at once.
	other, err := pki.New("other")
	if err != nil {
		t.Fatal(err)
	}

	crowd = n.crowd(n.conn)
	write(t, filepath.Join(n.dir, "ca.pem"), other.PEM())
	crowd.hears(t, n, unreachable)
	write(t, filepath.Join(n.dir, "ca.pem"), n.ca.PEM())
	crowd.hears(t, n, answered)
	crowd.done(t, unreachable)
}

// TestChaosCertificatesHalfWritten writes each file as a tool does that is stopped in the middle.
func TestChaosCertificatesHalfWritten(t *testing.T) {
	t.Parallel()

	n := newNode(t, options{})
	crowd := n.crowd(n.conn)

	for _, name := range []string{"server.pem", "server-key.pem", "ca.pem"} {
		path := filepath.Join(n.dir, name)

		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}

		for _, size := range []int{0, 1, len(whole) / 2, len(whole) - 30} {
			before := n.metric(t, reloadFailures)

			if err := os.WriteFile(path, whole[:size], 0o600); err != nil {
				t.Fatal(err)
			}

			n.signal(t, syscall.SIGHUP) // it is told again each time
			n.wantMetric(t, reloadFailures, above(before))

			if err := n.newcomer(t); err != nil {
				t.Errorf("with %d bytes of %s: %v", size, name, err)
			}
		}

		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}

	crowd.hears(t, n, answered)
	crowd.done(t)
}
