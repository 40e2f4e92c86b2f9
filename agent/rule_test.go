package agent

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"net/url"
	"strings"
	"testing"

	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
)

func TestPatternsMatchWholeSegments(t *testing.T) {
	t.Parallel()

	const pattern = "uri:spiffe://example.org/ns/*/sa/quoter"

	for uri, want := range map[string]bool{
		"spiffe://example.org/ns/prod/sa/quoter":         true,
		"spiffe://EXAMPLE.org/ns/prod/sa/quoter":         true,
		"spiffe://example.org/ns/a%2Fb/sa/quoter":        true, // one segment, with a slash in its name
		"spiffe://example.org/ns//sa/quoter":             false,
		"spiffe://example.org/ns/a/b/sa/quoter":          false,
		"spiffe://example.org/ns/../sa/quoter":           false,
		"spiffe://example.org/ns/./sa/quoter":            false,
		"spiffe://example.org/ns/prod/sa/quoter/":        false,
		"spiffe://example.org/ns/prod/sa/quoter2":        false,
		"spiffe://example.org/ns/prod/sa/Quoter":         false,
		"spiffe://example.org/ns/prod/sa":                false,
		"spiffe://example.org.evil/ns/prod/sa/quoter":    false,
		"spiffe://evil@example.org/ns/prod/sa/quoter":    false,
		"spiffe://example.org:1/ns/prod/sa/quoter":       false,
		"spiffe://example.org/ns/prod/sa/quoter?x":       false,
		"spiffe://example.org/ns/prod/sa/quoter#x":       false,
		"https://example.org/ns/prod/sa/quoter":          false,
		"spiffe://example.org/ns/prod%2Fsa%2Fquoter":     false,
		"spiffe://example.org/x/ns/prod/sa/quoter":       false,
		"urn:spiffe://example.org/ns/prod/sa/quoter":     false,
		"spiffe://example.org/ns/prod/sa/quoter/../root": false,
	} {
		parsed, err := url.Parse(uri)
		if err != nil {
			t.Fatal(err)
		}

		if got := matchesRule(t, pattern, &x509.Certificate{URIs: []*url.URL{parsed}}); got != want {
			t.Errorf("%s: %v", uri, got)
		}
	}
}

func matchesRule(t *testing.T, san string, certificate *x509.Certificate) bool {
	t.Helper()

	if _, problem := parseName(san); problem != "" {
		t.Fatal(problem)
	}

	r := newRules(Config{Clients: []ClientRule{{SAN: []string{san}, Roles: []Role{RoleQuote}}}})

	return r.remote(certificate).Has(RoleQuote)
}

func TestNamesMatchOnlyTheirKind(t *testing.T) {
	t.Parallel()

	certificate := &x509.Certificate{
		Subject:  pkix.Name{CommonName: "quoter.example", Organization: []string{"Example"}},
		DNSNames: []string{"Node.example", "*.wild.example"},
		URIs:     []*url.URL{{Scheme: "urn", Opaque: "uuid:1"}},
	}

	for san, want := range map[string]bool{
		"dns:node.example":                    true,
		"dns:NODE.example":                    true,
		"dns:a.wild.example":                  false,
		"dns:*.example":                       false,
		"dns:quoter.example":                  false, // the subject counts only where a rule asks for it
		"subject:CN=quoter.example,O=Example": true,
		"subject:CN=quoter.example":           false,
		"uri:urn:uuid:1":                      true,
		"uri:urn:uuid:2":                      false,
	} {
		if got := matchesRule(t, san, certificate); got != want {
			t.Errorf("%s: %v", san, got)
		}
	}
}

func TestNamesThatMeanNothingAreRefused(t *testing.T) {
	t.Parallel()

	for _, san := range []string{
		"node.example", "dns:", "email:x@example.org", "uri:", "uri:/ns/a", "uri:spiffe://*/ns/a", "uri:spiffe://example.org/ns/a*", "uri:spiffe://example.org/**",
	} {
		if _, problem := parseName(san); problem == "" {
			t.Errorf("%q was taken", san)
		}
	}
}

func TestPCRSetsAreReadStrictly(t *testing.T) {
	t.Parallel()

	for _, text := range []string{"17", "sha256", "sha256:", "sha256:24", "sha256:-1", "sha256:17,", "md5:1", "sha256:1+sha256:2", "sha256:17+", "sha256:1-3"} {
		if _, err := parsePCRSet(text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}

	var none pcrSet
	if none.cover([]*agentv1.PcrSelection{{HashAlgo: agentv1.HashAlgo_HASH_ALGO_SHA256, PcrIndices: []int32{0}}}) {
		t.Error("the zero set has a PCR")
	}
}

func TestSeveralRulesGiveTheMostGenerousLimits(t *testing.T) {
	t.Parallel()

	r := newRules(Config{Clients: []ClientRule{
		{SAN: []string{"dns:a"}, Roles: []Role{RoleQuote}, Limits: Limits{Rate: 1, Burst: 50, Concurrent: 1}},
		{SAN: []string{"dns:a"}, Roles: []Role{RoleObserve}, Limits: Limits{Rate: 3, Burst: 2, Concurrent: 9}},
		{SAN: []string{"dns:b"}, Roles: []Role{RoleAdmin}, Limits: Limits{Rate: 1000}},
	}})

	caller := r.remote(&x509.Certificate{DNSNames: []string{"a"}})
	if got, want := caller.limits(), (limits{rate: 3, burst: 50, concurrent: 9}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}

	if !caller.Has(RoleQuote) || !caller.Has(RoleObserve) || caller.Has(RoleAdmin) || caller.Identity != "dns:a" {
		t.Errorf("got %+v", caller)
	}
}

func TestTheZeroLimitsLetNothingThrough(t *testing.T) {
	t.Parallel()

	var l limiters
	if _, err := l.enter("x", limits{}); err == nil {
		t.Error("a call got through")
	}
}

func TestIdentitiesWithNothingUnderWayAreForgotten(t *testing.T) {
	t.Parallel()

	var l limiters

	bounds := limits{rate: 1e6, burst: 1, concurrent: 1}

	if _, err := l.enter("kept", bounds); err != nil {
		t.Fatal(err)
	}

	for i := range 3 * maxIdentities {
		leave, err := l.enter("caller"+strings.Repeat("x", i%100)+string(rune('a'+i/100)), bounds)
		if err != nil {
			continue // the same one, too soon
		}

		leave()
	}

	if _, err := l.enter("kept", bounds); err == nil {
		t.Error("a call under way was forgotten")
	}

	if len(l.all) > maxIdentities+1 {
		t.Errorf("%d identities are remembered", len(l.all))
	}
}
