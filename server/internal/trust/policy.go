package trust

import (
	"fmt"
	"slices"
	"time"

	"github.com/trustpool/trustpool/verifier"
)

// Policy is everything that decides on the nodes of one pool, as it was at one moment.
type Policy struct {
	Pool Pool
	// Sets are those that may count; Set.Counts decides.
	Sets []Set
	// RefusedAKs are trusted no more, whoever enrolled them.
	RefusedAKs []verifier.Hex
	// Validity is how long a verdict holds after the nonce was made. Zero: not at all.
	Validity time.Duration
	// Revision is that of the whole database of pools, sets and refused AKs.
	Revision int64
}

// requirement is one part that is demanded, and the sets that would meet it.
type requirement struct {
	part Part
	// candidates: one of them has to hold, with all of its sets.
	candidates [][]*Set
}

// sets returns what is demanded of a node, or why nobody can meet it.
func (p *Policy) sets(node *Node, at time.Time) ([]requirement, error) {
	if len(p.Pool.Requires) == 0 {
		return nil, fmt.Errorf("the pool %s demands no part, and so trusts nobody", p.Pool.Name)
	}
	var all []requirement
	for _, r := range p.Pool.Requires {
		var counting []*Set
		for i := range p.Sets {
			if s := &p.Sets[i]; s.Part == r.Part && s.Counts(p.Pool.Name, node, at) {
				counting = append(counting, s)
			}
		}
		if len(counting) == 0 {
			return nil, fmt.Errorf("no set of the part %s is in force in the pool %s", r.Part, p.Pool.Name)
		}

		demanded := requirement{part: r.Part}
		switch r.Match {
		case AllOf:
			demanded.candidates = [][]*Set{counting}
		case AnyOf:
			for _, s := range counting {
				demanded.candidates = append(demanded.candidates, []*Set{s})
			}
		default:
			return nil, fmt.Errorf("the pool %s does not say how many sets of the part %s have to hold", p.Pool.Name, r.Part)
		}
		all = append(all, demanded)
	}
	return all, nil
}

// Selection returns the PCRs that a node of the pool has to quote so that any of the sets can be judged: none if nobody can be trusted.
func (p *Policy) Selection(node *Node, at time.Time) []verifier.Selection {
	required, err := p.sets(node, at)
	if err != nil {
		return nil
	}
	var all []verifier.Selection
	for _, r := range required {
		for _, candidate := range r.candidates {
			for _, s := range candidate {
				all = union(all, s.KnownGood.Selection())
			}
		}
	}
	return all
}

// union adds PCRs, each once, in rising order.
func union(all, more []verifier.Selection) []verifier.Selection {
	for _, s := range more {
		i := slices.IndexFunc(all, func(have verifier.Selection) bool { return have.Alg == s.Alg })
		if i < 0 {
			all = append(all, verifier.Selection{Alg: s.Alg})
			i = len(all) - 1
		}
		pcrs := append(slices.Clone(all[i].PCRs), s.PCRs...)
		slices.Sort(pcrs)
		all[i].PCRs = slices.Compact(pcrs)
	}
	return all
}

// merge puts sets together that have to hold all at once.
func merge(sets []*Set) (verifier.KnownGood, error) {
	var all verifier.KnownGood
	owners := make(map[string]string)
	for _, s := range sets {
		for _, entry := range s.KnownGood.PCRs {
			at := fmt.Sprintf("%s PCR %d", entry.Bank, entry.PCR)
			if other, taken := owners[at]; taken {
				return verifier.KnownGood{}, fmt.Errorf("the sets %s and %s both speak of %s, which has to belong to one", other, s.Name, at)
			}
			owners[at] = s.Name
			all.PCRs = append(all.PCRs, entry)
		}
	}
	return all, nil
}
