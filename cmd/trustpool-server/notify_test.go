package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/trustpool/trustpool/internal/daemontest"
	"github.com/trustpool/trustpool/internal/transcript"
	"github.com/trustpool/trustpool/tpmsim/pki"
)

// overseer stands in for systemd (sd_notify(3)).
type overseer struct {
	socket string
	heard  <-chan string
	said   *transcript.Text // of the daemon
}

// newOverseer listens for what daemons tell.
func newOverseer(t *testing.T, dir string, said *transcript.Text) *overseer {
	t.Helper()

	s := &overseer{said: said}
	s.socket, s.heard = daemontest.NotifySocket(t, dir)
	return s
}

// told waits until systemd has been told all of these since the last call, in whatever order.
func (s *overseer) told(t *testing.T, wants ...string) {
	t.Helper()

	late := time.After(2 * time.Minute)
	for len(wants) > 0 {
		select {
		case message := <-s.heard:
			wants = slices.DeleteFunc(wants, func(want string) bool { return strings.HasPrefix(message, want) })
		case <-late:
			t.Fatalf("systemd was never told %q:\n%s", wants, s.said)
		}
	}
}

// TestSystemdIsToldHowTheServerFares stands in for systemd (sd_notify(3)) and has the server reload in between.
func TestSystemdIsToldHowTheServerFares(t *testing.T) {
	t.Parallel()

	x := newSite(t, 1, time.Minute, "")
	s := newOverseer(t, x.dir, x.said)
	x.env = []string{"NOTIFY_SOCKET=" + s.socket, "WATCHDOG_USEC=200000"}
	x.start(t)
	s.told(t, "READY=1")
	s.told(t, "WATCHDOG=1")

	pair, err := x.ca.Issue(pki.Leaf{DNSNames: []string{"new.example"}, Server: true})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"server.pem": pair.CertPEM, "server-key.pem": pair.KeyPEM} {
		if err := os.WriteFile(filepath.Join(x.dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := x.running.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	s.told(t, "RELOADING=1")
	s.told(t, "READY=1")
	x.waitUntil(t, "the new certificate is taken over", func(context.Context) bool { return strings.Contains(x.said.String(), "TLS files reloaded") })
	if code := x.stop(t); code != 0 {
		t.Errorf("exit code %d\n%s", code, x.said)
	}
	s.told(t, "STOPPING=1")
}

func TestTheStatusLineCountsTheNodes(t *testing.T) {
	t.Parallel()

	x := newSite(t, 1, time.Minute, "")
	s := newOverseer(t, x.dir, x.said)
	x.env = []string{"NOTIFY_SOCKET=" + s.socket}
	x.start(t)
	s.told(t, "STATUS=0 nodes: 0 trusted, 0 untrusted, 0 unknown")
}
