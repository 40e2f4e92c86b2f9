package daemon_test

import (
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"

	"github.com/trustpool/trustpool/cmd/internal/daemon"
	"github.com/trustpool/trustpool/cmd/internal/spiffetest"
	"github.com/trustpool/trustpool/internal/spiffe"
	"github.com/trustpool/trustpool/tpmsim/pki"
)

// followed is a SPIFFE source, the Workload API that it follows, and what it says.
type followed struct {
	*daemon.SPIFFE

	api     *spiffetest.API
	own     *spiffetest.Domain
	changes chan struct{}
	remarks chan string
}

// ownID is the ID of who follows.
const ownID = "spiffe://example.org/server"

// follow runs a source for the trust domains that count, in the first of which it is itself. The API is away.
func follow(t *testing.T, domains ...string) *followed {
	t.Helper()

	f := &followed{api: spiffetest.New(t), own: spiffetest.NewDomain(t, "example.org"), changes: make(chan struct{}, 100), remarks: make(chan string, 100)}
	f.SPIFFE = daemon.NewSPIFFE(spiffe.Config{Socket: f.api.Socket(), TrustDomains: domains}, slog.New(slog.DiscardHandler))
	f.OnChange(func() { f.changes <- struct{}{} })
	f.OnRemark(func(line string) { f.remarks <- line })

	f.run(t)

	return f
}

