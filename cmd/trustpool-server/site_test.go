package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/trustpool/trustpool/internal/daemontest"
	"github.com/trustpool/trustpool/internal/transcript"
	"github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/tpmsim/pki"
)

// inTime is how long it may take, on a machine with much else to do, until each node was asked by a schedule of seconds. A node whose challenge died with its server, and that nobody else takes over, waits
// for longer: until its lease has ended, which is a minute.
const inTime = 30 * time.Second

// site is the real server with real nodes.
type site struct {
	dir     string
	config  string // its file
	ca      *pki.CA
	pool    *x509.CertPool // of the authorities, if not ca alone
	address string
	nodes   []*node
	token   string // of the administrator
	client  *api.Client
	known   []byte // what the first node has booted
	running *exec.Cmd
	said    *transcript.Text
	env     []string
}

// newSite starts nodes, and writes the files of a server that asks them so often. Nothing is in its database but the token of its administrator. database is the URL of a PostgreSQL database, or empty
// for a file.
func newSite(t *testing.T, nodes int, interval time.Duration, database string) *site {
	t.Helper()

	x := &site{dir: t.TempDir(), address: daemontest.FreeAddress(t), said: &transcript.Text{}}
	x.config = filepath.Join(x.dir, "server.yaml")
	if database == "" {
		database = filepath.Join(x.dir, "trustpool.db")
	}
	var err error
	if x.ca, err = pki.New("test"); err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{"ca.pem": x.ca.PEM()}
	for i := range nodes {
		n := startNode(t, x.ca, fmt.Sprintf("node%d.example", i))
		x.nodes = append(x.nodes, n)
		files["makers.pem"] = append(files["makers.pem"], n.sim.EKRootsPEM()...)
	}
	for name, leaf := range map[string]pki.Leaf{
		"server": {DNSNames: []string{"server.example"}, Server: true}, "client": {DNSNames: []string{"server.example"}, Client: true},
	} {
		pair, err := x.ca.Issue(leaf)
		if err != nil {
			t.Fatal(err)
		}
		files[name+".pem"], files[name+"-key.pem"] = pair.CertPEM, pair.KeyPEM
	}
	files["server.yaml"] = []byte(strings.NewReplacer("DATABASE", database, "DIR", x.dir, "ADDRESS", x.address, "INTERVAL", interval.String(), "VALIDITY", (2*interval + 2*time.Minute).String()).Replace(`
database: DATABASE
listen: {address: "ADDRESS"}
tls: {certificate: DIR/server.pem, key: DIR/server-key.pem}
nodes:
  certificate: DIR/client.pem
  key: DIR/client-key.pem
  ca: DIR/ca.pem
  ek_roots: [DIR/makers.pem]
  interval: INTERVAL
  validity: VALIDITY
  timeout: 40s
admin: {address: ""}
`))
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(x.dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	x.login(t)
	t.Cleanup(x.kill)
	return x
}

// login makes the administrator's token, as the documentation says.
func (x *site) login(t *testing.T) {
	t.Helper()

	command := x.command("token", "add", "alice", "--role", "admin", "--config", x.config)
	token, err := command.Output()
	if err != nil {
		t.Fatal(err, x.said)
	}
	x.token = strings.TrimSpace(string(token))
	x.dial(t)
}

func (x *site) dial(t *testing.T) {
	t.Helper()

	var err error
	x.client, err = api.NewClient(api.Config{URL: "https://" + x.address, Token: x.token, RootCAs: x.roots(), ServerName: "server.example"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.client.Close)
}

// replica is a second server on the same nodes and the same database.
func (x *site) replica(t *testing.T) *site {
	t.Helper()

	other := &site{dir: x.dir, config: filepath.Join(x.dir, "replica.yaml"), ca: x.ca, address: daemontest.FreeAddress(t), nodes: x.nodes, token: x.token, said: &transcript.Text{}}
	config, err := os.ReadFile(x.config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(other.config, []byte(strings.ReplaceAll(string(config), x.address, other.address)), 0o600); err != nil {
		t.Fatal(err)
	}
	other.dial(t)
	t.Cleanup(other.kill)
	return other
}

// command is the real one.
func (x *site) command(args ...string) *exec.Cmd {
	command := exec.Command(os.Args[0], args...)
	command.Env = append(append(os.Environ(), asServer+"=1", "GORACE="+noLinger), x.env...)
	command.Stderr = x.said
	return command
}

// start starts the server, and does not wait for it.
func (x *site) start(t *testing.T) {
	t.Helper()

	x.running = x.command("--config", x.config)
	if err := x.running.Start(); err != nil {
		t.Fatal(err)
	}
}

// kill leaves the server no time for anything.
func (x *site) kill() {
	if x.running == nil {
		return
	}
	_ = x.running.Process.Kill()
	_ = x.running.Wait()
	x.running = nil
}

// stop ends the server as systemd does, and returns its exit code.
func (x *site) stop(t *testing.T) int {
	t.Helper()

	if err := x.running.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = x.running.Wait() // the exit code says it
	code := x.running.ProcessState.ExitCode()
	x.running = nil
	return code
}

// waitUntil asks until it is so.
func (x *site) waitUntil(t *testing.T, what string, so func(context.Context) bool) {
	t.Helper()

	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute) // for machines that have much else to do
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for !so(ctx) {
		select {
		case <-ctx.Done():
			t.Fatalf("it never came about that %s:\n%s", what, x.said)
		case <-ticker.C:
		}
	}
}

// names are those of all nodes.
func (x *site) names() []string {
	var names []string
	for _, n := range x.nodes {
		names = append(names, n.name)
	}
	return names
}

// furnish does what an administrator does on the first day: a pool, its nodes, and what the first node booted as known good.
func (x *site) furnish(t *testing.T) {
	t.Helper()

	ctx := t.Context()
	x.waitUntil(t, "the server answers", func(ctx context.Context) bool {
		_, err := x.client.Caller(ctx)
		return err == nil
	})
	if _, err := x.client.PutPool(ctx, "pool", api.PoolSpec{Requires: []api.Requirement{{Part: "hypervisor", Match: "any_of"}}}, 0); err != nil {
		t.Fatal(err)
	}
	for _, n := range x.nodes {
		if _, err := x.client.AddNode(ctx, api.NodeSpec{Name: n.name, Address: n.address, Pool: "pool", Binding: "chain"}); err != nil {
			t.Fatal(err)
		}
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(x.dir, "client.pem"), filepath.Join(x.dir, "client-key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	x.known = x.nodes[0].learn(t, &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: x.roots(), Certificates: []tls.Certificate{pair}})
	set, err := x.client.PutSet(ctx, "xen", api.SetSpec{Part: "hypervisor", Pools: []string{"pool"}, KnownGood: x.known}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.client.ApproveSet(ctx, "xen", set.Revision); err != nil {
		t.Fatal(err)
	}
}

func (x *site) roots() *x509.CertPool {
	if x.pool != nil {
		return x.pool
	}
	return x.ca.Pool()
}
