package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/trustpool/trustpool/cmd/internal/spiffetest"
	"github.com/trustpool/trustpool/internal/daemontest"
	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/tpmsim/tpmsimtest"
)

// spiffeNode is the real command with a Workload API in place of TLS files.
type spiffeNode struct {
	served

	api *spiffetest.API
	own *spiffetest.Domain
}

const (
	spiffeNodeID = "spiffe://example.org/node/n1/trustpool-agent"
	spiffeCaller = "spiffe://example.org/trustpool-server"
)

// serveSPIFFE starts it, with rules for these IDs. The API is away.
func serveSPIFFE(t *testing.T, domains string, ids ...string) *spiffeNode {
	t.Helper()

	n := &spiffeNode{served: served{dir: t.TempDir()}, api: spiffetest.New(t), own: spiffetest.NewDomain(t, "example.org")}
	sim := tpmsimtest.Start(t, tpmsim.Options{})

	listener, err := net.Listen("unix", filepath.Join(n.dir, "tpm.sock"))
	if err != nil {
		t.Fatal(err)
	}

	served := make(chan error, 1)
	go func() { served <- sim.Serve(t.Context(), listener) }()

	t.Cleanup(func() {
		if err := <-served; err != nil {
			t.Error(err)
		}
	})

	n.permit(t, domains, ids...)
	n.process = launch(t, "--config", filepath.Join(n.dir, "agent.yaml"))
	n.address = n.told(t, `"msg":"listening"`)
	n.admin = n.told(t, `"msg":"serving metrics"`)
	n.stderr.wait(t, `"msg":"ready to quote"`)

	return n
}

// permit writes the config with a rule for each of the IDs.
func (n *spiffeNode) permit(t *testing.T, domains string, ids ...string) {
	t.Helper()

	var rules strings.Builder
	for _, id := range ids {
		fmt.Fprintf(&rules, "  - {san: ['uri:%s'], roles: [quote, observe]}\n", id)
	}

	mustWrite(t, filepath.Join(n.dir, "agent.yaml"), fmt.Appendf(nil, "tpm: {device: %[1]s/tpm.sock}\nlisten: {address: '127.0.0.1:0'}\nadmin: {address: '127.0.0.1:0'}\n"+
		"state_dir: %[1]s\nlogs: {root: '', collected: ''}\ntls: {spiffe: {socket: '%[2]s', trust_domains: [%[3]s]}}\nclients:\n%[4]s", n.dir, n.api.Socket(), domains, rules.String()))
}

// give has the API send the node's X.509-SVID, and waits until it was taken over.
func (n *spiffeNode) give(t *testing.T, federated ...*spiffetest.Domain) {
	t.Helper()

	before := strings.Count(n.stderr.String(), `"msg":"X.509-SVID taken over"`)
	n.api.Give(spiffetest.Answer(t, n.own.Issue(t, spiffeNodeID), federated...))
	n.stderr.waitCount(t, before+1, `"msg":"X.509-SVID taken over"`)
}

// get returns what the admin listener says.
func (n *spiffeNode) get(t *testing.T, path string) (body string, code int) {
	t.Helper()

	code, body = daemontest.Get(t, "http://"+n.admin+path)

	return body, code
}

// from connects with an X.509-SVID, to a node of that trust domain.
func (n *spiffeNode) from(t *testing.T, svid spiffetest.SVID) *grpc.ClientConn {
	t.Helper()

	roots := n.own.Pool(t)

	conn, err := grpc.NewClient(n.address, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{svid.Certificate}, InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			leaf := state.PeerCertificates[0]
			if len(leaf.URIs) != 1 || leaf.URIs[0].String() != spiffeNodeID {
				return errors.New("another SPIFFE ID")
			}

			_, err := leaf.Verify(x509.VerifyOptions{Roots: roots})

			return err
		},
	})))
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { _ = conn.Close() })

	return conn
}

