package access

import (
	"crypto/x509"
	"fmt"
	"slices"

	"github.com/trustpool/trustpool/internal/certname"
)

// Rule gives a role to the callers whose client certificate has one of the names.
type Rule struct {
	// SAN lists names as they stand in the certificate: dns:NAME or uri:URI. In the path of a URI, a * stands for one whole segment, as in
	// uri:spiffe://example.org/ns/*/sa/scheduler; nothing else is a pattern. subject:NAME means the whole subject as RFC 2253 writes it, as in
	// subject:CN=scheduler,O=Example.
	SAN []string `yaml:"san"`
	// Role is reader, operator or admin.
	Role Role `yaml:"role"`
}

// rules are what Rules mean.
type rules []rule

type rule struct {
	names []certname.Name
	role  Role
}

// CheckRules tells all that is wrong with rules, each problem under its key: clients[0].san.
func CheckRules(list []Rule) map[string]string {
	_, problems := newRules(list)
	return problems
}

func newRules(list []Rule) (rules, map[string]string) {
	var all rules
	problems := make(map[string]string)
	for i, r := range list {
		key := fmt.Sprintf("clients[%d]", i)
		if len(r.SAN) == 0 {
			problems[key+".san"] = "empty; write names as dns:NAME or uri:URI"
		}
		if _, err := ParseRole(r.Role.String()); err != nil {
			problems[key+".role"] = "missing; write reader, operator or admin"
		}
		one := rule{role: r.Role}
		for _, san := range r.SAN {
			name, problem := certname.Parse(san)
			if problem != "" {
				problems[key+".san"] = fmt.Sprintf("%.64q %s", san, problem)
			}
			one.names = append(one.names, name)
		}
		all = append(all, one)
	}
	return all, problems
}

// caller returns who a certificate is, with the highest role that a rule gives to one of its names.
func (all rules) caller(certificate *x509.Certificate) Caller {
	var c Caller
	for _, name := range certname.Of(certificate) {
		for _, r := range all {
			if r.role > c.Role && slices.ContainsFunc(r.names, func(pattern certname.Name) bool { return pattern.Matches(name) }) {
				c = Caller{Name: name.String(), Role: r.role}
			}
		}
	}
	return c
}
