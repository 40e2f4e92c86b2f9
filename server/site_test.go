package server_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trustpool/trustpool/server"
	"github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/server/internal/access"
	"github.com/trustpool/trustpool/server/internal/challenge"
	"github.com/trustpool/trustpool/server/internal/nodetest"
	"github.com/trustpool/trustpool/server/internal/trust"
	"github.com/trustpool/trustpool/server/pgtest"
	"github.com/trustpool/trustpool/tpmsim/pki"
	"github.com/trustpool/trustpool/verifier"
)

// site is a whole server over TLS, with an enrolled node node1.example (alias node1) that boots what the set "xen" says.
type site struct {
	admin      *api.Client
	url, token string
	http       *http.Client
	challenger *exchangeable
	fleet      *nodetest.Fleet
	soft       *nodetest.Soft
	known      verifier.KnownGood
	set        api.Set
}

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// exchangeable is a challenge.Challenger that tests exchange while the server runs.
type exchangeable struct {
	mu  sync.Mutex
	now challenge.Challenger // guarded by mu
}

func (e *exchangeable) use(c challenge.Challenger) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.now = c
}

// Challenge implements challenge.Challenger.
func (e *exchangeable) Challenge(ctx context.Context, node *trust.Node, r challenge.Request) (verifier.Evidence, error) {
	e.mu.Lock()
	c := e.now
	e.mu.Unlock()
	return c.Challenge(ctx, node, r)
}

// lasting has verdicts that no test outlives, and nodes that are asked when they are told to.
func lasting() func(*server.NodesConfig) {
	return func(n *server.NodesConfig) { n.Interval, n.Validity = time.Hour, 3*time.Hour }
}

func newSite(t *testing.T, nodes func(*server.NodesConfig), more ...func(*server.Config)) *site {
	t.Helper()
	return newSiteOn(t, filepath.Join(t.TempDir(), "trustpool.db"), nodes, more...)
}

// onBoth runs a test with a SQLite database and with one of PostgreSQL.
func onBoth(t *testing.T, do func(t *testing.T, database string)) {
	t.Helper()
	for name, database := range map[string]func() string{
		"sqlite":   func() string { return filepath.Join(t.TempDir(), "trustpool.db") },
		"postgres": func() string { return pgtest.Database(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			do(t, database())
		})
	}
}

func newSiteOn(t *testing.T, database string, nodes func(*server.NodesConfig), more ...func(*server.Config)) *site {
	t.Helper()
	soft, err := nodetest.NewSoft("node1.example", "xen")
	if err != nil {
		t.Fatal(err)
	}
	s := &site{soft: soft, fleet: nodetest.NewFleet(soft)}
	if s.known, err = soft.KnownGood(); err != nil {
		t.Fatal(err)
	}
	s.known.AKs = nil
	s.challenger = &exchangeable{now: s.fleet}
	s.run(t, database, nodes, more...)
	s.putPool(t, api.PoolSpec{Requires: []api.Requirement{{Part: "hypervisor", Match: "any_of"}}})
	if s.set, err = s.put(t, "xen", s.known); err != nil {
		t.Fatal(err)
	}
	if _, err := s.admin.AddNode(t.Context(), s.spec(t, soft, "node1.example", "node1")); err != nil {
		t.Fatal(err)
	}
	s.heard(t, "node1.example") // it is asked again when somebody says so, or changes what decides
	return s
}

// run starts the server on a database and waits for nothing: a caller's connection waits for it.
func (s *site) run(t testing.TB, database string, nodes func(*server.NodesConfig), more ...func(*server.Config)) {
	t.Helper()
	ca, err := pki.New("test")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Issue(pki.Leaf{IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, Server: true})
	if err != nil {
		t.Fatal(err)
	}
	config := server.DefaultConfig()
	config.Database = database
	config.TLS.Certificate, config.TLS.Key = "/given/by/deps.pem", "/given/by/deps-key.pem"
	config.Nodes.Certificate, config.Nodes.Key, config.Nodes.CA = "/not/used.pem", "/not/used-key.pem", "/not/used-ca.pem"
	nodes(&config.Nodes)
	for _, change := range more {
		change(&config)
	}
	if s.token, err = server.AddToken(t.Context(), config.Database, "test", "admin", access.Admin, time.Time{}); err != nil {
		t.Fatal(err)
	}

	attestation, err := server.New(t.Context(), config, server.Deps{
		Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(), Challenger: s.challenger,
		TLS: &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair.Certificate}},
	})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- attestation.Run(ctx, server.Listeners{TCP: listener}) }()

	s.url = "https://" + listener.Addr().String()
	if s.admin, err = api.NewClient(api.Config{URL: s.url, Token: s.token, RootCAs: ca.Pool()}); err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: ca.Pool()}}
	s.http = &http.Client{Transport: transport}
	t.Cleanup(func() {
		s.admin.Close()
		transport.CloseIdleConnections()
		stop()
		if err := <-done; err != nil {
			t.Errorf("running: %v", err)
		}
	})
}

func (s *site) putPool(t *testing.T, spec api.PoolSpec) {
	t.Helper()
	revision := int64(0)
	if have, err := s.admin.Pool(t.Context(), "pool"); err == nil {
		revision = have.Revision
	}
	if _, err := s.admin.PutPool(t.Context(), "pool", spec, revision); err != nil {
		t.Fatal(err)
	}
}

