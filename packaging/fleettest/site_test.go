//go:build fleet

package fleettest_test

import (
	"bytes"
	"crypto/x509"
	"encoding/csv"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/trustpool/trustpool/packaging/internal/program"
	"github.com/trustpool/trustpool/server/api"
)

// site is an attestation server with simulated nodes, all as programs of their own, and the network between them.
type site struct {
	dir   string
	names []string // of the nodes
	ways  map[string]*cutter

	mu      sync.Mutex
	servers []*program.Process // the last one is the present one
	url     string
	client  *api.Client
}

// tool is a program that .ci/fleet-test has built.
func tool(t *testing.T, name string) string {
	t.Helper()

	dir := os.Getenv("TRUSTPOOL_BIN")
	if dir == "" {
		t.Fatal("TRUSTPOOL_BIN is not set: run make fleet-test")
	}

	return filepath.Join(dir, name)
}

// until waits for something to become so.
func until(t *testing.T, what string, so func() error) {
	t.Helper()
	program.Until(t, 10*time.Minute, 100*time.Millisecond, what, so)
}

// startSite starts nodes and a server that trusts all of them.
func startSite(t *testing.T, nodes int, interval time.Duration) *site {
	t.Helper()

	s := &site{dir: t.TempDir(), ways: make(map[string]*cutter)}
	begun := time.Now()
	sim := program.Start(t, tool(t, "trustpool-sim"), "--dir", s.path("sim"), "--nodes", strconv.Itoa(nodes))
	until(t, "the simulated nodes", func() error { return sim.Saying("for a server") })
	t.Logf("%d simulated nodes were there after %s", nodes, time.Since(begun).Round(time.Second))
	s.cutBetween(t)

	// A verdict has to end soon enough for a node that nobody reaches to be unknown within two intervals.
	write(t, s.path("server.yaml"), fmt.Sprintf(`
database: %[1]s/trustpool.db
listen: {address: "127.0.0.1:0"}
tls: {certificate: %[1]s/sim/pki/server.pem, key: %[1]s/sim/pki/server-key.pem}
nodes:
  certificate: %[1]s/sim/pki/client.pem
  key: %[1]s/sim/pki/client-key.pem
  ca: %[1]s/sim/pki/ca.pem
  interval: %[2]s
  validity: %[3]s
  timeout: 5s
admin: {address: ""}
`, s.dir, interval, interval*17/10))
	write(t, s.path("admin"), s.run(t, "trustpool-server", "--config", s.path("server.yaml"), "token", "add", "admin", "--role", "admin"))
	s.serve(t)

	s.run(t, "trustpoolctl", "pool", "put", "sim", "--require", "platform=any_of", "--require", "hypervisor=any_of", "--allow-simulated-nodes")
	s.run(t, "trustpoolctl", "node", "import", "nodes.csv")
	until(t, "enrolment", func() error { return s.listed(t, " no_policy", nodes) })
	s.run(t, "trustpoolctl", "knowngood", "capture", s.names[0], "--prefix", "xen")
	s.run(t, "trustpoolctl", "knowngood", "approve", "xen-platform")
	s.run(t, "trustpoolctl", "knowngood", "approve", "xen-hypervisor")
	until(t, "trust", func() error { return s.listed(t, " trusted ", nodes) })

	return s
}

// cutBetween puts a network between the server and each node that can be cut, and writes the server's list of nodes with it.
func (s *site) cutBetween(t *testing.T) {
	t.Helper()

	file, err := os.Open(s.path("sim/nodes.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()

	rows, err := csv.NewReader(file).ReadAll()
	if err != nil {
		t.Fatal(err)
	}

	for _, row := range rows[1:] {
		c := newCutter(t, row[1])
		s.names = append(s.names, row[0])
		s.ways[row[0]] = c
		row[1] = c.listener.Addr().String()
	}

	var list bytes.Buffer
	if err := csv.NewWriter(&list).WriteAll(rows); err != nil {
		t.Fatal(err)
	}

	write(t, s.path("nodes.csv"), list.String())
}

// serve starts the server, and returns when it answers.
func (s *site) serve(t *testing.T) {
	t.Helper()

	server := program.Start(t, tool(t, "trustpool-server"), "--config", s.path("server.yaml"))
	listening := regexp.MustCompile(`"msg":"listening","address":"([^"]*)"`)
	until(t, "the server", func() error { return server.Saying(`"msg":"listening"`) })

	ca, err := os.ReadFile(s.path("sim/pki/ca.pem"))
	if err != nil {
		t.Fatal(err)
	}

	token, err := os.ReadFile(s.path("admin"))
	if err != nil {
		t.Fatal(err)
	}

	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)

	url := "https://" + listening.FindStringSubmatch(server.Said.String())[1]

	client, err := api.NewClient(api.Config{URL: url, Token: strings.TrimSpace(string(token)), RootCAs: roots, ServerName: "localhost"})
	if err != nil {
		t.Fatal(err)
	}

	s.mu.Lock()
	defer s.mu.Unlock()

	s.servers, s.url, s.client = append(s.servers, server), url, client
}

// kill ends the server at once.
func (s *site) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.client.Close()
	s.servers[len(s.servers)-1].Kill()
}

// now returns the present server's URL, and a client of it.
func (s *site) now() (string, *api.Client) {
	s.mu.Lock()
	defer s.mu.Unlock()

	return s.url, s.client
}

func (s *site) listed(t *testing.T, what string, times int) error {
	t.Helper()

	if n := strings.Count(s.run(t, "trustpoolctl", "node", "list"), what); n != times {
		return fmt.Errorf("%q of %d nodes, not %d", what, n, times)
	}

	return nil
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

// run runs a command, which has to succeed.
func (s *site) run(t *testing.T, name string, args ...string) string {
	t.Helper()

	out, err := s.try(t, name, args...)
	if err != nil {
		t.Fatal(err)
	}

	return out
}

func (s *site) try(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()

	url, _ := s.now()

	var out, said bytes.Buffer
	cmd := exec.Command(tool(t, name), args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, &out, &said
	cmd.Env = append(os.Environ(), "TRUSTPOOL_SERVER="+url, "TRUSTPOOL_TOKEN_FILE="+s.path("admin"), "TRUSTPOOL_CA="+s.path("sim/pki/ca.pem"))

	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s%s", name, strings.Join(args, " "), err, out.String(), said.String())
	}

	return out.String(), nil
}

func write(t *testing.T, name, content string) {
	t.Helper()

	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
