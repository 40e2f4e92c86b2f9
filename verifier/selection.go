package verifier

import (
	"fmt"
	"slices"
)

// moreThanAsked wants all of asked to be signed, in any order of banks, and tells what else is.
func moreThanAsked(signed, asked []Selection) error {
	seen := make(map[pcr]bool)
	var more []Selection
	for i, s := range signed {
		if slices.ContainsFunc(signed[:i], func(other Selection) bool { return other.Alg == s.Alg }) {
			return fmt.Errorf("the signed selection names bank %s twice", s.Alg)
		}
		rest := Selection{Alg: s.Alg}
		for _, index := range s.PCRs {
			p := pcr{s.Alg, index}
			seen[p] = true
			if !selects(asked, p) {
				rest.PCRs = append(rest.PCRs, index)
			}
		}
		if len(rest.PCRs) > 0 {
			more = append(more, rest)
		}
	}

	for _, s := range asked {
		for _, index := range s.PCRs {
			if p := (pcr{s.Alg, index}); !seen[p] {
				return fmt.Errorf("the policy asks for %s, the signed selection is %s", p, signed)
			}
		}
	}
	if len(more) > 0 {
		return remark{Passed, fmt.Sprintf("signed beyond what is judged, and not judged: %s", more)}
	}
	return nil
}

// selects tells whether a selection names the PCR.
func selects(selection []Selection, p pcr) bool {
	return slices.ContainsFunc(selection, func(s Selection) bool { return s.Alg == p.bank && slices.Contains(s.PCRs, p.index) })
}
