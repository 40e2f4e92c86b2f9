//go:build chaos

package chaos

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/trustpool/trustpool/internal/daemontest"
	"github.com/trustpool/trustpool/internal/witness"
	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
	"github.com/trustpool/trustpool/tpmsim/pki"
	"github.com/trustpool/trustpool/tpmsim/tpmsimtest"
)

// caller is the name in the callers' certificates.
const caller = "witness.example"

// node is a real agent on a simulated node, with callers that believe nothing.
type node struct {
	*process
	*gate

	dir, state string
	config     string
	txt        string // the log's file
	wrap       []string
	program    string
	ca         *pki.CA
	client     tls.Certificate
	witness    *witness.Witness

	address, admin string
	conn           *grpc.ClientConn // over TLS
}

// newNode starts a node on which all is well, and callers that go on asking until the test ends.
func newNode(t *testing.T, o options) *node {
	t.Helper()

	n := &node{dir: t.TempDir(), wrap: o.wrap, program: cmp.Or(o.program, program)}
	n.state = o.state

	if n.state == "" {
		n.state = n.dir
	}

	n.config, n.txt = filepath.Join(n.dir, "agent.yaml"), filepath.Join(n.dir, "txt.log")
	sim := tpmsimtest.Start(t, o.sim)
	n.gate = newGate(t, sim, n.dir)
	n.witness = witness.New(witness.Options{Failed: func(err error) { t.Error(err) }, Keys: witness.Keys(sim)})
	n.writePKI(t)
	write(t, n.txt, sim.EventLog())
	n.know(t)

	write(t, n.config, fmt.Appendf(nil, `tpm: {device: %[1]s/tpm.sock}
listen: {address: "127.0.0.1:0", unix: %[1]s/agent.sock, max_connections_per_address: 256}
tls: {certificate: %[1]s/server.pem, key: %[1]s/server-key.pem, client_ca: %[1]s/ca.pem}
clients: [{san: ["dns:%[2]s"], roles: [quote, raw, enroll, admin, observe], rate: 100000, concurrent: 1000}]
logs: {root: "", collected: "", files: [{source: txt, path: %[1]s/txt.log}]}
admin: {address: "127.0.0.1:0"}
state_dir: %[3]s
%[4]s`, n.dir, caller, n.state, o.yaml))

	n.launch(t)

	return n
}

// launch starts the agent, connects to it, and waits for the first quote.
func (n *node) launch(t *testing.T) {
	t.Helper()
	n.start(t)
	n.quoteSoon(t)
}

// start starts the agent and connects to it.
func (n *node) start(t *testing.T) {
	t.Helper()

	n.process = start(t, n.program, n.config, n.wrap...)
	n.address = field(t, n.said.wait(t, "listening", "127.0.0.1:"), "address")
	n.admin = field(t, n.said.wait(t, "serving metrics"), "address")
	n.conn = n.dial(t, n.address, n.mutual())
}

func (n *node) writePKI(t *testing.T) {
	t.Helper()

	var err error
	if n.ca, err = pki.New("test"); err != nil {
		t.Fatal(err)
	}

	n.client = n.issue(t, pki.Leaf{DNSNames: []string{caller}, Client: true}).Certificate

	if err := pki.WriteDir(n.dir, n.ca, n.issue(t, server()), nil); err != nil {
		t.Fatal(err)
	}
}

func server() pki.Leaf { return pki.Leaf{IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, Server: true} }

func (n *node) issue(t testing.TB, leaf pki.Leaf) *pki.Pair {
	t.Helper()

	pair, err := n.ca.Issue(leaf)
	if err != nil {
		t.Fatal(err)
	}

	return pair
}

// mutual is a caller's TLS.
func (n *node) mutual() credentials.TransportCredentials {
	return credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS13, RootCAs: n.ca.Pool(), Certificates: []tls.Certificate{n.client}})
}

// dial connects with the witness listening.
func (n *node) dial(t testing.TB, address string, creds credentials.TransportCredentials) *grpc.ClientConn {
	t.Helper()

	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(creds), grpc.WithUnaryInterceptor(n.witness.Unary()),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.Config{BaseDelay: 10 * time.Millisecond, Multiplier: 1.5, MaxDelay: 200 * time.Millisecond}, MinConnectTimeout: 30 * time.Second,
		}))
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { _ = conn.Close() })

	return conn
}

