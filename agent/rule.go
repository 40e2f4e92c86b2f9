package agent

import (
	"crypto/x509"
	"slices"

	"github.com/google/go-tpm/tpm2"

	"github.com/trustpool/trustpool/agent/internal/tpm"
	"github.com/trustpool/trustpool/internal/certname"
	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
)

// rules say who may call what. They are never changed, only replaced.
type rules struct {
	clients []clientRule
	users   []UnixRule
	grants  []grant // of users
}

type clientRule struct {
	names []certname.Name
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
			if n, problem := certname.Parse(san); problem == "" {
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
	names := certname.Of(certificate)
	caller := Caller{}

	if len(names) > 0 {
		caller.Identity = names[0].String()
	}

	for _, rule := range r.clients {
		for _, n := range names {
			if !slices.ContainsFunc(rule.names, func(pattern certname.Name) bool { return pattern.Matches(n) }) {
				continue
			}

			if len(caller.grants) == 0 {
				caller.Identity = n.String()
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
