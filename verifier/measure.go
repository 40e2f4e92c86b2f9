package verifier

import (
	"errors"
	"fmt"

	"github.com/trustpool/trustpool/verifier/eventlog"
)

// maxDifferences bounds what a Result lists.
const maxDifferences = 256

// checkKnownGood wants one entry per quoted PCR and one quoted PCR per entry: neither a value nor an expectation is passed over.
func (e *exam) checkKnownGood() error {
	known := &e.policy.KnownGood
	if len(known.PCRs) == 0 {
		return errors.New("the known-good set has no measurements: an empty policy trusts nothing")
	}

	var errs []error
	expected := make(map[pcr]bool)
	for _, entry := range known.PCRs {
		at := pcr{entry.Bank, entry.PCR}
		if expected[at] {
			errs = append(errs, fmt.Errorf("%s has two known-good entries", at))
		}
		if (len(entry.Values) == 0) == (len(entry.Events) == 0) {
			errs = append(errs, fmt.Errorf("the known-good entry of %s has to hold either values or events", at))
		}
		if len(entry.Events) > 0 && !entry.startsKnown() {
			errs = append(errs, fmt.Errorf("the known-good entry of %s has to hold values: events do not tell with which it began", at))
		}
		expected[at] = true
	}
	for _, s := range e.asked {
		for _, index := range s.PCRs {
			at := pcr{s.Alg, index}
			if !expected[at] {
				errs = append(errs, fmt.Errorf("%s is asked for but has no known-good entry", at))
			}
			delete(expected, at)
		}
	}
	for _, entry := range known.PCRs {
		if at := (pcr{entry.Bank, entry.PCR}); expected[at] {
			errs = append(errs, fmt.Errorf("%s has a known-good entry but is not asked for", at))
		}
	}
	return errors.Join(errs...)
}

// checkMeasurements compares each quoted PCR with its known-good entry.
func (e *exam) checkMeasurements() error {
	for i := range e.explained {
		x := &e.explained[i]
		entry, ok := e.policy.KnownGood.entry(x.pcr)
		if !ok {
			return fmt.Errorf("%s has no known-good entry", x.pcr)
		}
		x.compare(&entry, &e.differences)
	}
	if len(e.differences.listed) == 0 {
		return nil
	}
	first := e.differences.listed[0]
	return mismatch{
		detail:   fmt.Sprintf("%s: %s", differ(len(e.differences.listed)+e.differences.omitted), first),
		expected: first.anyExpected(),
		got:      first.Got,
	}
}

func differ(n int) string {
	if n == 1 {
		return "1 measurement is not the known-good one"
	}
	return fmt.Sprintf("%d measurements are not the known-good ones, the first", n)
}

// compare finds how a PCR differs from its entry; nothing if it is known-good.
func (x *explained) compare(entry *KnownPCR, found *differences) {
	switch {
	case len(entry.Events) > 0:
		if !x.fills(entry.Events) {
			x.diff(entry.Events, found)
		}
	case !contains(entry.Values, x.value):
		found.add(func() Difference {
			return Difference{Kind: OtherValue, Bank: x.pcr.bank.String(), PCR: x.pcr.index, Expected: entry.Values, Got: x.value}
		})
	}
}

// fills tells whether the events fill the slots: each slot by one event, in order, and no event is left.
func (x *explained) fills(slots []Slot) bool {
	if len(x.events) != len(slots) {
		return false
	}
	for i := range slots {
		if !x.fillsSlot(i, &slots[i]) {
			return false
		}
	}
	return true
}

// fillsSlot tells whether event i fills the slot.
func (x *explained) fillsSlot(i int, slot *Slot) bool {
	digest, ok := x.events[i].Digest(x.pcr.bank)
	return ok && slot.allows(x.events[i].Type, digest)
}

// describe names event i of the PCR for people. The name of a tboot measurement is told by its place, since tboot writes no text beside it: first its own
// policy, then, with the policy that it comes with, the modules of PCR 17 in their order (tboot, policy.c).
func (x *explained) describe(i int) string {
	typ := x.events[i].Type
	if typ != eventlog.TypeTbootMeasurement {
		return typ.String()
	}

	switch place := x.place(i); {
	case place == 0:
		return "tboot policy"
	case x.pcr.index != launchPCR:
		return fmt.Sprintf("tboot measurement %d", place+1)
	case place == 1:
		return "tboot module 0, hypervisor or kernel"
	default:
		return fmt.Sprintf("tboot module %d", place-1)
	}
}

// place returns how many measurements of tboot come before event i.
func (x *explained) place(i int) int {
	if x.places == nil {
		x.places = make([]int, len(x.events))
		n := 0
		for j, ev := range x.events {
			x.places[j] = n
			if ev.Type == eventlog.TypeTbootMeasurement {
				n++
			}
		}
	}
	return x.places[i]
}