// local connects by the unix socket.
func (n *node) local(t testing.TB) *grpc.ClientConn {
	t.Helper()

	return n.dial(t, "unix://"+filepath.Join(n.dir, "agent.sock"), insecure.NewCredentials())
}

// know tells the witness what is true now: the PCRs that the TPM holds, and the log's file.
func (n *node) know(t testing.TB) witness.Truth {
	t.Helper()

	truth := n.truth(t)
	n.witness.Know(truth)

	return truth
}

func (n *node) truth(t testing.TB) witness.Truth {
	t.Helper()

	values, err := witness.PCRs(n.sim)
	if err != nil {
		t.Fatal(err)
	}

	log, err := os.ReadFile(n.txt)
	if err != nil && !os.IsNotExist(err) {
		log = nil // what can't be read must not be called available
	}

	return witness.Truth{PCRs: values, Logs: map[string][]byte{"txt": log}}
}

// request is one that is answered, in each of the ways that there are: bound, shared with others, and the bare nonce.
func request(kind int) *agentv1.QuoteRequest {
	nonce := make([]byte, 32)
	_, _ = rand.Read(nonce) // it never fails

	r := &agentv1.QuoteRequest{Nonce: nonce, BindMode: agentv1.BindMode_BIND_MODE_BOUND, Logs: []*agentv1.LogRequest{{Source: "txt"}}}

	switch kind % 3 {
	case 1:
		r.AcceptAggregation = true
	case 2:
		r.BindMode = agentv1.BindMode_BIND_MODE_RAW
	}

	return r
}

// quote asks once, over a connection that was or comes about.
func (n *node) quote(ctx context.Context, kind int) (*agentv1.QuoteResponse, error) {
	return quote(ctx, n.conn, kind)
}

// quote asks once over a connection, and waits no longer than a caller should have to.
func quote(ctx context.Context, conn *grpc.ClientConn, kind int) (*agentv1.QuoteResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()

	return agentv1.NewQuoteServiceClient(conn).Quote(ctx, request(kind))
}

// quoteSoon asks until it is answered: that the agent has come back by itself.
func (n *node) quoteSoon(t testing.TB) *agentv1.QuoteResponse {
	t.Helper()

	var response *agentv1.QuoteResponse

	kind := 0
	n.until(t, "a quote", func() error {
		var err error
		kind++
		response, err = n.quote(t.Context(), kind)

		return err
	})

	return response
}

// until tries until it works.
func (n *node) until(t testing.TB, what string, try func() error) {
	t.Helper()

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()

	for {
		err := try()
		if err == nil {
			return
		}

		select {
		case <-ctx.Done():
			t.Fatalf("no %s: %v\n%s", what, err, n.said.String())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// get asks the admin listener.
func (n *node) get(t testing.TB, path string) (code int, body string) {
	t.Helper()

	return daemontest.Get(t, "http://"+n.admin+path)
}

// metric returns a value of the metrics page, by its name and labels.
func (n *node) metric(t testing.TB, name string) float64 {
	t.Helper()

	_, page := n.get(t, "/metrics")
	for line := range strings.Lines(page) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			value, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if err != nil {
				t.Fatal(err)
			}

			return value
		}
	}

	t.Fatalf("no metric %s", name)

	return 0
}

// wantMetric waits until a metric is as it has to be.
func (n *node) wantMetric(t testing.TB, name string, good func(float64) bool) {
	t.Helper()
	n.until(t, name, func() error {
		if value := n.metric(t, name); !good(value) {
			return fmt.Errorf("it is %v", value)
		}

		return nil
	})
}

func is(want float64) func(float64) bool { return func(value float64) bool { return value == want } }

func above(than float64) func(float64) bool { return func(value float64) bool { return value > than } }

// change makes something else true. While it does, and until it did, callers may be answered by what was or what will be.
func (n *node) change(t testing.TB, do func()) {
	t.Helper()

	before := n.truth(t)
	n.witness.Know(before, witness.Truth{}) // nobody knows yet what will be true: the TPM's own key has to have signed it
	do()
	n.know(t)
}
