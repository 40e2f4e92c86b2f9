package witness

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-tpm/tpm2/transport"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/proto"

	"github.com/trustpool/trustpool/agent"
	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/tpmsim/pki"
	"github.com/trustpool/trustpool/tpmsim/tpmsimtest"
	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/eventlog"
)

// seen is a good reply, what it answers, and what is true of the node.
type seen struct {
	request  *agentv1.QuoteRequest
	response *agentv1.QuoteResponse
	server   peer.Peer
	truth    Truth
}

type keptOpen struct{ transport.TPM }

func (keptOpen) Close() error { return nil }

// see asks a real agent on a simulated node.
func see(t *testing.T, mode agentv1.BindMode, aggregated bool) seen {
	t.Helper()

	sim := tpmsimtest.Start(t, tpmsim.Options{})
	dir := t.TempDir()
	path := filepath.Join(dir, "txt.log")

	if err := os.WriteFile(path, sim.EventLog(), 0o600); err != nil {
		t.Fatal(err)
	}

	s := seen{request: &agentv1.QuoteRequest{
		Nonce: make([]byte, 32), BindMode: mode, AcceptAggregation: aggregated, Logs: []*agentv1.LogRequest{{Source: "txt"}},
	}}
	if _, err := rand.Read(s.request.GetNonce()); err != nil {
		t.Fatal(err)
	}

	conn := serve(t, sim, dir, path)

	var err error
	if s.response, err = agentv1.NewQuoteServiceClient(conn).Quote(t.Context(), s.request, grpc.Peer(&s.server)); err != nil {
		t.Fatal(err)
	}

	if s.truth.PCRs, err = PCRs(sim); err != nil {
		t.Fatal(err)
	}

	public, ok := Keys(sim)(s.response.GetAkName())
	if !ok {
		t.Fatal("the AK is not in the TPM")
	}

	s.truth.AKs = []verifier.AKPin{{Name: s.response.GetAkName(), Public: public, Binding: verifier.BindingFirstUse}}
	s.truth.Logs = map[string][]byte{"txt": sim.EventLog()}

	return s
}

// serve runs an agent with that log, and connects to it.
func serve(t *testing.T, sim *tpmsim.Node, dir, log string) *grpc.ClientConn {
	t.Helper()

	const caller = "witness.example"

	ca, err := pki.New("test")
	if err != nil {
		t.Fatal(err)
	}

	server, err := ca.Issue(pki.Leaf{IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, Server: true})
	if err != nil {
		t.Fatal(err)
	}

	client, err := ca.Issue(pki.Leaf{DNSNames: []string{caller}, Client: true})
	if err != nil {
		t.Fatal(err)
	}

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}

	config := agent.DefaultConfig()
	config.StateDir, config.Logs = dir, agent.LogsConfig{Files: []agent.LogConfig{{Source: "txt", Path: log}}}
	config.Clients = []agent.ClientRule{{SAN: []string{"dns:" + caller}, Roles: agent.Roles()}}

	node, err := agent.New(config, agent.Deps{
		Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(), TCP: listener,
		TLS:     &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{server.Certificate}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.Pool()},
		OpenTPM: func() (transport.TPMCloser, error) { return keptOpen{sim}, nil },
	})
	if err != nil {
		t.Fatal(err)
	}

	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)

	go func() { done <- node.Run(ctx) }()

	t.Cleanup(func() {
		stop()

		if err := <-done; err != nil {
			t.Error(err)
		}
	})

	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: ca.Pool(), Certificates: []tls.Certificate{client.Certificate},
	})))
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { _ = conn.Close() })

	return conn
}

// flip changes one bit.
func flip(b []byte) { b[len(b)/2] ^= 1 }

