// Package certname is the language in which configurations name the clients of mutual TLS: dns:NAME, uri:URI and subject:NAME. The agent and the server share it, so that one rule means the
// same to both.
package certname

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"net/url"
	"slices"
	"strings"
)

// Name is a name in a certificate, or the pattern for one in a rule. The zero value matches no name of a certificate.
type Name struct {
	text string   // as it is written in rules
	uri  *url.URL // of uri:URI
}

// String gives the name as it is written in rules.
func (n Name) String() string { return n.text }

// Of returns the names of a certificate: those that a client is known by, and last its subject, for rules that ask for it.
func Of(certificate *x509.Certificate) []Name {
	var names []Name
	for _, dns := range certificate.DNSNames {
		names = append(names, Name{text: "dns:" + strings.ToLower(dns)})
	}
	for _, uri := range certificate.URIs {
		names = append(names, Name{text: "uri:" + uri.String(), uri: uri})
	}
	if subject, ok := subjectOf(certificate); ok {
		names = append(names, Name{text: "subject:" + subject})
	}
	return names
}

// subjectOf returns the whole subject as RFC 2253 writes it. certificate.Subject keeps but one of several common names, in an order of its own.
func subjectOf(certificate *x509.Certificate) (subject string, ok bool) {
	var sequence pkix.RDNSequence
	rest, err := asn1.Unmarshal(certificate.RawSubject, &sequence)
	return sequence.String(), err == nil && len(rest) == 0
}

// Parse reads a name of a rule. It says what is wrong with it, and what to write; "" if nothing is.
func Parse(text string) (n Name, problem string) {
	kind, value, ok := strings.Cut(text, ":")
	switch {
	case !ok || value == "":
	case kind == "dns":
		return Name{text: "dns:" + strings.ToLower(value)}, ""
	case kind == "subject":
		return Name{text: text}, ""
	case kind == "uri":
		return parseURI(text, value)
	}
	return Name{}, "is not a name; write dns:NAME, uri:URI or subject:NAME"
}

func parseURI(text, value string) (n Name, problem string) {
	uri, err := url.Parse(value)
	if err == nil && uri.Opaque != "" { // urn:uuid:... has no path
		return Name{text: text}, ""
	}
	if err != nil || uri.Scheme == "" || uri.Host == "" {
		return Name{}, "is not an absolute URI; write e.g. uri:spiffe://example.org/ns/*/sa/quoter"
	}
	if isStar := func(segment string) bool { return strings.Contains(segment, "*") && segment != "*" }; strings.Contains(uri.Host, "*") ||
		slices.ContainsFunc(strings.Split(uri.Path, "/"), isStar) {
		return Name{}, "has a * where none can be; it stands for one whole segment of the path"
	}
	return Name{text: text, uri: uri}, ""
}

// Matches says whether a certificate's name is the one that a rule means. Only in URIs, a * stands for exactly one segment of the path.
func (n Name) Matches(presented Name) bool {
	if n.uri == nil || presented.uri == nil {
		return n.text != "" && n.text == presented.text
	}

	pattern, uri := n.uri, presented.uri
	if pattern.Scheme != uri.Scheme || !strings.EqualFold(pattern.Host, uri.Host) ||
		uri.User != nil || uri.RawQuery != pattern.RawQuery || uri.Fragment != pattern.Fragment || uri.ForceQuery {
		return false
	}

	// Escaped, so that a %2F in a certificate is no boundary between segments.
	want, got := strings.Split(pattern.EscapedPath(), "/"), strings.Split(uri.EscapedPath(), "/")
	return slices.EqualFunc(want, got, func(w, g string) bool {
		if w == "*" {
			return g != "" && g != "." && g != ".."
		}
		return w == g
	})
}
