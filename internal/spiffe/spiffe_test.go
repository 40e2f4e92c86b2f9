package spiffe_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trustpool/trustpool/internal/spiffe"
)

func TestAConfigNamesASocketAndTrustDomains(t *testing.T) {
	t.Parallel()

	good := spiffe.Config{Socket: "unix:///run/spire/agent/public/api.sock", ID: "spiffe://example.org/agent", TrustDomains: []string{"example.org", "friends.example"}}

	for name, c := range map[string]struct {
		change func(*spiffe.Config)
		want   []string
	}{
		"good":                       {func(*spiffe.Config) {}, nil},
		"nothing":                    {func(c *spiffe.Config) { *c = spiffe.Config{} }, []string{"socket", "trust_domains"}},
		"a path":                     {func(c *spiffe.Config) { c.Socket = "/run/api.sock" }, []string{"socket"}},
		"TCP":                        {func(c *spiffe.Config) { c.Socket = "tcp://127.0.0.1:8081" }, []string{"socket"}},
		"a relative path":            {func(c *spiffe.Config) { c.Socket = "unix://run/api.sock" }, []string{"socket"}},
		"a path that is not clean":   {func(c *spiffe.Config) { c.Socket = "unix:///run/../api.sock" }, []string{"socket"}},
		"a socket with a query":      {func(c *spiffe.Config) { c.Socket = "unix:///run/api.sock?x" }, []string{"socket"}},
		"an ID of a trust domain":    {func(c *spiffe.Config) { c.ID = "spiffe://example.org" }, []string{"id"}},
		"a URL as ID":                {func(c *spiffe.Config) { c.ID = "https://example.org/agent" }, []string{"id"}},
		"a trust domain as an ID":    {func(c *spiffe.Config) { c.TrustDomains = []string{"spiffe://example.org"} }, []string{"trust_domains[0]"}},
		"a trust domain in capitals": {func(c *spiffe.Config) { c.TrustDomains[1] = "EXAMPLE.org" }, []string{"trust_domains[1]"}},
		"a pattern of trust domains": {func(c *spiffe.Config) { c.TrustDomains[1] = "*" }, []string{"trust_domains[1]"}},
		"an empty trust domain":      {func(c *spiffe.Config) { c.TrustDomains[1] = "" }, []string{"trust_domains[1]"}},
	} {
		config := good
		config.TrustDomains = slices.Clone(good.TrustDomains)
		c.change(&config)

		problems := make(map[string]string)
		config.Check(func(key, text string) { problems[key] = text })

		if diff := cmp.Diff(c.want, slices.Sorted(maps.Keys(problems))); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}

func TestWithSPIFFEOnlyIDsOfTrustDomainsThatCountAreNames(t *testing.T) {
	t.Parallel()

	c := spiffe.Config{TrustDomains: []string{"example.org"}}

	for san, good := range map[string]bool{
		"uri:spiffe://example.org/server": true, "uri:spiffe://example.org/ns/*/sa/quoter": true,
		"uri:spiffe://strangers.example/server": false, "uri:spiffe://EXAMPLE.org/server": false, "uri:spiffe://example.org:443/server": false,
		"uri:https://example.org/server": false, "uri:urn:uuid:1": false, "dns:server.example.org": false, "subject:CN=server": false, "": false,
	} {
		if problem := c.CheckRule(san); (problem == "") != good {
			t.Errorf("%s: %q", san, problem)
		}
	}
}

func TestThePatternOfNodesHasTheNameOnce(t *testing.T) {
	t.Parallel()

	c := spiffe.Config{TrustDomains: []string{"example.org", "name"}}

	for pattern, good := range map[string]bool{
		"spiffe://example.org/node/{name}/agent": true, "spiffe://example.org/node-{name}": true,
		"spiffe://example.org/agent": false, "spiffe://example.org/{name}/{name}": false, "spiffe://strangers.example/{name}": false, "spiffe://{name}/agent": false,
		"example.org/{name}": false, "spiffe://example.org/node//{name}": false, "spiffe://example.org/{name}/": false, "spiffe://example.org/{node}/{name}": false, "": false,
	} {
		if problem := c.CheckNodeID(pattern); (problem == "") != good {
			t.Errorf("%s: %q", pattern, problem)
		}
	}
}

func TestANodeHasTheIDOfItsName(t *testing.T) {
	t.Parallel()

	const pattern = "spiffe://example.org/node/{name}/agent"

	config := spiffe.Config{TrustDomains: []string{"example.org", "friends.example"}}

	for _, c := range []struct {
		name, said, want string
		byName           bool
	}{
		{"node1.example", "", "spiffe://example.org/node/node1.example/agent", true},
		{"node1", "node1", "spiffe://example.org/node/node1/agent", true},
		{"node1", "other", "spiffe://example.org/node/other/agent", false},
		{"node1", "spiffe://friends.example/x/y", "spiffe://friends.example/x/y", false},
		// That somebody wrote it out vouches for nothing: the pattern may change.
		{"node1", "spiffe://example.org/node/node1/agent", "spiffe://example.org/node/node1/agent", false},
		{"node1", "spiffe://strangers.example/x", "", false},
		{"node1", "spiffe://example.org", "", false},
		{"node1", "../x", "", false},
		{"node1", "a/b", "", false},
		{"::1", "", "", false},
		{"..", "", "", false},
	} {
		id, byName, err := config.NodeID(pattern, c.name, c.said)
		if id != c.want || byName != c.byName || (err == nil) != (c.want != "") {
			t.Errorf("%+v: got %q, %v, %v", c, id, byName, err)
		}
	}
}
