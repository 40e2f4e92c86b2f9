package main

import (
	"bytes"
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
	// Unread says why there was nothing to check, if the folder was altered or the node's answer is no evidence.
	Unread string `json:"unread,omitempty"`
	// Node is the name in the record that was given with --node.
	Node string `json:"node,omitempty"`
	// AKsExpected are the Names of the keys that may sign, if another one did.
	AKsExpected []verifier.Hex `json:"ak_names_expected,omitempty"`
	verifier.Result

	saved bool // the evidence comes from a folder
}

// newResultView judges the evidence.
func newResultView(subject string, evidence verifier.Evidence, policy verifier.Policy) *resultView {
	view := &resultView{Subject: subject, Result: verifier.Verify(evidence, policy)}
	var expected []verifier.Hex
	for _, pin := range policy.KnownGood.AKs {
		if len(pin.Name) > 0 {
			expected = append(expected, pin.Name)
		}
	}
	if policy.Node != nil {
		view.Node, expected = policy.Node.Name, nil
		for _, ak := range policy.Node.AKs {
			expected = append(expected, ak.Name)
		}
	}

	isOne := func(name verifier.Hex) bool { return bytes.Equal(name, view.AKName) }
	if view.Check(verifier.CheckAKPinned).Outcome == verifier.Failed && !slices.ContainsFunc(expected, isOne) {
		view.AKsExpected = expected
	}
	return view
}

func (v *resultView) text(p *page) {
	if v.Unread != "" {
		p.line("%s %s: %s", p.bad("REFUSED"), printable(v.Subject), printable(v.Unread))
		return
	}
	p.line("%s", v.verdictLine(p))
	if v.saved && v.Verdict == verifier.Trusted {
		p.line("It was signed after you made the nonce. When that was, and whether the node has rebooted since, this does not show.")
	}
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
	for _, name := range v.AKsExpected[:min(len(v.AKsExpected), shownKeys)] {
		p.field("expected", "%s", name)
	}
	if more := len(v.AKsExpected) - shownKeys; more > 0 {
		p.field("expected", "or one of %d more", more)
	}
	p.field("bound by", "%s", v.boundBy())
	if len(v.AKsExpected) > 0 {
		p.line("  %s", v.otherKeyAdvice())
	}
}

// shownKeys bounds a list for people; --json has all.
const shownKeys = 8

// boundBy says what ties the key to a machine.
func (v *resultView) boundBy() string {
	switch {
	case v.EKBinding == "" && v.Node != "":
		return "nothing: the record of " + printable(v.Node) + " does not vouch for it"
	case v.EKBinding == "":
		return "nothing: the known-good values do not vouch for it"
	case v.EKBinding == verifier.BindingFirstUse && v.Node == "":
		return "first use: it is the key that was there when known-good values were learned; that proves nothing about hardware"
	case v.EKBinding == verifier.BindingAKIssuer:
		return "its certificate: a CA of --ak-ca says that it is a TPM's"
	default:
		return bindingWords(v.EKBinding)
	}
}

// otherKeyAdvice is for a key that was not expected.
func (v *resultView) otherKeyAdvice() string {
	if v.Node != "" {
		return "Another machine or another TPM may have answered; or the record is older than the node's last rotation."
	}
	return "Another machine may have answered. If this node's key was rotated, give its record with --node: then the known-good file's keys do not count."
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
	p.line("%s: what the logs say and no signed digest covers; no check uses it, but for the StartupLocality of PCR 0 (--json has the bytes)", p.head("Unverified"))
	for _, kind := range slices.Sorted(maps.Keys(count)) {
		p.line("  %4d x %s", count[kind], printable(kind))
	}
	if v.UnverifiedOmitted > 0 {
		p.line("  %4d x more", v.UnverifiedOmitted)
	}
}

// verdictLine says in one line what a person came for.
func (v *resultView) verdictLine(p *page) string {
	subject := printable(v.Subject)
	if v.Node != "" {
		subject = fmt.Sprintf("%s (%s)", printable(v.Node), subject)
	}
	switch v.Verdict {
	case verifier.Trusted:
		when := "just now"
		if v.saved {
			when = "over your nonce"
		}
		key := "a known key"
		if v.EKBinding == verifier.BindingAKIssuer {
			key = "a key that a CA of --ak-ca certified"
		}
		line := fmt.Sprintf("%s %s: %s signed %s that known-good software was launched", p.good("TRUSTED"), subject, key, when)
		if v.AKAttributesByIssuer {
			line += ", " + p.warn("if its issuer is right in that it is a TPM's")
		}
		return line
	case verifier.FreshnessNotChecked:
		return fmt.Sprintf("%s %s: authentic, freshness not checked: give --nonce, the nonce that you asked with", p.warn("NOT TRUSTED"), subject)
	case verifier.CouldNotJudge:
		return fmt.Sprintf("%s %s: could not judge: %s", p.warn("NOT TRUSTED"), subject, printable(why(&v.Result)))
	default:
		return fmt.Sprintf("%s %s: %s", p.bad("REFUSED"), subject, printable(why(&v.Result)))
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
