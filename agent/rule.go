package agent

import (
	"crypto/x509"
	"net/url"
	"slices"
	"strings"

	"github.com/google/go-tpm/tpm2"

	"github.com/trustpool/trustpool/agent/internal/tpm"
	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
)

// rules say who may call what. They are never changed, only replaced.
type rules struct {
	clients []clientRule
	users   []UnixRule
	grants  []grant // of users
}

type clientRule struct {
	names []name
	grant
}

// grant is what a rule gives.
type grant struct {
	roles  []Role
	pcrs   pcrSet
	limits limits
}

// newRules takes the rules of a valid config.
func newRules(config Config) *rules {
	r := &rules{users: config.Listen.unixRules()}

	for _, rule := range config.Clients {
		compiled := clientRule{grant: newGrant(rule.Roles, rule.Limits)}

		for _, san := range rule.SAN {
			if n, problem := parseName(san); problem == "" {
				compiled.names = append(compiled.names, n)
			}
		}

		r.clients = append(r.clients, compiled)
	}

	for _, rule := range r.users {
		r.grants = append(r.grants, newGrant(rule.Roles, rule.Limits))
	}

	return r
}

func newGrant(roles []Role, l Limits) grant {
	pcrs, err := parsePCRSet(l.PCRs)
	if err != nil { // a valid config has none of these
		return grant{}
	}

	return grant{roles: roles, pcrs: pcrs, limits: l.limits()}
}

// remote returns the caller with this certificate, and what all rules that match one of its names grant.
func (r *rules) remote(certificate *x509.Certificate) Caller {
	names := namesOf(certificate)
	caller := Caller{}

	if len(names) > 0 {
		caller.Identity = names[0].text
	}

	for _, rule := range r.clients {
		for _, n := range names {
			if !slices.ContainsFunc(rule.names, func(pattern name) bool { return pattern.matches(n) }) {
				continue
			}

			if len(caller.grants) == 0 {
				caller.Identity = n.text
			}

			caller.grants = append(caller.grants, rule.grant)

			break
		}
	}

	return caller
}

// local returns the caller at the other end of a unix socket.
func (r *rules) local(peer peerCredentials) (Caller, error) {
	caller := Caller{Identity: peer.identity(), Address: "unix"}

	for i, rule := range r.users {
		if rule.matches(peer) {
			caller.grants = append(caller.grants, r.grants[i])
		}
	}

	if len(caller.grants) == 0 {
		return caller, errNoRule
	}

	return caller, nil
}

// name is a name in a certificate, or the pattern for one in a rule.
type name struct {
	text string   // as it is written in rules
	uri  *url.URL // of uri:URI
}

// namesOf returns the names of a certificate: those that a client is known by, and last its subject, for rules that ask for it.
func namesOf(certificate *x509.Certificate) []name {
	var names []name
	for _, dns := range certificate.DNSNames {
		names = append(names, name{text: "dns:" + strings.ToLower(dns)})
	}

	for _, uri := range certificate.URIs {
		names = append(names, name{text: "uri:" + uri.String(), uri: uri})
	}

	return append(names, name{text: "subject:" + certificate.Subject.String()})
}

// parseName reads a name of a rule. It says what is wrong with it, and what to write.
func parseName(text string) (n name, problem string) {
	kind, value, ok := strings.Cut(text, ":")

	switch {
	case !ok || value == "":
	case kind == "dns":
		return name{text: "dns:" + strings.ToLower(value)}, ""
	case kind == "subject":
		return name{text: text}, ""
	case kind == "uri":
		return parseURIName(text, value)
	}

	return name{}, "is not a name; write dns:NAME, uri:URI or subject:NAME"
}

func parseURIName(text, value string) (n name, problem string) {
	uri, err := url.Parse(value)
	if err == nil && uri.Opaque != "" { // urn:uuid:... has no path
		return name{text: text}, ""
	}

	if err != nil || uri.Scheme == "" || uri.Host == "" {
		return name{}, "is not an absolute URI; write e.g. uri:spiffe://example.org/ns/*/sa/quoter"
	}

	if isStar := func(segment string) bool { return strings.Contains(segment, "*") && segment != "*" }; strings.Contains(uri.Host, "*") ||
		slices.ContainsFunc(strings.Split(uri.Path, "/"), isStar) {
		return name{}, "has a * where none can be; it stands for one whole segment of the path"
	}

	return name{text: text, uri: uri}, ""
}

// matches says whether a certificate's name is the one that a rule means. Only in URIs, a * stands for exactly one segment of the path.
func (n name) matches(presented name) bool {
	if n.uri == nil || presented.uri == nil {
		return n.text == presented.text
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

// pcrSet is a set of PCRs in any number of banks. The zero value has none.
type pcrSet struct {
	any   bool
	banks map[tpm2.TPMAlgID]tpm.Selection
}

// with returns the PCRs of both sets.
func (s pcrSet) with(other pcrSet) pcrSet {
	sum := pcrSet{any: s.any || other.any, banks: make(map[tpm2.TPMAlgID]tpm.Selection)}

	for _, set := range []pcrSet{s, other} {
		for bank, selection := range set.banks {
			joined := sum.banks[bank]
			joined.Bank = bank

			for i := range joined.Mask {
				joined.Mask[i] |= selection.Mask[i]
			}

			sum.banks[bank] = joined
		}
	}

	return sum
}

// cover says whether the set has all of these PCRs. Those that no TPM has are not its business.
func (s pcrSet) cover(selections []*agentv1.PcrSelection) bool {
	if s.any {
		return true
	}

	for _, selection := range selections {
		bank := s.banks[tpm2.TPMAlgID(selection.GetHashAlgo())] // #nosec G115 -- an unknown one is in no set
		for _, pcr := range selection.GetPcrIndices() {
			if pcr < 0 || pcr >= tpm.PCRs || !bank.Has(int(pcr)) {
				return false
			}
		}
	}

	return true
}
