package challenge_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2/transport"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/trustpool/trustpool/agent"
	"github.com/trustpool/trustpool/server/internal/challenge"
	"github.com/trustpool/trustpool/server/internal/store"
	"github.com/trustpool/trustpool/server/internal/store/storetest"
	"github.com/trustpool/trustpool/server/internal/trust"
	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/tpmsim/pki"
	"github.com/trustpool/trustpool/tpmsim/tpmsimtest"
	"github.com/trustpool/trustpool/verifier"
)

// realNode is a real agent on a simulated TPM.
type realNode struct {
	sim     *tpmsim.Node
	ca      *pki.CA
	dir     string
	address string
	stop    func()
}

// kept keeps the TPM when an agent closes it.
type kept struct{ transport.TPM }

func (kept) Close() error { return nil }

func startReal(t *testing.T) *realNode {
	t.Helper()
	ca, err := pki.New("test")
	if err != nil {
		t.Fatal(err)
	}
	n := &realNode{sim: tpmsimtest.Start(t, tpmsim.Options{}), ca: ca, dir: t.TempDir(), address: "127.0.0.1:0"}
	n.boot(t)
	t.Cleanup(func() { n.stop() })
	return n
}

// boot starts the agent, as a boot does.
func (n *realNode) boot(t *testing.T) {
	t.Helper()
	log := filepath.Join(n.dir, "txt.log")
	if err := os.WriteFile(log, n.sim.EventLog(), 0o600); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", n.address)
	if err != nil {
		t.Fatal(err)
	}
	n.address = listener.Addr().String()
	config := agent.DefaultConfig()
	config.StateDir = n.dir
	config.Clients = []agent.ClientRule{{SAN: []string{"dns:server.example"}, Roles: agent.Roles()}}
	config.Logs = agent.LogsConfig{Files: []agent.LogConfig{{Source: "txt", Path: log}}}
	a, err := agent.New(config, agent.Deps{
		Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(), TCP: listener,
		OpenTPM: func() (transport.TPMCloser, error) { return kept{n.sim}, nil },
		TLS: &tls.Config{
			MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: n.ca.Pool(),
			Certificates: []tls.Certificate{n.issue(t, pki.Leaf{DNSNames: []string{"node1.example"}, Server: true})},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	n.stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("running the agent: %v", err)
		}
		n.stop = func() {}
	}
}

func (n *realNode) issue(t *testing.T, leaf pki.Leaf) tls.Certificate {
	t.Helper()
	pair, err := n.ca.Issue(leaf)
	if err != nil {
		t.Fatal(err)
	}
	return pair.Certificate
}

// agents returns Agents with the server's certificate.
func (n *realNode) agents(t *testing.T, hurry func(context.Context, string) error) *challenge.Agents {
	t.Helper()
	config := &tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: n.ca.Pool(),
		Certificates: []tls.Certificate{n.issue(t, pki.Leaf{DNSNames: []string{"server.example"}, Client: true})},
	}
	agents := challenge.NewAgents(challenge.ByHostName(func() (*tls.Config, error) { return config, nil }), hurry, slog.New(slog.DiscardHandler))
	t.Cleanup(func() { _ = agents.Close() })
	return agents
}

// roots trusts the simulated TPM's maker.
func (n *realNode) roots(t *testing.T) func() (challenge.Roots, error) {
	t.Helper()
	roots, err := verifier.ParseEKRoots(n.sim.EKRootsPEM())
	if err != nil {
		t.Fatal(err)
	}
	return func() (challenge.Roots, error) { return challenge.Roots{Roots: roots}, nil }
}

func (n *realNode) node(binding verifier.EKBinding) trust.Node {
	return trust.Node{Name: "node1.example", Address: n.address, Pool: "pool", Binding: binding, State: trust.Pending}
}

// waitFor waits until a node's verdict is as wanted, at each change of the store.
func waitFor(t *testing.T, s *store.Store, what string, done func(trust.Verdict) bool) trust.Verdict {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		changed := s.Changed()
		hosts, err := s.Lookup(ctx, []string{"node1.example"}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if done(hosts[0].Verdict) {
			return hosts[0].Verdict
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("waiting until the node %s: it is %+v", what, hosts[0].Verdict)
		}
	}
}

