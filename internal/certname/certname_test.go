package certname_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
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

	subject, err := asn1.Marshal(pkix.Name{CommonName: "quoter.example", Organization: []string{"Example"}}.ToRDNSequence())
	if err != nil {
		t.Fatal(err)
	}

	certificate := &x509.Certificate{
		RawSubject: subject,
		DNSNames:   []string{"Node.example", "*.wild.example"},
		URIs:       []*url.URL{{Scheme: "urn", Opaque: "uuid:1"}},
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

// TestASubjectIsTheWholeOfIt has subjects as a CA may sign them: an attribute twice, or of a kind that has no field in pkix.Name, and in another order than usual.
func TestASubjectIsTheWholeOfIt(t *testing.T) {
	t.Parallel()

	attribute := func(last int, value string) []pkix.AttributeTypeAndValue {
		return []pkix.AttributeTypeAndValue{{Type: asn1.ObjectIdentifier{2, 5, 4, last}, Value: value}}
	}
	const organization, commonName, title = 10, 3, 12

	for _, test := range []struct {
		subject pkix.RDNSequence
		want    string
	}{
		{pkix.RDNSequence{attribute(organization, "Example"), attribute(commonName, "operator")}, "subject:CN=operator,O=Example"},
		{pkix.RDNSequence{attribute(commonName, "operator"), attribute(organization, "Example")}, "subject:O=Example,CN=operator"},
		{pkix.RDNSequence{attribute(commonName, "guest"), attribute(organization, "Example"), attribute(commonName, "operator")}, "subject:CN=operator,O=Example,CN=guest"},
		{pkix.RDNSequence{attribute(title, "Guest"), attribute(commonName, "operator")}, "subject:CN=operator,2.5.4.12=#13054775657374"},
	} {
		raw, err := asn1.Marshal(test.subject)
		if err != nil {
			t.Fatal(err)
		}

		if got := certname.Of(&x509.Certificate{RawSubject: raw}); len(got) != 1 || got[0].String() != test.want {
			t.Errorf("got %v, want %s", got, test.want)
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

	for _, name := range certname.Of(&x509.Certificate{DNSNames: []string{""}, RawSubject: []byte{0x30, 0}}) {
		if (certname.Name{}).Matches(name) || (certname.Name{}).Matches(certname.Name{}) {
			t.Errorf("the zero value matches %q", name)
		}
	}
}