// TestAnAgentWithSPIFFEServesWhileItsSVIDRotatesAndTheWorkloadAPIIsAway goes through a day of one.
func TestAnAgentWithSPIFFEServesWhileItsSVIDRotatesAndTheWorkloadAPIIsAway(t *testing.T) {
	t.Parallel()

	n := serveSPIFFE(t, "example.org", spiffeCaller)
	caller := n.own.Issue(t, spiffeCaller)

	n.stderr.wait(t, `"msg":"waiting for the SPIFFE Workload API"`)

	if body, code := n.get(t, "/readyz"); code == 200 || !strings.Contains(body, "no X.509-SVID") {
		t.Errorf("ready without an X.509-SVID: %d %s", code, body)
	}

	if err := capabilities(t.Context(), n.from(t, caller)); status.Code(err) != codes.Unavailable {
		t.Errorf("before the first X.509-SVID: %v", err)
	}

	n.api.Start(t)
	n.give(t)

	conn := n.from(t, caller)
	if err := capabilities(t.Context(), conn); err != nil {
		t.Fatal(err)
	}

	watch := watched(t, conn)

	for range 3 {
		n.give(t)

		if err := capabilities(t.Context(), n.from(t, caller)); err != nil {
			t.Errorf("after a rotation: %v", err)
		}
	}

	n.api.Stop()
	n.stderr.wait(t, `"msg":"the SPIFFE Workload API is away`)

	if got := n.metric(t, "trustpool_agent_spiffe_workload_api_up"); got != "0" {
		t.Errorf("while it is away, up is %s", got)
	}

	if err := capabilities(t.Context(), n.from(t, caller)); err != nil {
		t.Errorf("while it is away: %v", err)
	}

	if _, code := n.get(t, "/readyz"); code != 200 {
		t.Errorf("while it is away, /readyz says %d", code)
	}

	n.api.Start(t)
	n.stderr.waitCount(t, 5, `"msg":"X.509-SVID taken over"`)

	if err := capabilities(t.Context(), conn); err != nil || watch.Context().Err() != nil {
		t.Errorf("who came before the rotations: %v", err)
	}

	if got := n.metric(t, "trustpool_agent_spiffe_workload_api_up"); got != "1" {
		t.Errorf("when it is back, up is %s", got)
	}

	if code := n.end(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d\n%s", code, n.stderr.String())
	}
}

// TestACallerOfATrustDomainThatIsGoneLosesItsConnection has one of a federation that ends, beside one that stays.
func TestACallerOfATrustDomainThatIsGoneLosesItsConnection(t *testing.T) {
	t.Parallel()

	friends, strangers := spiffetest.NewDomain(t, "friends.example"), spiffetest.NewDomain(t, "strangers.example")
	friend := friends.ID("/server")
	n := serveSPIFFE(t, "example.org, friends.example", spiffeCaller, friend)

	n.api.Start(t)
	n.give(t, friends, strangers)

	stays, goes := n.from(t, n.own.Issue(t, spiffeCaller)), n.from(t, friends.Issue(t, friend))
	kept, lost := watched(t, stays), watched(t, goes)

	for name, svid := range map[string]spiffetest.SVID{
		"of a trust domain that does not count": strangers.Issue(t, strangers.ID("/server")),
		"that another trust domain has forged":  strangers.Issue(t, spiffeCaller),
		"that a friend has forged":              friends.Issue(t, spiffeCaller),
		"that no rule names":                    n.own.Issue(t, "spiffe://example.org/other"),
		"of the node itself":                    n.own.Issue(t, spiffeNodeID),
	} {
		if err := capabilities(t.Context(), n.from(t, svid)); status.Code(err) != codes.Unavailable {
			t.Errorf("a caller with an X.509-SVID %s got %v", name, err)
		}
	}

	n.give(t)

	var err error
	for err == nil {
		_, err = lost.Recv()
	}

	if status.Code(err) != codes.Unavailable {
		t.Errorf("the stream of a trust domain that is gone ended with %v", err)
	}

	if err := capabilities(t.Context(), goes); status.Code(err) != codes.Unavailable {
		t.Errorf("a caller of a trust domain that is gone got %v", err)
	}

	if err := capabilities(t.Context(), stays); err != nil || kept.Context().Err() != nil {
		t.Errorf("who stays got %v", err)
	}

	// A rule that is gone, too.
	n.permit(t, "example.org, friends.example", friend)
	n.hangUp(t)

	for err = nil; err == nil; {
		_, err = kept.Recv()
	}

	if status.Code(err) != codes.Unavailable {
		t.Errorf("the stream of a caller without a rule ended with %v", err)
	}
}
