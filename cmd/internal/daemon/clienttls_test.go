package daemon_test

import (
	"bytes"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/trustpool/trustpool/cmd/internal/daemon"
	"github.com/trustpool/trustpool/tpmsim/pki"
)

// clientFiles are the files of a client in a folder of their own.
func clientFiles(t *testing.T, f files, leaf pki.Leaf) daemon.ClientFiles {
	t.Helper()

	dir := t.TempDir()
	c := daemon.ClientFiles{Certificate: filepath.Join(dir, "client.pem"), Key: filepath.Join(dir, "client-key.pem"), CA: filepath.Join(dir, "ca.pem")}
	writeClient(t, f, c, leaf)
	write(t, c.CA, f.ca.PEM())

	return c
}

func writeClient(t *testing.T, f files, c daemon.ClientFiles, leaf pki.Leaf) {
	t.Helper()

	pair := f.issue(t, leaf)
	write(t, c.Certificate, pair.CertPEM)
	write(t, c.Key, pair.KeyPEM)
}

func TestCallsAreMadeWithTheFilesAsTheyAreNow(t *testing.T) {
	t.Parallel()

	f := newFiles(t)
	c := clientFiles(t, f, pki.Leaf{DNSNames: []string{"first.example"}, Client: true})

	var log bytes.Buffer

	loaded, err := daemon.LoadClientTLS(c, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}

	name := func() string {
		config, err := loaded.Config()
		if err != nil {
			t.Fatal(err)
		}

		return config.Certificates[0].Leaf.DNSNames[0]
	}

	if got := name(); got != "first.example" {
		t.Errorf("the client is %s", got)
	}

	writeClient(t, f, c, pki.Leaf{DNSNames: []string{"second.example"}, Client: true})

	if got := name(); got != "second.example" {
		t.Errorf("after a change the client is %s", got)
	}

	mustRemove(t, c.Key)

	for range 3 { // what is wrong is told once
		if got := name(); got != "second.example" {
			t.Errorf("with a file missing the client is %s", got)
		}
	}

	if n := strings.Count(log.String(), "level=ERROR"); n != 1 {
		t.Errorf("%d errors in the log: %s", n, log.String())
	}

	registry := prometheus.NewRegistry()
	loaded.Register(registry, "test", "node")

	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}

func TestFilesThatNobodyCouldCallWithAreRefused(t *testing.T) {
	t.Parallel()

	f := newFiles(t)

	for name, test := range map[string]struct {
		spoil func(daemon.ClientFiles)
		want  string
	}{
		"a certificate that is for servers": {func(c daemon.ClientFiles) { writeClient(t, f, c, pki.Leaf{Server: true}) }, "not for clients"},
		"another key":                       {func(c daemon.ClientFiles) { write(t, c.Key, f.issue(t, pki.Leaf{Client: true}).KeyPEM) }, "private key does not match"},
		"a CA that is none":                 {func(c daemon.ClientFiles) { write(t, c.CA, f.issue(t, pki.Leaf{Client: true}).CertPEM) }, "not an authority's"},
		"no CA":                             {func(c daemon.ClientFiles) { mustRemove(t, c.CA) }, "no such file"},
	} {
		c := clientFiles(t, f, pki.Leaf{Client: true})
		test.spoil(c)

		if _, err := daemon.LoadClientTLS(c, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", name, err, test.want)
		}
	}
}
