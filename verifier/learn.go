package verifier

import (
	"bytes"
	"errors"
	"fmt"
)

// Learn makes known-good values of a node's evidence: the AK pinned on first use, and for each quoted PCR its events, or its value where it has none and for PCR 0.
// It takes only evidence that passes every check but those against known-good values: with the caller's own nonce, after a measured launch, and replayed
// from its logs. If the policy has a node's record, one of its AKs has to have signed, and no AK is learned. If the policy pins AKs, the evidence's has to be
// among them and keeps its pin; the rest of Policy.KnownGood is not looked at.
//
// What is learned says what this node measured, not that it is good: that is for a person to approve.
func Learn(ev Evidence, p Policy) (KnownGood, error) {
	e := newExam(&ev, &p)
	firstUse := p.Node == nil && len(p.KnownGood.AKs) == 0
	unpinned := firstUse && p.AKIssuers == nil
	for _, c := range append(authenticity(), freshness()) {
		if c.name == CheckAKPinned && unpinned {
			c.run = (*exam).checkAKNotRefused
		}
		e.run([]check{c})
	}
	if err := e.learnable(); err != nil {
		return KnownGood{}, fmt.Errorf("learning from evidence that is not good: %w", err)
	}

	var known KnownGood
	switch {
	case firstUse:
		known.AKs = []AKPin{e.firstUsePin()}
	case p.Node == nil:
		known.AKs = []AKPin{e.pin}
	}
	for i := range e.explained {
		known.PCRs = append(known.PCRs, e.explained[i].learn())
	}
	return known, nil
}

// learnable returns what speaks against learning.
func (e *exam) learnable() error {
	var errs []error
	for _, c := range e.checks {
		if c.Outcome != Passed && c.Outcome != NotRun && c.Outcome != LeftToIssuer {
			errs = append(errs, fmt.Errorf("%s: %s", c.Name, c.Detail))
		}
	}
	if len(errs) == 0 && e.verdict() != Trusted {
		return errors.New("a check did not pass") // NotRun alone can't be, but zero means no
	}
	return errors.Join(errs...)
}

// firstUsePin pins the key as it is. Where a check of it was left to its issuer, it pins the key alone, so that the same is left to the issuer at each
// verification: pinned, a public area that is nobody's but the evidence's own word would count as the policy's.
func (e *exam) firstUsePin() AKPin {
	left := func(name CheckName) bool { return e.outcome(name) == LeftToIssuer }
	if e.ak.public == nil || left(CheckAKAttributes) || left(CheckQualifiedSigner) {
		return AKPin{SPKI: bytes.Clone(e.ak.spki), Binding: BindingFirstUse}
	}
	return AKPin{Name: e.ak.name, Public: bytes.Clone(e.ak.raw), Binding: BindingFirstUse}
}

// learn makes an entry that allows just what this PCR holds.
func (x *explained) learn() KnownPCR {
	entry := KnownPCR{Bank: x.pcr.bank, PCR: x.pcr.index}
	if len(x.events) == 0 || !entry.startsKnown() {
		entry.Values = []Hex{bytes.Clone(x.value)}
		return entry
	}
	for i, ev := range x.events {
		digest, _ := ev.Digest(x.pcr.bank)
		entry.Events = append(entry.Events, Slot{Type: ev.Type, Description: x.describe(i), Digests: []Hex{bytes.Clone(digest)}})
	}
	return entry
}