// wrongs are the ways to change a good reply, or what is true, by the kinds of replies that have what is changed.
func wrongs(mode string) map[string]func(*seen) {
	all := map[string]func(*seen){
		"another nonce": func(s *seen) { flip(s.request.GetNonce()) },
		"the quote":     func(s *seen) { flip(s.response.GetQuoted()) },
		"the signature": func(s *seen) { flip(s.response.GetQuoteSignature()) },
		"a PCR's value": func(s *seen) { flip(s.response.GetPcrBanks()[0].GetPcrValues()[2].GetValue()) },
		"the true PCR":  func(s *seen) { s.truth.PCRs = map[PCR][]byte{{eventlog.AlgSHA256, 19}: make([]byte, 31)} },
		"a PCR less":    func(s *seen) { b := s.response.GetPcrBanks()[0]; b.PcrValues = b.GetPcrValues()[:2] },
		"other PCRs asked for": func(s *seen) {
			s.request.PcrSelections = []*agentv1.PcrSelection{{HashAlgo: 11, PcrIndices: []int32{17, 18}}}
		},
		"the AK":               func(s *seen) { flip(s.response.GetAkPublic()) },
		"the AK's Name":        func(s *seen) { flip(s.response.GetAkName()) },
		"an AK of nobody":      func(s *seen) { s.truth.AKs = nil },
		"another AK asked for": func(s *seen) { s.request.AkName = bytes.Repeat([]byte{1}, 34) },
		"a log's bytes":        func(s *seen) { flip(s.response.GetLogs()[0].GetContent()) },
		"a log's digest":       func(s *seen) { flip(s.response.GetLogs()[0].GetSha256()) },
		"a log's size":         func(s *seen) { s.response.GetLogs()[0].Size++ },
		"another true log":     func(s *seen) { s.truth.Logs = map[string][]byte{"txt": []byte("another log")} },
		"a log that is not":    func(s *seen) { s.truth.Logs = map[string][]byte{"txt": nil} },
		"the other bind mode":  func(s *seen) { s.request.BindMode ^= 3 },
	}

	if mode != "raw" {
		all["another connection"] = func(s *seen) { s.server = peer.Peer{} }
		all["another log"] = func(s *seen) { replaceLog(s, []byte("another log")) }
	}

	if mode == "aggregate" {
		all["an aggregate unasked"] = func(s *seen) { s.request.AcceptAggregation = false }
		all["an aggregate's salt"] = func(s *seen) { flip(s.response.GetAggregation().GetSalt()) }
		all["an aggregate's size"] = func(s *seen) { s.response.GetAggregation().Size++ }
		all["an aggregate left out"] = func(s *seen) { s.response.Aggregation = nil }
	}

	return all
}

func TestAWrongReplyIsNoticed(t *testing.T) {
	t.Parallel()

	for mode, good := range map[string]seen{
		"raw":       see(t, agentv1.BindMode_BIND_MODE_RAW, false),
		"bound":     see(t, agentv1.BindMode_BIND_MODE_BOUND, false),
		"aggregate": see(t, agentv1.BindMode_BIND_MODE_BOUND, true),
	} {
		if err := New(Options{}).check(&watch{truths: []Truth{{}, good.truth}}, good.request, good.response, &good.server); err != nil {
			t.Fatalf("%s, as it is: %v", mode, err)
		}

		for name, change := range wrongs(mode) {
			t.Run(mode+", "+name, func(t *testing.T) {
				t.Parallel()

				changed := good
				changed.request, changed.response = proto.CloneOf(good.request), proto.CloneOf(good.response)
				change(&changed)

				if err := New(Options{}).check(&watch{truths: []Truth{changed.truth}}, changed.request, changed.response, &changed.server); err == nil {
					t.Error("not noticed")
				}
			})
		}
	}
}

// replaceLog gives a reply another log that fits its own digest: only what is signed, or known to be true, tells.
func replaceLog(s *seen, raw []byte) {
	digest := sha256.Sum256(raw)
	log := s.response.GetLogs()[0]
	log.Content, log.Sha256, log.Size = raw, digest[:], uint64(len(raw))
	s.truth.Logs = nil
}

func TestACallMayBeAnsweredByWhatWasTrueWhileItLasted(t *testing.T) {
	t.Parallel()

	good := see(t, agentv1.BindMode_BIND_MODE_BOUND, false)
	other := good.truth
	other.PCRs = map[PCR][]byte{{eventlog.AlgSHA256, 17}: make([]byte, 32)}

	for name, test := range map[string]struct {
		before, during, after Truth
		want                  bool
	}{
		"true before, and when it began": {good.truth, other, other, true},
		"true while it lasted":           {other, good.truth, other, true},
		"true after its end alone":       {other, other, good.truth, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w := New(Options{})
			w.Know(test.before)
			call := w.begin()
			w.Know(test.during)
			w.end(call)
			w.Know(test.after)

			if err := w.check(call, good.request, good.response, &good.server); (err == nil) != test.want {
				t.Errorf("got %v", err)
			}
		})
	}
}
