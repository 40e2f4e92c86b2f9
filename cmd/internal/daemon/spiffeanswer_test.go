package daemon_test

import (
	"crypto/tls"
	"log/slog"
	"strings"
	"testing"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"

	"github.com/trustpool/trustpool/cmd/internal/daemon"
	"github.com/trustpool/trustpool/cmd/internal/spiffetest"
	"github.com/trustpool/trustpool/internal/spiffe"
	"github.com/trustpool/trustpool/tpmsim/pki"
)

// TestAnAnswerThatCanNotBeUsedReplacesNothing has one answer each that is wrong in one way.
func TestAnAnswerThatCanNotBeUsedReplacesNothing(t *testing.T) {
	t.Parallel()

	f := started(t)
	good := f.own.Issue(t, ownID)
	f.give(t, spiffetest.Answer(t, good))

	for words, spoil := range map[string]func(*workload.X509SVIDResponse){
		"reading the X.509-SVID":                 func(r *workload.X509SVIDResponse) { r.Svids[0].X509Svid = []byte("garbage") },
		"private key":                            func(r *workload.X509SVIDResponse) { r.Svids[0].X509SvidKey = nil },
		"was sent as that of":                    func(r *workload.X509SVIDResponse) { r.Svids[0].SpiffeId = "spiffe://example.org/other" },
		"reading the bundle":                     func(r *workload.X509SVIDResponse) { r.Svids[0].Bundle = []byte("garbage") },
		"reading a CRL":                          func(r *workload.X509SVIDResponse) { r.Crl = [][]byte{[]byte("garbage")} },
		"has not both serverAuth and clientAuth": func(r *workload.X509SVIDResponse) { r.Svids[0] = f.halfSVID(t) },
	} {
		answer := spiffetest.Answer(t, f.own.Issue(t, ownID))
		spoil(answer)
		f.api.Give(answer)
		f.remark(t, words)

		config, err := f.ServerTLS(false).Config().GetConfigForClient(nil)
		if err != nil || !config.Certificates[0].Leaf.Equal(good.Certificate.Leaf) {
			t.Errorf("%s: the last good X.509-SVID is not shown: %v", words, err)
		}
	}

	f.give(t, spiffetest.Answer(t, good))
	f.remark(t, "")
}

// halfSVID is for servers only.
func (f *followed) halfSVID(t *testing.T) *workload.X509SVID {
	t.Helper()

	return spiffetest.Answer(t, f.own.Issue(t, ownID, func(leaf *pki.Leaf) { leaf.Client = false })).GetSvids()[0]
}

func TestOfSeveralSVIDsTheOneThatWasAskedForIsShown(t *testing.T) {
	t.Parallel()

	own, api := spiffetest.NewDomain(t, "example.org"), spiffetest.New(t)
	first, second := spiffetest.Answer(t, own.Issue(t, own.ID("/first"))), spiffetest.Answer(t, own.Issue(t, own.ID("/second")))
	both := &workload.X509SVIDResponse{Svids: append(first.GetSvids(), second.GetSvids()...)}

	api.Start(t)
	api.Give(both)

	for id, want := range map[string]string{"": "/first", own.ID("/first"): "/first", own.ID("/second"): "/second", own.ID("/third"): ""} {
		source := daemon.NewSPIFFE(spiffe.Config{Socket: api.Socket(), ID: id, TrustDomains: []string{"example.org"}}, slog.New(slog.DiscardHandler))
		f := &followed{SPIFFE: source, changes: make(chan struct{}, 100), remarks: make(chan string, 100)}
		source.OnChange(func() { f.changes <- struct{}{} })
		source.OnRemark(func(line string) { f.remarks <- line })
		f.run(t)

		if want == "" {
			f.remark(t, "none of the 2 has the ID")

			if f.Ready() == nil {
				t.Error("another X.509-SVID is shown")
			}

			continue
		}

		f.wait(t)

		config, err := f.ServerTLS(false).Config().GetConfigForClient(nil)
		if err != nil {
			t.Fatal(err)
		}

		if got := config.Certificates[0].Leaf.URIs[0].Path; got != want {
			t.Errorf("asked for %q, shown is %s", id, got)
		}
	}
}

func TestWhoIsCalledIsVerifiedByItsOwnTrustDomain(t *testing.T) {
	t.Parallel()

	friends := spiffetest.NewDomain(t, "friends.example")
	f := started(t, friends)

	config, err := f.ClientConfig(friends.ID("/node"))
	if err != nil {
		t.Fatal(err)
	}

	if config.MinVersion != tls.VersionTLS13 || config.RootCAs == nil || !config.RootCAs.Equal(friends.Pool(t)) || len(config.Certificates) != 1 {
		t.Errorf("config %+v", config)
	}

	node, forged := friends.Issue(t, friends.ID("/node")), f.own.Issue(t, friends.ID("/node"))
	if err := config.VerifyConnection(state(node.Certificate.Leaf)); err != nil {
		t.Error(err)
	}

	if err := config.VerifyConnection(state(forged.Certificate.Leaf)); err == nil {
		t.Error("another trust domain's authority can make nodes of this one")
	}

	client := friends.Issue(t, friends.ID("/node"), func(leaf *pki.Leaf) { leaf.Server = false })
	if err := config.VerifyConnection(state(client.Certificate.Leaf)); err == nil {
		t.Error("an X.509-SVID for clients only passes for a node's")
	}

	if _, err := f.ClientConfig("spiffe://strangers.example/node"); err == nil {
		t.Error("a trust domain that does not count can be called")
	}

	if err := config.VerifyConnection(tls.ConnectionState{}); err == nil {
		t.Error("nobody passes for a node")
	}
}

func TestTheConfigForCallsIsTheSameUntilSomethingElseCounts(t *testing.T) {
	t.Parallel()

	friends := spiffetest.NewDomain(t, "friends.example")
	f := started(t, friends)
	svid := f.own.Issue(t, ownID)

	get := func() *tls.Config {
		config, err := f.ClientConfig(friends.ID("/node"))
		if err != nil {
			t.Fatal(err)
		}

		return config
	}

	f.give(t, spiffetest.Answer(t, svid, friends))

	first := get()

	f.give(t, spiffetest.Answer(t, svid, friends))

	if get() != first {
		t.Error("the same answer makes another config")
	}

	friends.AddAuthority(t)
	f.give(t, spiffetest.Answer(t, svid, friends))

	second := get()
	if second == first {
		t.Error("another bundle makes the same config")
	}

	f.give(t, spiffetest.Answer(t, f.own.Issue(t, ownID), friends))

	if get() == second {
		t.Error("another X.509-SVID makes the same config")
	}

	f.give(t, spiffetest.Answer(t, svid))

	if _, err := f.ClientConfig(friends.ID("/node")); err == nil || !strings.Contains(err.Error(), "has no bundle") {
		t.Errorf("without a bundle: %v", err)
	}

	node := friends.Issue(t, friends.ID("/node"))
	if err := first.VerifyConnection(state(node.Certificate.Leaf)); err == nil {
		t.Error("a config of before lets a node in whose trust domain is gone")
	}
}
