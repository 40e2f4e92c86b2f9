package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/wording"
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

func (v *resultView) text(p *console.Page) {
	if v.Unread != "" {
		p.Line("%s %s: %s", p.Bad("REFUSED"), console.Printable(v.Subject), console.Printable(v.Unread))
		return
	}
	p.Line("%s", v.verdictLine(p))
	if v.saved && v.Verdict == verifier.Trusted {
		p.Line("It was signed after you made the nonce. When that was, and whether the node has rebooted since, this does not show.")
	}
	p.Line("")
	checkText(p, v.Checks)

	if len(v.Differences) > 0 {
		p.Line("")
		p.Line("%s from the known-good values", p.Head("Differences"))
		for _, d := range v.Differences {
			p.Line("  %s", console.Printable(d.String()))
		}
		if v.DifferencesOmitted > 0 {
			p.Line("  and %d more", v.DifferencesOmitted)
		}
	}
	v.keyText(p)
	v.unverifiedText(p)
	hintText(p, v.Hints)
}

func (v *resultView) keyText(p *console.Page) {
	p.Line("")
	p.Line("%s", p.Head("Attestation key"))
	p.Field("name", "%s", orDash(v.AKName))
	if len(v.AKName) == 0 && len(v.AKKey) > 0 {
		p.Field("key", "sha256 of its SubjectPublicKeyInfo %x", sha256.Sum256(v.AKKey))
	}
	for _, name := range v.AKsExpected[:min(len(v.AKsExpected), shownKeys)] {
		p.Field("expected", "%s", name)
	}
	if more := len(v.AKsExpected) - shownKeys; more > 0 {
		p.Field("expected", "or one of %d more", more)
	}
	p.Field("bound by", "%s", v.boundBy())
	if len(v.AKsExpected) > 0 {
		p.Line("  %s", v.otherKeyAdvice())
	}
}

// shownKeys bounds a list for people; --json has all.
const shownKeys = 8

// boundBy says what ties the key to a machine.
func (v *resultView) boundBy() string {
	switch {
	case v.EKBinding == "" && v.Node != "":
		return "nothing: the record of " + console.Printable(v.Node) + " does not vouch for it"
	case v.EKBinding == "":
		return "nothing: the known-good values do not vouch for it"
	case v.EKBinding == verifier.BindingFirstUse && v.Node == "":
		return "first use: it is the key that was there when known-good values were learned; that proves nothing about hardware"
	case v.EKBinding == verifier.BindingAKIssuer:
		return "its certificate: a CA of --ak-ca says that it is a TPM's"
	default:
		return wording.Binding(v.EKBinding)
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
func (v *resultView) unverifiedText(p *console.Page) {
	if len(v.Unverified) == 0 {
		return
	}

	count := make(map[string]int)
	for _, u := range v.Unverified {
		count[fmt.Sprintf("log %s: %s", u.Log, strings.TrimSpace(u.Bank+" "+string(u.Field)))]++
	}
	p.Line("")
	p.Line("%s: what the logs say and no signed digest covers; no check uses it, but for the StartupLocality of PCR 0 (--json has the bytes)", p.Head("Unverified"))
	for _, kind := range slices.Sorted(maps.Keys(count)) {
		p.Line("  %4d x %s", count[kind], console.Printable(kind))
	}
	if v.UnverifiedOmitted > 0 {
		p.Line("  %4d x more", v.UnverifiedOmitted)
	}
}

// verdictLine says in one line what a person came for.
func (v *resultView) verdictLine(p *console.Page) string {
	subject := console.Printable(v.Subject)
	if v.Node != "" {
		subject = fmt.Sprintf("%s (%s)", console.Printable(v.Node), subject)
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
		line := fmt.Sprintf("%s %s: %s signed %s that known-good software was launched", p.Good("TRUSTED"), subject, key, when)
		if v.AKAttributesByIssuer {
			line += ", " + p.Warn("if its issuer is right in that it is a TPM's")
		}
		return line
	case verifier.FreshnessNotChecked:
		return fmt.Sprintf("%s %s: authentic, freshness not checked: give --nonce, the nonce that you asked with", p.Warn("NOT TRUSTED"), subject)
	case verifier.CouldNotJudge:
		return fmt.Sprintf("%s %s: could not judge: %s", p.Warn("NOT TRUSTED"), subject, console.Printable(why(&v.Result)))
	default:
		return fmt.Sprintf("%s %s: %s", p.Bad("REFUSED"), subject, console.Printable(why(&v.Result)))
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
