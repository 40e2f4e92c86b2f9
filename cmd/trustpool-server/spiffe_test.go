package main

import (
	"context"
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/trustpool/trustpool/cmd/internal/spiffetest"
	"github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/tpmsim/pki"
)

// spiffeSite is the real server with a Workload API in place of TLS files, and nodes with X.509-SVIDs.
type spiffeSite struct {
	*site
	api *spiffetest.API
	own *spiffetest.Domain
}

const spiffeServer = "spiffe://example.org/trustpool-server"

// newSPIFFESite starts nodes, the last of which has the X.509-SVID of the first one. The API is away.
func newSPIFFESite(t *testing.T, nodes int) *spiffeSite {
	t.Helper()

	x := &spiffeSite{site: newSite(t, nodes, 2*time.Second, ""), api: spiffetest.New(t), own: spiffetest.NewDomain(t, "example.org")}
	for i, n := range x.nodes {
		n.stop()
		n.server, n.uri = "uri:"+spiffeServer, nodeID(x.nodes[i%(nodes-1)])
		n.tls = &tls.Config{
			MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: x.own.Pool(t),
			Certificates: []tls.Certificate{x.own.Issue(t, n.uri).Certificate},
		}
		n.boot(t)
	}

	config, err := os.ReadFile(x.config)
	if err != nil {
		t.Fatal(err)
	}
	source := "{socket: '" + x.api.Socket() + "', trust_domains: [example.org]"
	text := strings.NewReplacer(
		"{certificate: "+x.dir+"/server.pem, key: "+x.dir+"/server-key.pem}", "{spiffe: "+source+"}}\nclients: [{san: ['uri:spiffe://example.org/dashboard'], role: reader}]",
		"certificate: "+x.dir+"/client.pem\n", "spiffe: "+source+", node_ids: 'spiffe://example.org/node/{name}/trustpool-agent'}\n",
		"  key: "+x.dir+"/client-key.pem\n", "", "  ca: "+x.dir+"/ca.pem\n", "",
	).Replace(string(config))

	svid := x.serverSVID(t)
	for name, content := range map[string][]byte{x.config: []byte(text), filepath.Join(x.dir, "client.pem"): svid.CertPEM, filepath.Join(x.dir, "client-key.pem"): svid.KeyPEM} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	x.pool = x.own.Pool(t)
	x.dial(t)
	return x
}

func nodeID(n *node) string { return "spiffe://example.org/node/" + n.name + "/trustpool-agent" }

// serverSVID is one of the server, with the host name that callers of its API look for.
func (x *spiffeSite) serverSVID(t *testing.T) spiffetest.SVID {
	t.Helper()

	return x.own.Issue(t, spiffeServer, func(leaf *pki.Leaf) { leaf.DNSNames = []string{"server.example"} })
}

// says waits until a line with these words has been there so often.
func (x *spiffeSite) says(t *testing.T, words string, times int) {
	t.Helper()

	x.waitUntil(t, "it says "+words, func(context.Context) bool { return strings.Count(x.said.String(), words) >= times })
}

// give has the API send the server's X.509-SVID, and waits until both sides of the server have taken it over.
func (x *spiffeSite) give(t *testing.T) {
	t.Helper()

	const taken = `"msg":"X.509-SVID taken over"`
	before := strings.Count(x.said.String(), taken)
	x.api.Give(spiffetest.Answer(t, x.serverSVID(t)))
	x.says(t, taken, before+2)
}

// trustedSince waits until a node was asked after that time, and is trusted.
func (x *spiffeSite) trustedSince(t *testing.T, name string, since time.Time) {
	t.Helper()

	x.waitUntil(t, name+" is trusted", func(ctx context.Context) bool {
		host, err := x.client.Host(ctx, name)
		return err == nil && host.TrustedAt(time.Now()) && host.QuotedAt.After(since)
	})
}

// TestAServerWithSPIFFEAsksNodesByTheirIDs goes through its start without a Workload API, rotations, and the end of its X.509-SVID. The last node has a good X.509-SVID, but that of another node.
func TestAServerWithSPIFFEAsksNodesByTheirIDs(t *testing.T) {
	t.Parallel()

	x := newSPIFFESite(t, 3)
	admin := x.withAdmin(t)
	x.start(t)
	x.says(t, `"msg":"waiting for the SPIFFE Workload API"`, 2)
	if _, err := x.client.Caller(t.Context()); err == nil {
		t.Error("somebody is answered before there is an X.509-SVID")
	}

	x.api.Start(t)
	x.give(t)
	x.furnish(t)
	for _, n := range x.nodes[:2] {
		x.trustedSince(t, n.name, time.Time{})
	}
	node, err := x.client.Node(t.Context(), x.nodes[0].name)
	if err != nil || node.Binding != "chain" {
		t.Errorf("its binding is %q, %v: the SPIFFE ID has the node's name", node.Binding, err)
	}

	for range 2 {
		x.give(t)
		for _, n := range x.nodes[:2] {
			x.trustedSince(t, n.name, time.Now())
		}
	}
	x.readers(t)
	page := get(t, "http://"+admin+"/metrics")
	for _, prefix := range []string{"trustpool_server", "trustpool_server_node"} {
		for name, kind := range spiffetest.Metrics(t, prefix) {
			if !strings.Contains(page, "\n# TYPE "+name+" "+kind+"\n") {
				t.Errorf("no %s %s in\n%s", kind, name, page)
			}
		}
	}

	x.api.Deny()
	x.says(t, `"msg":"the SPIFFE Workload API took the X.509-SVID back`, 2)
	x.give(t)
	x.trustedSince(t, x.nodes[0].name, time.Now())

	impostor, err := x.client.Host(t.Context(), x.nodes[2].name)
	if err != nil || impostor.Trust != api.Unknown || !strings.Contains(impostor.Detail+x.said.String(), "not for "+nodeID(x.nodes[2])+" alone") {
		t.Errorf("a node with the X.509-SVID of another: %+v, %v", impostor, err)
	}
	if code := x.stop(t); code != 0 {
		t.Errorf("exit code %d\n%s", code, x.said)
	}
}

// readers come with X.509-SVIDs in place of tokens.
func (x *spiffeSite) readers(t *testing.T) {
	t.Helper()

	strangers := spiffetest.NewDomain(t, "example.org")
	for name, c := range map[string]struct {
		svid spiffetest.SVID
		role string
	}{
		"a rule's":      {x.own.Issue(t, x.own.ID("/dashboard")), "reader"},
		"of no rule":    {x.own.Issue(t, x.own.ID("/other")), ""},
		"a forged one":  {strangers.Issue(t, "spiffe://example.org/dashboard"), ""},
		"for no client": {x.own.Issue(t, x.own.ID("/dashboard"), func(leaf *pki.Leaf) { leaf.Client = false }), ""},
	} {
		client, err := api.NewClient(api.Config{URL: "https://" + x.address, RootCAs: x.pool, ServerName: "server.example", Certificates: []tls.Certificate{c.svid.Certificate}})
		if err != nil {
			t.Fatal(err)
		}
		who, err := client.Caller(t.Context())
		if who.Role != c.role || (err == nil) != (c.role != "") {
			t.Errorf("%s: %+v, %v", name, who, err)
		}
		client.Close()
	}
}
