package main

import (
	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/verifier"
)

// checkText writes each check with its outcome and words.
func checkText(p *console.Page, checks []verifier.Check) {
	p.Line("%s", p.Head("Checks"))
	for _, check := range checks {
		words := check.Detail
		if words == "" {
			words = check.Name.Meaning()
		}
		p.Line("  %s  %-20s %s", outcomeWord(p, check.Outcome), check.Name, console.Printable(words))
	}
}

// outcomeWord is nine columns wide.
func outcomeWord(p *console.Page, outcome verifier.Outcome) string {
	switch outcome {
	case verifier.Passed:
		return p.Good("ok       ")
	case verifier.NotAsked:
		return p.Warn("not asked")
	case verifier.LeftToIssuer:
		return p.Warn("by issuer")
	case verifier.NotRun:
		return p.Warn("not run  ")
	default:
		return p.Bad("failed   ")
	}
}