// put puts a set in force.
func (s *site) put(t *testing.T, name string, known verifier.KnownGood) (api.Set, error) {
	t.Helper()
	raw, err := json.Marshal(known)
	if err != nil {
		t.Fatal(err)
	}
	set, err := s.admin.PutSet(t.Context(), name, api.SetSpec{Part: "hypervisor", Pools: []string{"pool"}, KnownGood: raw}, 0)
	if err != nil {
		return set, err
	}
	return s.admin.ApproveSet(t.Context(), name, set.Revision)
}

// replaceSet retires the set, and puts a changed one in force.
func (s *site) replaceSet(t *testing.T, change func(*verifier.KnownGood)) {
	t.Helper()
	known := s.known
	change(&known)
	_, err := s.put(t, "changed", known)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.admin.RetireSet(t.Context(), "xen", s.set.Revision); err != nil {
		t.Fatal(err)
	}
}

// spec is a node with the record of an enrolment.
func (s *site) spec(t *testing.T, soft *nodetest.Soft, name string, aliases ...string) api.NodeSpec {
	t.Helper()
	record, err := soft.Record().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return api.NodeSpec{Name: name, Aliases: aliases, Address: soft.Name + ":9443", Pool: "pool", Record: record}
}

// until waits for what comes by itself.
func (s *site) until(t *testing.T, what string, done func() bool) {
	t.Helper()
	late := time.After(time.Minute)
	for !done() {
		select {
		case <-late:
			t.Fatalf("it never is %s", what)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// attest has a node asked, and waits until the server has heard of it.
func (s *site) attest(t *testing.T, name string) {
	t.Helper()
	before := s.asked(t, name)
	if err := s.admin.AttestNode(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	s.until(t, "asked", func() bool { return s.asked(t, name) > before })
}

// heard waits for the first word of a node, which is asked as soon as it is added.
func (s *site) heard(t *testing.T, name string) {
	t.Helper()
	s.until(t, "asked", func() bool { return s.asked(t, name) > 0 })
}

// asked is how often a node was asked.
func (s *site) asked(t *testing.T, name string) int64 {
	t.Helper()
	n, err := s.admin.Node(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return n.Contact.GoodQuotes + n.Contact.BadQuotes + n.Contact.Unanswered
}

func (s *site) revision(t *testing.T, name string) int64 {
	t.Helper()
	n, err := s.admin.Node(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return n.Revision
}

func (s *site) host(t *testing.T, name string) api.Host {
	t.Helper()
	host, err := s.admin.Host(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return host
}

// answers are what all doors say of a name.
func (s *site) answers(t *testing.T, name string) []string {
	t.Helper()
	host := s.host(t, name)
	queried, err := s.admin.QueryHosts(t.Context(), []string{name})
	if err != nil || len(queried) != 1 || queried[0].Reason != host.Reason {
		t.Fatalf("%+v, %v", queried, err)
	}
	answers := []string{string(host.Trust), string(queried[0].Trust), s.pollHosts(t, name)}
	if host.Node != "" {
		listed := api.Trust("not listed")
		for h, err := range s.admin.Hosts(t.Context(), api.HostFilter{}) {
			if err != nil {
				t.Fatal(err)
			}
			if h.Node == host.Node {
				listed = h.Trust
			}
		}
		answers = append(answers, string(listed))
	}
	return answers
}

// pollHosts asks as OpenStack's TrustedFilter does.
func (s *site) pollHosts(t *testing.T, name string) string {
	t.Helper()
	body, err := json.Marshal(map[string]any{"count": 1, "hosts": []string{name}})
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/AttestationService/resources/PollHosts", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+s.token)
	response, err := s.http.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	var answer struct {
		Hosts []struct {
			TrustLevel string `json:"trust_lvl"`
		} `json:"hosts"`
	}
	if err = errors.Join(err, json.Unmarshal(raw, &answer)); err != nil || len(answer.Hosts) != 1 {
		t.Fatalf("%d %s, %v", response.StatusCode, raw, err)
	}
	return answer.Hosts[0].TrustLevel
}

func (s *site) wantTrusted(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if got := s.answers(t, name); slices.ContainsFunc(got, func(a string) bool { return a != "trusted" }) {
			t.Fatalf("%s: %s (%+v)", name, strings.Join(got, ", "), s.host(t, name))
		}
	}
}

// wantNot wants nobody to say that a node is trusted, and the reason.
func (s *site) wantNot(t *testing.T, reason trust.Reason, names ...string) {
	t.Helper()
	for _, name := range names {
		got, host := s.answers(t, name), s.host(t, name)
		if slices.Contains(got, "trusted") || host.Reason != string(reason) {
			t.Errorf("%s: %s, %s (%s), want %s", name, strings.Join(got, ", "), host.Reason, host.Detail, reason)
		}
	}
}

// wantProblem wants the server to have refused a request.
func wantProblem(t *testing.T, err error, status int) {
	t.Helper()
	problem, ok := errors.AsType[*api.Problem](err)
	if !ok || problem.Status != status {
		t.Errorf("%v, want status %d", err, status)
	}
}