// TestARealNodeFromItsFirstDay enrols a node, learns what it booted, and sees it reboot into another hypervisor and back.
func TestARealNodeFromItsFirstDay(t *testing.T) {
	t.Parallel()

	n := startReal(t)
	s := storetest.New(t)
	if _, err := s.PutPool(t.Context(), act(), trust.Pool{Name: "pool", Requires: []trust.Requirement{{Part: trust.Hypervisor, Match: trust.AnyOf}}}, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := s.AddNodes(t.Context(), act(), []trust.Node{n.node(verifier.BindingChain)}); err != nil {
		t.Fatal(err)
	}

	slow := config()
	slow.Interval = time.Hour // what is fast below is so because of what happened
	var schedule *challenge.Schedule
	agents := n.agents(t, func(ctx context.Context, name string) error { return schedule.Hurry(ctx, name) })
	schedule = challenge.New(slow, challenge.Deps{
		Store: s, Challenger: agents, Enroll: agents.Enroll(n.roots(t)), Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- schedule.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()

	waitFor(t, s, "is enrolled and has quoted", func(v trust.Verdict) bool { return v.Reason == trust.NoPolicy })
	node, err := s.Node(t.Context(), "node1.example")
	if err != nil || node.State != trust.Active || node.Record.Binding != verifier.BindingChain {
		t.Fatalf("%+v, %v", node, err)
	}
	ev, err := s.LastEvidence(t.Context(), "node1.example", store.LastBad)
	if err != nil {
		t.Fatal(err)
	}
	known, err := verifier.Learn(ev.Evidence, verifier.Policy{Nonce: ev.Nonce, BindMode: verifier.BindBound, Node: node.Record})
	if err != nil {
		t.Fatal(err)
	}
	set, err := s.PutSet(t.Context(), act(), trust.Set{Name: "xen", Part: trust.Hypervisor, Pools: []string{"pool"}, KnownGood: known}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.ApproveSet(t.Context(), act(), "xen", set.Revision); err != nil {
		t.Fatal(err)
	}
	first := waitFor(t, s, "is trusted", func(v trust.Verdict) bool { return v.Level == trust.Trusted })

	for _, boot := range []struct {
		scenario tpmsim.Scenario
		reason   trust.Reason
	}{{tpmsim.OtherHypervisor, trust.PCRMismatch}, {tpmsim.NoLaunch, trust.NoLaunch}, {tpmsim.Trusted, trust.OK}} {
		n.stop()
		if err := n.sim.Reboot(t.Context(), boot.scenario); err != nil {
			t.Fatal(err)
		}
		n.boot(t)
		v := waitFor(t, s, "has booted "+string(boot.scenario), func(v trust.Verdict) bool { return v.Reason == boot.reason && v.Generation > first.Generation })
		if v.Boot == nil || *v.Boot == *first.Boot {
			t.Errorf("%s: the reboot was not seen: %+v", boot.scenario, v)
		}
	}
	history, err := s.History(t.Context(), "node1.example", 0, 10)
	if err != nil || !history[0].Rebooted || len(history) < 5 {
		t.Errorf("%+v, %v", history, err)
	}
}

// TestAQuoteMayBeSharedWithOtherServers has the node sign a tree, from which the verdict follows as from a quote for this server alone.
func TestAQuoteMayBeSharedWithOtherServers(t *testing.T) {
	t.Parallel()

	n := startReal(t)
	agents := n.agents(t, nil)
	node := n.node(verifier.BindingChain)
	record, _, err := agents.Enroll(n.roots(t))(t.Context(), &node, nil)
	if err != nil {
		t.Fatal(err)
	}
	node.Record, node.State = &record, trust.Active
	answer := trust.Answer{QuotedAt: time.Now(), Nonce: bytes.Repeat([]byte{1}, 32)}
	answer.Evidence, err = agents.Challenge(t.Context(), &node, challenge.Request{Nonce: answer.Nonce, Selection: verifier.DefaultSelection()})
	if err != nil {
		t.Fatal(err)
	}
	if answer.Evidence.Aggregation == nil {
		t.Fatal("the node was not told that it may share the quote")
	}
	known, err := verifier.Learn(answer.Evidence, verifier.Policy{Nonce: answer.Nonce, BindMode: verifier.BindBound, Node: &record})
	if err != nil {
		t.Fatal(err)
	}
	policy := trust.Policy{
		Pool:     trust.Pool{Name: "pool", Requires: []trust.Requirement{{Part: trust.Hypervisor, Match: trust.AnyOf}}},
		Sets:     []trust.Set{{Name: "xen", Part: trust.Hypervisor, Pools: []string{"pool"}, KnownGood: known, State: trust.InForce}},
		Validity: time.Hour,
	}
	if got := policy.Judge(&node, answer, nil, time.Now()).Verdict; got.Level != trust.Trusted {
		t.Errorf("%+v", got)
	}
	answer.Nonce = bytes.Repeat([]byte{2}, 32)
	if got := policy.Judge(&node, answer, nil, time.Now()).Verdict; got.Level != trust.Untrusted {
		t.Errorf("of a nonce that is no leaf of it: %+v", got)
	}
}

func TestALogThatIsKnownIsNotSentAgain(t *testing.T) {
	t.Parallel()

	n := startReal(t)
	agents := n.agents(t, nil)
	node := n.node(verifier.BindingChain)
	request := challenge.Request{Nonce: bytes.Repeat([]byte{1}, 32), Selection: verifier.DefaultSelection()}
	first, err := agents.Challenge(t.Context(), &node, request)
	if err != nil {
		t.Fatal(err)
	}
	request.KnownLogs = map[string][]byte{"txt": first.Logs[0].Raw, "gone": {1}}
	second, err := agents.Challenge(t.Context(), &node, request)
	if err != nil {
		t.Fatal(err)
	}
	if len(second.Logs) != 1 || !bytes.Equal(second.Logs[0].Raw, n.sim.EventLog()) {
		t.Errorf("%d logs", len(second.Logs))
	}
}

func TestABankThatTheTPMLacksIsLeftOut(t *testing.T) {
	t.Parallel()

	n := startReal(t)
	agents := n.agents(t, nil)
	node := n.node(verifier.BindingChain)
	ev, err := agents.Challenge(t.Context(), &node, challenge.Request{
		Nonce: bytes.Repeat([]byte{1}, 32), Selection: []verifier.Selection{{Alg: 0x0D, PCRs: []int{17}}, {Alg: 0x0B, PCRs: []int{17, 18, 19}}},
	})
	if err != nil || len(ev.PCRs) != 1 || ev.PCRs[0].Alg != 0x0B {
		t.Errorf("%+v, %v", ev.PCRs, err)
	}
	_, err = agents.Challenge(t.Context(), &node, challenge.Request{Nonce: bytes.Repeat([]byte{1}, 32), Selection: []verifier.Selection{{Alg: 0x0D, PCRs: []int{17}}}})
	if refusal, ok := errors.AsType[*challenge.RefusalError](err); !ok || refusal.Reason != trust.PCRMissing {
		t.Errorf("no bank is left: %v", err)
	}
}

// TestWhoIsNotEnrolled has one reason in each case.
func TestWhoIsNotEnrolled(t *testing.T) {
	t.Parallel()

	n := startReal(t)
	none := func() (challenge.Roots, error) { return challenge.Roots{}, nil }
	other, err := verifier.ParseEKRoots(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: otherRoot(t)}))
	if err != nil {
		t.Fatal(err)
	}
	agents := n.agents(t, nil)
	enroll := func(roots func() (challenge.Roots, error), node trust.Node, refused ...verifier.Hex) (verifier.NodeRecord, error) {
		record, _, err := agents.Enroll(roots)(t.Context(), &node, refused)
		return record, err
	}
	good, err := enroll(n.roots(t), n.node(verifier.BindingChain))
	if err != nil || good.Binding != verifier.BindingChain || good.Name != "node1.example" {
		t.Fatalf("%+v, %v", good, err)
	}
	listed := n.node(verifier.BindingInventory)
	listed.EK.Name = good.EK.Name
	if record, err := enroll(none, listed); err != nil || record.Binding != verifier.BindingInventory {
		t.Fatalf("%+v, %v", record, err)
	}

	wrong := listed
	wrong.EK.Name = slices.Clone(good.EK.Name)
	wrong.EK.Name[5] ^= 1
	named := n.node(verifier.BindingChain)
	named.Name, named.ServerName = "node2.example", "node1.example"
	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"a TPM of a maker that is not trusted":             {fails(enroll(func() (challenge.Roots, error) { return challenge.Roots{Roots: other}, nil }, n.node(verifier.BindingChain))), "ek_chain"},
		"by chain, without any maker":                      {fails(enroll(none, n.node(verifier.BindingChain))), "no roots"},
		"another EK than the inventory's":                  {fails(enroll(none, wrong)), "ek_binding"},
		"a node that was not listed":                       {fails(enroll(none, n.node(""))), "binding"},
		"a name that its server certificate does not have": {fails(enroll(n.roots(t), named)), "ek_binding"},
		"a refused AK":                                     {fails(enroll(n.roots(t), n.node(verifier.BindingChain), good.AKs[0].Name)), "ak_not_refused"},
	} {
		refusal, ok := errors.AsType[*challenge.RefusalError](test.err)
		if !ok || refusal.Reason != trust.NotEnrolled || !strings.Contains(test.err.Error(), test.want) {
			t.Errorf("%s: %v", name, test.err)
		}
	}
}

func fails(_ verifier.NodeRecord, err error) error { return err }

// otherRoot is the certificate of a maker that has nothing to do with the node.
func otherRoot(t *testing.T) []byte {
	t.Helper()
	ca, err := pki.New("another maker")
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(ca.PEM())
	return block.Bytes
}

func TestANodeThatIsNotThereIsNoRefusal(t *testing.T) {
	t.Parallel()

	n := startReal(t)
	n.stop()
	agents := n.agents(t, nil)
	node := n.node(verifier.BindingChain)
	_, err := agents.Challenge(t.Context(), &node, challenge.Request{Nonce: bytes.Repeat([]byte{1}, 32), Selection: verifier.DefaultSelection()})
	if _, ok := errors.AsType[*challenge.RefusalError](err); err == nil || ok {
		t.Errorf("%v", err)
	}
	n.boot(t)
	if _, err := agents.Challenge(t.Context(), &node, challenge.Request{Nonce: bytes.Repeat([]byte{1}, 32), Selection: verifier.DefaultSelection()}); err != nil {
		t.Errorf("it came back: %v", err)
	}
}
