package certname_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"net/url"
	"slices"
	"testing"

	"github.com/trustpool/trustpool/internal/certname"
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

	pattern, problem := certname.Parse(san)
	if problem != "" {
		t.Fatal(problem)
	}
	return slices.ContainsFunc(certname.Of(certificate), pattern.Matches)
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
		if _, problem := certname.Parse(san); problem == "" {
			t.Errorf("%q was taken", san)
		}
	}
}

func TestTheZeroNameMatchesNothing(t *testing.T) {
	t.Parallel()

	for _, name := range certname.Of(&x509.Certificate{}) {
		if (certname.Name{}).Matches(name) || (certname.Name{}).Matches(certname.Name{}) {
			t.Errorf("the zero value matches %q", name)
		}
	}
}
