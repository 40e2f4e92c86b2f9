package main

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/trustpool/trustpool/tpmsim/pki"
)

// TestSystemdIsToldHowTheServerFares stands in for systemd (sd_notify(3)) and has the server reload in between.
func TestSystemdIsToldHowTheServerFares(t *testing.T) {
	t.Parallel()

	x := newSite(t, 1, time.Minute, "")
	socket := filepath.Join(x.dir, "notify.sock")
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = notify.Close() })
	told := func(want string) {
		t.Helper()
		if err := notify.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		message := make([]byte, 4096)
		for {
			n, err := notify.Read(message)
			if err != nil {
				t.Fatalf("systemd was never told %s: %v\n%s", want, err, x.said)
			}
			if strings.HasPrefix(string(message[:n]), want) {
				return
			}
		}
	}

	x.env = []string{"NOTIFY_SOCKET=" + socket, "WATCHDOG_USEC=200000"}
	x.start(t)
	told("READY=1")
	told("WATCHDOG=1")

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
	told("RELOADING=1")
	told("READY=1")
	x.waitUntil(t, "the new certificate is taken over", func(context.Context) bool { return strings.Contains(x.said.String(), "TLS files reloaded") })
	if code := x.stop(t); code != 0 {
		t.Errorf("exit code %d\n%s", code, x.said)
	}
	told("STOPPING=1")
}

func TestTheStatusLineCountsTheNodes(t *testing.T) {
	t.Parallel()

	x := newSite(t, 1, time.Minute, "")
	socket := filepath.Join(x.dir, "notify.sock")
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = notify.Close() })
	x.env = []string{"NOTIFY_SOCKET=" + socket}
	x.start(t)
	if err := notify.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	message := make([]byte, 4096)
	for {
		n, err := notify.Read(message)
		if err != nil {
			t.Fatal(err)
		}
		if string(message[:n]) == "STATUS=0 nodes: 0 trusted, 0 untrusted, 0 unknown" {
			return
		}
	}
}
