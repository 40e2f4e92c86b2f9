package trust

import (
	"slices"

	"github.com/trustpool/trustpool/verifier"
)

// search goes through the sets that may hold, part by part: the PCRs of the parts do not overlap, so that a difference tells which part needs another set.
// What it finds decides nothing: each choice is verified as a whole.
type search struct {
	parts []requirement
	at    []int // which candidate of each part is tried now
}

func newSearch(required []requirement, ev *verifier.Evidence, previous []string) *search {
	s := &search{parts: required, at: make([]int, len(required))}
	for i := range s.parts {
		s.parts[i].candidates = order(s.parts[i].candidates, ev, previous)
	}
	return s
}

// order puts what held the last time first, and what speaks of PCRs that were not quoted last.
func order(candidates [][]*Set, ev *verifier.Evidence, previous []string) [][]*Set {
	rank := func(sets []*Set) int {
		switch {
		case slices.ContainsFunc(sets, func(s *Set) bool { return !quotes(ev, s.KnownGood.PCRs) }):
			return 2
		case slices.ContainsFunc(sets, func(s *Set) bool { return !slices.Contains(previous, s.Name) }):
			return 1
		default:
			return 0
		}
	}
	ordered := slices.Clone(candidates)
	slices.SortStableFunc(ordered, func(a, b []*Set) int { return rank(a) - rank(b) })
	return ordered
}

// quotes tells whether the evidence has a value for each entry.
func quotes(ev *verifier.Evidence, entries []verifier.KnownPCR) bool {
	return !slices.ContainsFunc(entries, func(e verifier.KnownPCR) bool {
		return !slices.ContainsFunc(ev.PCRs, func(bank verifier.PCRBank) bool {
			return bank.Alg == e.Bank && slices.ContainsFunc(bank.Values, func(v verifier.PCRValue) bool { return v.Index == e.PCR })
		})
	})
}

// choice returns what is tried now.
func (s *search) choice() ([]*Set, verifier.KnownGood, error) {
	var chosen []*Set
	for i, part := range s.parts {
		chosen = append(chosen, part.candidates[s.at[i]]...)
	}
	known, err := merge(chosen)
	return chosen, known, err
}

// next moves on each part whose measurements differ. False: there is nothing more to try, or nothing that another set could mend.
func (s *search) next(result *verifier.Result) bool {
	moved := false
	for i, part := range s.parts {
		if !differs(part.candidates[s.at[i]], result.Differences) {
			continue
		}
		if s.at[i]+1 >= len(part.candidates) {
			return false
		}
		s.at[i]++
		moved = true
	}
	return moved
}

func differs(sets []*Set, differences []verifier.Difference) bool {
	return slices.ContainsFunc(sets, func(s *Set) bool {
		return slices.ContainsFunc(s.KnownGood.PCRs, func(e verifier.KnownPCR) bool {
			return slices.ContainsFunc(differences, func(d verifier.Difference) bool { return d.Bank == e.Bank.String() && d.PCR == e.PCR })
		})
	})
}
