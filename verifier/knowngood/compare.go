package knowngood

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/eventlog"
)

// DifferenceKind says what differs between two sets.
type DifferenceKind string

const (
	// PCRDiffers: only one of the sets speaks of the PCR, or one knows it by its value and the other by its events.
	PCRDiffers DifferenceKind = "pcr"
	// ValuesDiffer: the sets allow other values of the PCR.
	ValuesDiffer DifferenceKind = "values"
	// DigestsDiffer: a slot is in both, with other digests.
	DigestsDiffer DifferenceKind = "digests"
	// SlotDiffers: a slot is in one set only, so that no node meets both.
	SlotDiffers DifferenceKind = "slot"
	// KeyDiffers: a key may sign by one set only.
	KeyDiffers DifferenceKind = "key"
)

// Difference is one thing in which two sets, A and B, differ.
type Difference struct {
	Kind DifferenceKind `json:"kind"`
	// Bank and PCR say where; they do not count with KeyDiffers.
	Bank string `json:"bank,omitempty"`
	PCR  int    `json:"pcr"`
	// SlotA and SlotB are the slot's places among the PCR's, from 1; 0 if the set has none.
	SlotA int `json:"slot_a,omitempty"`
	SlotB int `json:"slot_b,omitempty"`
	// OnlyA and OnlyB are the values, digests or Names that only one of them allows.
	OnlyA []verifier.Hex `json:"only_a,omitempty"`
	OnlyB []verifier.Hex `json:"only_b,omitempty"`
	// Text says it in one line. It is safe to print.
	Text string `json:"text"`
}

// maxDifferences bounds what Compare lists.
const maxDifferences = 1000

// Compare says how two sets of known-good values differ, PCR by PCR, at most 1000 differences. Descriptions are not compared. None: whatever meets one meets the other.
func Compare(a, b verifier.KnownGood) []Difference {
	var all []Difference
	for _, at := range allPlaces(a, b) {
		x, inA := entryOf(a, at)
		y, inB := entryOf(b, at)
		switch {
		case !inB:
			all = append(all, at.difference(PCRDiffers, "only in A: "+summary(x)))
		case !inA:
			all = append(all, at.difference(PCRDiffers, "only in B: "+summary(y)))
		case (len(x.Events) > 0) != (len(y.Events) > 0):
			all = append(all, at.difference(PCRDiffers, "A has "+summary(x)+", B has "+summary(y)))
		case len(x.Events) == 0:
			all = append(all, compareValues(at, x.Values, y.Values)...)
		default:
			all = append(all, compareSlots(at, x.Events, y.Events)...)
		}
	}
	all = append(all, compareKeys(a, b)...)
	return all[:min(len(all), maxDifferences)]
}

// place is one PCR of one bank.
type place struct {
	bank eventlog.Alg
	pcr  int
}

func (at place) difference(kind DifferenceKind, said string) Difference {
	return Difference{Kind: kind, Bank: at.bank.String(), PCR: at.pcr, Text: fmt.Sprintf("%s PCR %d: %s", at.bank, at.pcr, said)}
}

// allPlaces lists the PCRs of either, by bank and index.
func allPlaces(a, b verifier.KnownGood) []place {
	var all []place
	for _, e := range slices.Concat(a.PCRs, b.PCRs) {
		all = append(all, place{e.Bank, e.PCR})
	}
	slices.SortFunc(all, func(x, y place) int { return (int(x.bank)-int(y.bank))*eventlog.NumPCRs + x.pcr - y.pcr })
	return slices.Compact(all)
}

func entryOf(k verifier.KnownGood, at place) (verifier.KnownPCR, bool) {
	i := slices.IndexFunc(k.PCRs, func(e verifier.KnownPCR) bool { return e.Bank == at.bank && e.PCR == at.pcr })
	if i < 0 {
		return verifier.KnownPCR{}, false
	}
	return k.PCRs[i], true
}

func summary(e verifier.KnownPCR) string {
	if len(e.Events) > 0 {
		return count(len(e.Events), "event")
	}
	return count(len(e.Values), "value") + " " + list(e.Values)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// list gives at most four, which are enough to tell them apart.
func list(digests []verifier.Hex) string {
	const most = 4
	texts := make([]string, 0, most)
	for _, d := range digests[:min(len(digests), most)] {
		texts = append(texts, d.String())
	}
	if len(digests) > most {
		texts = append(texts, fmt.Sprintf("and %d more", len(digests)-most))
	}
	return strings.Join(texts, ", ")
}

// without lists what only the first has.
func without(a, b []verifier.Hex) []verifier.Hex {
	known := make(map[string]bool, len(b)) // there may be a hundred thousand
	for _, d := range b {
		known[string(d)] = true
	}
	return slices.DeleteFunc(slices.Clone(a), func(d verifier.Hex) bool { return known[string(d)] })
}

func compareValues(at place, a, b []verifier.Hex) []Difference {
	onlyA, onlyB := without(a, b), without(b, a)
	if len(onlyA)+len(onlyB) == 0 {
		return nil
	}
	d := at.difference(ValuesDiffer, onlySides(onlyA, onlyB))
	d.OnlyA, d.OnlyB = onlyA, onlyB
	return []Difference{d}
}

func onlySides(a, b []verifier.Hex) string {
	var sides []string
	if len(a) > 0 {
		sides = append(sides, "only A allows "+list(a))
	}
	if len(b) > 0 {
		sides = append(sides, "only B allows "+list(b))
	}
	return strings.Join(sides, "; ")
}

func compareKeys(a, b verifier.KnownGood) []Difference {
	names := func(k verifier.KnownGood) (all []verifier.Hex) {
		for _, pin := range k.AKs {
			all = append(all, bytes.Join([][]byte{pin.Name, pin.SPKI}, nil))
		}
		return all
	}
	onlyA, onlyB := without(names(a), names(b)), without(names(b), names(a))
	if len(onlyA)+len(onlyB) == 0 {
		return nil
	}
	return []Difference{{Kind: KeyDiffers, OnlyA: onlyA, OnlyB: onlyB, Text: "attestation keys: " + onlySides(onlyA, onlyB)}}
}
