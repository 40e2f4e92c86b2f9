package main

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/trustpool/trustpool/verifier"
)

// resultView is what verify prints.
type resultView struct {
	// Subject is the node's address, or the folder.
	Subject string `json:"subject"`
	// Unread says why there was nothing to check, if the folder was altered.
	Unread string `json:"unread,omitempty"`
	verifier.Result
}

func (v *resultView) text(p *page) {
	if v.Unread != "" {
		p.line("%s %s: %s", p.bad("REFUSED"), printable(v.Subject), printable(v.Unread))
		return
	}
	p.line("%s", verdictLine(p, v.Subject, &v.Result))
	p.line("")
	checkText(p, v.Checks)

	if len(v.Differences) > 0 {
		p.line("")
		p.line("%s from the known-good values", p.head("Differences"))
		for _, d := range v.Differences {
			p.line("  %s", printable(d.String()))
		}
		if v.DifferencesOmitted > 0 {
			p.line("  and %d more", v.DifferencesOmitted)
		}
	}
	v.keyText(p)
	v.unverifiedText(p)
	hintText(p, v.Hints)
}

func (v *resultView) keyText(p *page) {
	p.line("")
	p.line("%s", p.head("Attestation key"))
	p.field("name", "%s", orDash(v.AKName))
	if len(v.AKName) == 0 && len(v.AKKey) > 0 {
		p.field("key", "sha256 of its SubjectPublicKeyInfo %x", sha256.Sum256(v.AKKey))
	}
	switch v.EKBinding {
	case "":
		p.field("bound by", "nothing: the known-good values do not name it")
	case verifier.BindingFirstUse:
		p.field("bound by", "first use: it is the key that was there when known-good values were learned; that proves nothing about hardware")
	case verifier.BindingAKIssuer:
		p.field("bound by", "its certificate: a CA of --ak-ca says that it is a TPM's")
	default:
		p.field("bound by", "%s", bindingWords(v.EKBinding))
	}
}

// unverifiedText sums up by kind; programs get each with its bytes.
func (v *resultView) unverifiedText(p *page) {
	if len(v.Unverified) == 0 {
		return
	}

	count := make(map[string]int)
	for _, u := range v.Unverified {
		count[fmt.Sprintf("log %s: %s", u.Log, strings.TrimSpace(u.Bank+" "+string(u.Field)))]++
	}
	p.line("")
	p.line("%s: what the logs say and no signed digest covers; no check believes it (--json has the bytes)", p.head("Unverified"))
	for _, kind := range slices.Sorted(maps.Keys(count)) {
		p.line("  %4d x %s", count[kind], printable(kind))
	}
	if v.UnverifiedOmitted > 0 {
		p.line("  %4d x more", v.UnverifiedOmitted)
	}
}

// verdictLine says in one line what a person came for.
func verdictLine(p *page, subject string, r *verifier.Result) string {
	subject = printable(subject)
	switch r.Verdict {
	case verifier.Trusted:
		if r.AKAttributesByIssuer {
			return fmt.Sprintf("%s %s: a known key signed just now that known-good software was launched, %s", p.good("TRUSTED"), subject,
				p.warn("if its issuer is right in that it is a TPM's"))
		}
		return fmt.Sprintf("%s %s: a known key signed just now that known-good software was launched", p.good("TRUSTED"), subject)
	case verifier.FreshnessNotChecked:
		return fmt.Sprintf("%s %s: authentic, freshness not checked: give --nonce, the nonce that you asked with", p.warn("NOT TRUSTED"), subject)
	case verifier.CouldNotJudge:
		return fmt.Sprintf("%s %s: could not judge: %s", p.warn("NOT TRUSTED"), subject, printable(why(r)))
	default:
		return fmt.Sprintf("%s %s: %s", p.bad("REFUSED"), subject, printable(why(r)))
	}
}

// why names the first thing that went wrong: a difference where there is one, since it says most.
func why(r *verifier.Result) string {
	if len(r.Differences) > 0 {
		return r.Differences[0].String()
	}
	for _, check := range r.Checks {
		if check.Outcome == verifier.Failed {
			return check.Detail
		}
	}
	return "not every check passed"
}
