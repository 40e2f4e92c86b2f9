package publish_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trustpool/trustpool/server"
	"github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/server/internal/access"
	"github.com/trustpool/trustpool/server/internal/nodetest"
	"github.com/trustpool/trustpool/server/publish"
	"github.com/trustpool/trustpool/tpmsim/pki"
)

// served is a whole attestation server over TLS, whose nodes are in software: good.example (alias good), and bad.example, which boots something that is not known good.
type served struct {
	client    *api.Client
	good, bad *nodetest.Soft
	stop      func()
}

func serve(t *testing.T) *served {
	t.Helper()
	s := &served{}
	var err error
	if s.good, err = nodetest.NewSoft("good.example", "xen"); err != nil {
		t.Fatal(err)
	}
	if s.bad, err = nodetest.NewSoft("bad.example", "other"); err != nil {
		t.Fatal(err)
	}
	config := server.DefaultConfig()
	config.Database = filepath.Join(t.TempDir(), "trustpool.db")
	config.TLS.Certificate, config.TLS.Key = "/given/by/deps.pem", "/given/by/deps-key.pem"
	config.Nodes.Certificate, config.Nodes.Key, config.Nodes.CA = "/not/used.pem", "/not/used-key.pem", "/not/used-ca.pem"
	config.Nodes.Interval, config.Nodes.Validity = time.Hour, 3*time.Hour // they are asked when they are told to
	token, err := server.AddToken(t.Context(), config.Database, "test", "admin", access.Admin, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	s.run(t, config, token)
	s.furnish(t)
	return s
}

func (s *served) run(t *testing.T, config server.Config, token string) {
	t.Helper()
	ca, err := pki.New("test")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Issue(pki.Leaf{IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, Server: true})
	if err != nil {
		t.Fatal(err)
	}
	attestation, err := server.New(t.Context(), config, server.Deps{
		Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(), Challenger: nodetest.NewFleet(s.good, s.bad),
		TLS: &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair.Certificate}},
	})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- attestation.Run(ctx, server.Listeners{TCP: listener}) }()
	if s.client, err = api.NewClient(api.Config{URL: "https://" + listener.Addr().String(), Token: token, RootCAs: ca.Pool()}); err != nil {
		t.Fatal(err)
	}
	s.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("running: %v", err)
		}
		s.client.Close()
	})
	t.Cleanup(s.stop)
}

// furnish adds a pool, what is known good in it, and the nodes.
func (s *served) furnish(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	if _, err := s.client.PutPool(ctx, "pool", api.PoolSpec{Requires: []api.Requirement{{Part: "hypervisor", Match: "any_of"}}}, 0); err != nil {
		t.Fatal(err)
	}
	known, err := s.good.KnownGood()
	if err != nil {
		t.Fatal(err)
	}
	known.AKs = nil
	raw, err := json.Marshal(known)
	if err != nil {
		t.Fatal(err)
	}
	set, err := s.client.PutSet(ctx, "xen", api.SetSpec{Part: "hypervisor", Pools: []string{"pool"}, KnownGood: raw}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.client.ApproveSet(ctx, "xen", set.Revision); err != nil {
		t.Fatal(err)
	}
	for _, node := range []*nodetest.Soft{s.good, s.bad} {
		record, err := node.Record().Marshal()
		if err != nil {
			t.Fatal(err)
		}
		alias, _, _ := strings.Cut(node.Name, ".")
		spec := api.NodeSpec{Name: node.Name, Aliases: []string{alias}, Address: node.Name + ":9443", Pool: "pool", Record: record}
		if _, err := s.client.AddNode(ctx, spec); err != nil {
			t.Fatal(err)
		}
	}
}

// boot boots the good node into a hypervisor, and has it attested.
func (s *served) boot(t *testing.T, hypervisor string) {
	t.Helper()
	s.good.Reboot(hypervisor)
	if err := s.client.AttestNode(t.Context(), s.good.Name); err != nil {
		t.Fatal(err)
	}
}

func TestVerdictsOfARealServerArePublished(t *testing.T) {
	t.Parallel()
	s := serve(t)
	sink := &memory{states: map[string]publish.State{"GOOD": {}, "bad.example": {Marks: []string{inPool}}, "stranger": {Marks: []string{inPool}}}}
	shows := func(want string) {
		t.Helper()
		eventually(t, func() string { return sink.shows("GOOD") }, want)
		for _, host := range []string{"bad.example", "stranger"} {
			if got := sink.shows(host); got != "" {
				t.Errorf("%s shows %q", host, got)
			}
		}
	}

	// Only events are fast enough for this one.
	stop := s.publish(t, sink, 5*time.Minute, 15*time.Minute)
	shows(inPool)
	s.boot(t, "other")
	shows("")
	s.boot(t, "xen")
	shows(inPool)
	stop()

	stop = s.publish(t, sink, time.Second, 3*time.Second)
	defer stop()
	shows(inPool)
	s.stop()
	shows("")
}

// publish runs a publisher until its result is called.
func (s *served) publish(t *testing.T, sink publish.Sink, interval, maxAge time.Duration) (stop func()) {
	t.Helper()
	config := publish.DefaultConfig(inPool, "")
	config.Interval, config.MaxAge = interval, maxAge
	p := publish.New(config, publish.Deps{Sink: sink, Server: s.client, Logger: slog.New(slog.DiscardHandler), Metrics: publish.NewMetrics(prometheus.NewRegistry())})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("running: %v", err)
		}
	}
}

// eventually waits for a value.
func eventually(t *testing.T, value func() string, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for value() != want {
		select {
		case <-ctx.Done():
			t.Fatalf("it stays %q, want %q", value(), want)
		case <-ticker.C:
		}
	}
}
