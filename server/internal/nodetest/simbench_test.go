package nodetest_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/trustpool/trustpool/server/internal/challenge"
	"github.com/trustpool/trustpool/server/internal/store/storetest"
	"github.com/trustpool/trustpool/server/internal/trust"
	"github.com/trustpool/trustpool/verifier"
)

const simInterval = 10 * time.Second

var simNodes = flag.String("sim-nodes", "200", "how many simulated nodes BenchmarkSimulatedNodes starts")

// BenchmarkSimulatedNodes has the server enrol and challenge 200 nodes of trustpool-sim: a swtpm and the real agent each, over mutual TLS, once each 10 s, with verdicts that hold for two of these
// intervals. The nodes share the processors with the server.
func BenchmarkSimulatedNodes(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "sim")
	ready := startSim(b, dir)
	list, err := os.ReadFile(filepath.Join(dir, "nodes.csv"))
	if err != nil {
		b.Fatal(err)
	}
	nodes, err := trust.ParseNodesCSV(list)
	if err != nil {
		b.Fatal(err)
	}
	c := newCentre(b, trust.Pool{Name: "sim", AllowSimulatedNodes: true}, storetest.SQLite.Database(b))
	agents := challenge.NewAgents(challenge.ByHostName(func() (*tls.Config, error) { return clientTLS(dir) }), nil, slog.New(slog.DiscardHandler))
	b.Cleanup(func() { _ = agents.Close() })
	enroll := agents.Enroll(func() (challenge.Roots, error) { return challenge.Roots{}, nil })
	c.learn(b, agents, enroll, nodes[0])
	if _, err := c.store.AddNodes(b.Context(), act(), nodes); err != nil {
		b.Fatal(err)
	}
	before := resident(b)

	config := challenge.Config{Interval: simInterval, Validity: 2 * simInterval, Timeout: 10 * time.Second, Concurrency: 64}
	c.run(b, 1, config, agents, enroll)
	took := c.until(b, len(nodes), 2*time.Minute)
	names := make([]string, len(nodes))
	for i := range nodes {
		names[i] = nodes[i].Name
	}
	used := cpu(b)
	w := c.watch(b, names, 3*simInterval)
	used = cpu(b) - used
	w.report(b)

	b.ReportMetric(float64(len(nodes)), "nodes")
	b.ReportMetric(took.Seconds(), "enrolled-and-trusted-s")
	b.ReportMetric(100*used.Seconds()/(3*simInterval).Seconds(), "server-core-%")
	b.ReportMetric(before, "RSS-idle-MiB")
	b.ReportMetric(resident(b), "RSS-MiB")
	b.ReportMetric(ready.Seconds, "start-s")
	b.ReportMetric(float64(ready.Memory.PerNode)/(1<<20), "MiB/simulated-node")
	b.ReportMetric(0, "ns/op") // means nothing here
}

// readyEvent is what trustpool-sim --json tells when all nodes run.
type readyEvent struct {
	Event   string  `json:"event"`
	Seconds float64 `json:"seconds"`
	Memory  struct {
		PerNode int64 `json:"per_node_bytes"`
	} `json:"memory"`
}

// startSim builds and starts trustpool-sim, and waits until its nodes run.
func startSim(b *testing.B, dir string) (ready readyEvent) {
	b.Helper()
	binary := filepath.Join(b.TempDir(), "trustpool-sim")
	if out, err := exec.CommandContext(b.Context(), "go", "build", "-o", binary, "github.com/trustpool/trustpool/cmd/trustpool-sim").CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.Command(binary, "--dir", dir, "--nodes", *simNodes, "--json") // Cleanup ends it
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	runtime.LockOSThread() // Pdeathsig is about the thread (prctl(2))
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := errors.Join(cmd.Process.Signal(syscall.SIGINT), cmd.Wait()); err != nil {
			b.Error(err)
		}
		runtime.UnlockOSThread()
	})
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if err := json.Unmarshal(lines.Bytes(), &ready); err != nil {
			b.Fatal(err)
		}
		if ready.Event == "ready" {
			return ready
		}
	}
	b.Fatal("trustpool-sim has ended")
	return ready
}

// clientTLS is the server's, from the files that trustpool-sim wrote.
func clientTLS(dir string) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "pki/client.pem"), filepath.Join(dir, "pki/client-key.pem"))
	if err != nil {
		return nil, err
	}
	pem, err := os.ReadFile(filepath.Join(dir, "pki/ca.pem"))
	if err != nil {
		return nil, err
	}
	authorities := x509.NewCertPool()
	if !authorities.AppendCertsFromPEM(pem) {
		return nil, errors.New("no certificate in ca.pem")
	}
	return &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: authorities, Certificates: []tls.Certificate{pair}}, nil
}

// learn enrols one node and takes what it booted for good.
func (c *centre) learn(b *testing.B, agents *challenge.Agents, enroll challenge.Enroller, n trust.Node) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	record, _, err := enroll(ctx, &n, nil)
	if err != nil {
		b.Fatal(err)
	}
	nonce := []byte(strings.Repeat("n", 32))
	ev, err := agents.Challenge(ctx, &n, challenge.Request{Nonce: nonce, Selection: verifier.DefaultSelection()})
	if err != nil {
		b.Fatal(err)
	}
	known, err := verifier.Learn(ev, verifier.Policy{Nonce: nonce, BindMode: verifier.BindBound, Node: &record})
	if err != nil {
		b.Fatal(err)
	}
	c.approve(b, n.Pool, known)
}