// run follows until the test ends.
func (f *followed) run(t *testing.T) {
	t.Helper()

	ended := make(chan error, 1)
	go func() { ended <- f.Run(t.Context()) }()

	t.Cleanup(func() {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// give sends an answer, and waits until it was taken over.
func (f *followed) give(t *testing.T, answer *workload.X509SVIDResponse) {
	t.Helper()

	f.api.Give(answer)
	f.wait(t)
}

func (f *followed) wait(t *testing.T) {
	t.Helper()

	select {
	case <-f.changes:
	case <-time.After(time.Minute):
		t.Fatalf("nothing changed: %v", f.Ready())
	}
}

// remark waits for a line with these words.
func (f *followed) remark(t *testing.T, words string) {
	t.Helper()

	late := time.After(time.Minute)

	for {
		select {
		case line := <-f.remarks:
			if strings.Contains(line, words) && (words != "" || line == "") {
				return
			}
		case <-late:
			t.Fatalf("no remark with %q", words)
		}
	}
}

// started is one whose API gave a first answer.
func started(t *testing.T, federated ...*spiffetest.Domain) *followed {
	t.Helper()

	domains := []string{"example.org"}
	for _, domain := range federated {
		domains = append(domains, domain.Name)
	}

	f := follow(t, domains...)
	f.api.Start(t)
	f.give(t, spiffetest.Answer(t, f.own.Issue(t, ownID), federated...))

	return f
}

func TestUntilTheWorkloadAPIAnswersNobodyIsServedOrCalled(t *testing.T) {
	t.Parallel()

	f := follow(t, "example.org")
	f.remark(t, "no X.509-SVID from the SPIFFE Workload API")

	server := f.ServerTLS(false)

	if _, err := server.Config().GetConfigForClient(nil); err == nil {
		t.Error("a handshake was begun without an X.509-SVID")
	}

	if err := server.VerifyConnection(state(f.own.Issue(t, "spiffe://example.org/client").Certificate.Leaf)); err == nil {
		t.Error("a client was let in without a bundle")
	}

	if _, err := f.ClientConfig("spiffe://example.org/node"); err == nil {
		t.Error("somebody could be called without an X.509-SVID")
	}

	if err := f.Ready(); err == nil {
		t.Error("it is ready")
	}

	f.api.Start(t)
	f.give(t, spiffetest.Answer(t, f.own.Issue(t, ownID)))
	f.remark(t, "")

	if err := f.Ready(); err != nil {
		t.Error(err)
	}

	config, err := server.Config().GetConfigForClient(nil)
	if err != nil {
		t.Fatal(err)
	}

	for name, config := range map[string]*tls.Config{"outer": server.Config(), "inner": config} {
		if config.ClientAuth != tls.RequireAndVerifyClientCert || config.MinVersion != tls.VersionTLS13 || config.VerifyConnection == nil || config.ClientCAs == nil {
			t.Errorf("%s config lets clients in unverified: %+v", name, config)
		}
	}
}

func TestARotatedSVIDIsShownFromThenOnAndKeepsWhoIsIn(t *testing.T) {
	t.Parallel()

	f := started(t)
	server, client := f.ServerTLS(false), f.own.Issue(t, "spiffe://example.org/client")

	for range 3 {
		next := f.own.Issue(t, ownID)
		f.give(t, spiffetest.Answer(t, next))

		config, err := server.Config().GetConfigForClient(nil)
		if err != nil || !config.Certificates[0].Leaf.Equal(next.Certificate.Leaf) {
			t.Fatalf("the new X.509-SVID is not shown: %v", err)
		}

		if err := server.VerifyConnection(state(client.Certificate.Leaf)); err != nil {
			t.Errorf("who was in: %v", err)
		}
	}
}

// TestOnlySVIDsOfTheirOwnTrustDomainCount has one certificate each that breaks one rule.
func TestOnlySVIDsOfTheirOwnTrustDomainCount(t *testing.T) {
	t.Parallel()

	friends, strangers := spiffetest.NewDomain(t, "friends.example"), spiffetest.NewDomain(t, "strangers.example")
	f := started(t, friends)
	// The API has the bundle of the strangers, too, whom the config does not name.
	f.give(t, spiffetest.Answer(t, f.own.Issue(t, ownID), friends, strangers))

	const id = "spiffe://example.org/client"

	second, err := url.Parse("spiffe://example.org/second")
	if err != nil {
		t.Fatal(err)
	}

	server := f.ServerTLS(false)

	for name, svid := range map[string]spiffetest.SVID{
		"own":       f.own.Issue(t, id),
		"federated": friends.Issue(t, friends.ID("/client")),
	} {
		if err := server.VerifyConnection(state(svid.Certificate.Leaf)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}

	for name, svid := range map[string]spiffetest.SVID{
		"of a trust domain that does not count":      strangers.Issue(t, strangers.ID("/client")),
		"of an ID in another trust domain":           friends.Issue(t, id),
		"of an authority of the same name":           spiffetest.NewDomain(t, "example.org").Issue(t, id),
		"for servers only":                           f.own.Issue(t, id, func(leaf *pki.Leaf) { leaf.Client = false }),
		"with two IDs":                               f.own.Issue(t, id, func(leaf *pki.Leaf) { leaf.URIs = append(leaf.URIs, second) }),
		"with no ID":                                 f.own.Issue(t, id, func(leaf *pki.Leaf) { leaf.URIs, leaf.DNSNames = nil, []string{"client.example.org"} }),
		"that has ended":                             f.own.Issue(t, id, func(leaf *pki.Leaf) { leaf.NotAfter = time.Now().Add(-time.Minute) }),
		"that has not begun":                         f.own.Issue(t, id, func(leaf *pki.Leaf) { leaf.NotBefore = time.Now().Add(time.Hour) }),
		"of an ID that is a URL of somebody else's":  f.own.Issue(t, "https://example.org/client"),
		"of an ID that has a port, as URLs may have": f.own.Issue(t, "spiffe://example.org:443/client"),
	} {
		if err := server.VerifyConnection(state(svid.Certificate.Leaf)); err == nil {
			t.Errorf("an X.509-SVID %s was let in", name)
		}
	}
}

func TestAnAuthorityThatIsSignedIsNoClient(t *testing.T) {
	t.Parallel()

	f := started(t)
	uri, err := url.Parse("spiffe://example.org/client")
	if err != nil {
		t.Fatal(err)
	}

	for name, template := range map[string]x509.Certificate{
		"an authority":      {IsCA: true, KeyUsage: x509.KeyUsageDigitalSignature},
		"a signer":          {KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign},
		"a signer of lists": {KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCRLSign},
	} {
		template.BasicConstraintsValid, template.URIs = true, []*url.URL{uri}
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}

		if err := f.ServerTLS(false).VerifyConnection(state(f.own.Sign(t, &template))); err == nil {
			t.Errorf("%s was let in", name)
		}
	}

	plain := x509.Certificate{KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true, URIs: []*url.URL{uri}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if err := f.ServerTLS(false).VerifyConnection(state(f.own.Sign(t, &plain))); err != nil {
		t.Error(err)
	}

	plain.ExtKeyUsage = nil // which X509-SVID, 4.4 allows
	if err := f.ServerTLS(false).VerifyConnection(state(f.own.Sign(t, &plain))); err == nil {
		t.Error("one without an extended key usage was let in")
	}
}

func TestWhoIsInIsOutWhenTheBundleHasItsAuthorityNoMore(t *testing.T) {
	t.Parallel()

	friends := spiffetest.NewDomain(t, "friends.example")
	f := started(t, friends)
	server := f.ServerTLS(false)
	own, friend := f.own.Issue(t, "spiffe://example.org/client"), friends.Issue(t, friends.ID("/client"))

	for _, svid := range []spiffetest.SVID{own, friend} {
		if err := server.VerifyConnection(state(svid.Certificate.Leaf)); err != nil {
			t.Fatal(err)
		}
	}

	f.give(t, spiffetest.Answer(t, f.own.Issue(t, ownID))) // the federation has ended

	if err := server.VerifyConnection(state(friend.Certificate.Leaf)); err == nil {
		t.Error("a client of a trust domain without a bundle is in")
	}

	f.own.AddAuthority(t)
	f.give(t, spiffetest.Answer(t, f.own.Issue(t, ownID)))

	if err := server.VerifyConnection(state(own.Certificate.Leaf)); err != nil {
		t.Errorf("while both authorities are in the bundle: %v", err)
	}

	f.own.DropAuthorities()
	f.give(t, spiffetest.Answer(t, f.own.Issue(t, ownID)))

	if err := server.VerifyConnection(state(own.Certificate.Leaf)); err == nil {
		t.Error("a client of an authority that is gone is in")
	}
}

func TestWhomACRLOfTheWorkloadAPIRevokesIsOut(t *testing.T) {
	t.Parallel()

	f := started(t)
	server := f.ServerTLS(false)
	revoked, other := f.own.Issue(t, "spiffe://example.org/client"), f.own.Issue(t, "spiffe://example.org/client")

	if err := server.VerifyConnection(state(revoked.Certificate.Leaf)); err != nil {
		t.Fatal(err)
	}

	f.own.Revoke(revoked)
	f.give(t, spiffetest.Answer(t, f.own.Issue(t, ownID)))

	if err := server.VerifyConnection(state(revoked.Certificate.Leaf)); err == nil || !strings.Contains(err.Error(), "revoked") {
		t.Errorf("got %v", err)
	}

	if err := server.VerifyConnection(state(other.Certificate.Leaf)); err != nil {
		t.Error(err)
	}
}

func TestWhileTheWorkloadAPIIsAwayTheLastSVIDCounts(t *testing.T) {
	t.Parallel()

	f := started(t)
	registry := prometheus.NewRegistry()
	f.ServerTLS(false).Register(registry, "test")

	up := func() float64 {
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}

		for _, family := range families {
			if family.GetName() == "test_spiffe_workload_api_up" {
				return family.GetMetric()[0].GetGauge().GetValue()
			}
		}

		t.Fatal("no such metric")

		return 0
	}

	if up() != 1 {
		t.Error("it is not up")
	}

	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
		t.Errorf("metrics: %v %v", problems, err)
	}

	f.api.Stop()
	f.remark(t, "nothing new from the SPIFFE Workload API, the X.509-SVID is good until")

	if up() != 0 {
		t.Error("it is up")
	}

	if err := f.ServerTLS(false).VerifyConnection(state(f.own.Issue(t, "spiffe://example.org/client").Certificate.Leaf)); err != nil || f.Ready() != nil {
		t.Errorf("nobody is served: %v, %v", err, f.Ready())
	}

	f.api.Start(t)
	f.remark(t, "")

	if up() != 1 {
		t.Error("it is not up again")
	}
}

func TestAnSVIDThatIsTakenBackCountsNoMore(t *testing.T) {
	t.Parallel()

	f := started(t)
	f.api.Deny()
	f.wait(t)
	f.remark(t, "no identity issued")

	if _, err := f.ServerTLS(false).Config().GetConfigForClient(nil); err == nil {
		t.Error("a handshake was begun")
	}

	if err := f.ServerTLS(false).VerifyConnection(state(f.own.Issue(t, "spiffe://example.org/client").Certificate.Leaf)); err == nil {
		t.Error("somebody is in")
	}

	f.give(t, spiffetest.Answer(t, f.own.Issue(t, ownID)))

	if err := f.Ready(); err != nil {
		t.Error(err)
	}
}
