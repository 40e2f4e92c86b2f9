package verifier

import (
	"fmt"
	"strings"
)

// DifferenceKind says in which way something differs from the known-good measurements.
type DifferenceKind string

const (
	// OtherValue: the PCR's value is none of the allowed ones.
	OtherValue DifferenceKind = "value"
	// Changed: an event is in its place, but its digest or type is not an allowed one.
	Changed DifferenceKind = "changed"
	// Missing: no event fills the slot.
	Missing DifferenceKind = "missing"
	// Extra: the event fills no slot.
	Extra DifferenceKind = "extra"
)

// Difference is one place where authentic measurements are not the known-good ones.
type Difference struct {
	// Kind says which of the other fields count.
	Kind DifferenceKind `json:"kind"`
	// Bank and PCR say where.
	Bank string `json:"bank"`
	PCR  int    `json:"pcr"`
	// Log and Event name the event: the log's source and the event's number in it. Event is 0 if there is none.
	Log   string `json:"log,omitempty"`
	Event int    `json:"event,omitempty"`
	// Slot is the place among the PCR's slots, from 1. It is 0 if there is none.
	Slot int `json:"slot,omitempty"`
	// Type is the type of the event, or of the slot if no event fills it. ExpectedType is that of the slot where the event's differs.
	Type         string `json:"type,omitempty"`
	ExpectedType string `json:"expected_type,omitempty"`
	// Description is the slot's description, or one made from the event. Safe to print.
	Description string `json:"description,omitempty"`
	// Expected are the allowed digests or values, Got is what there is.
	Expected []Hex `json:"expected,omitempty"`
	Got      Hex   `json:"got,omitempty"`
}

// String says it in one line, such as "PCR 17, event 14 (tboot module 0): expected sha256 ab..., got cd...".
func (d Difference) String() string {
	what := d.Description
	if what != d.Type && d.Type != "" {
		what = strings.TrimPrefix(what+", "+d.Type, ", ")
	}
	switch d.Kind {
	case Changed:
		text := fmt.Sprintf("PCR %d, event %d (%s): expected %s %s, got %s", d.PCR, d.Event, what, d.Bank, d.allowed(), d.Got)
		if d.ExpectedType != "" {
			text += fmt.Sprintf(", and type %s, got %s", d.ExpectedType, d.Type)
		}
		return text
	case Missing:
		return fmt.Sprintf("PCR %d, slot %d (%s): expected %s %s, got no such event", d.PCR, d.Slot, what, d.Bank, d.allowed())
	case Extra:
		return fmt.Sprintf("PCR %d, event %d (%s): expected no such event here, got %s %s", d.PCR, d.Event, what, d.Bank, d.Got)
	default:
		return fmt.Sprintf("PCR %d: expected %s %s, got %s", d.PCR, d.Bank, d.allowed(), d.Got)
	}
}

func (d Difference) allowed() string {
	texts := make([]string, 0, len(d.Expected))
	for _, digest := range d.Expected {
		texts = append(texts, digest.String())
	}
	return strings.Join(texts, " or ")
}

func (d Difference) anyExpected() []byte {
	if len(d.Expected) == 0 {
		return nil
	}
	return d.Expected[0]
}

// Costs of an alignment. An event with the right type or an allowed digest stands for its slot; one with neither is an extra event beside a missing one.
const (
	costGap     = 2
	costChanged = 3
	costOther   = 2*costGap + 1
)

// maxAlignment bounds the table of an alignment; beyond it, events and slots are compared place by place.
const maxAlignment = 1 << 20

// differences collects as many as a Result lists, and counts the others: a hostile log may differ a hundred thousand times.
type differences struct {
	listed  []Difference
	omitted int
}

// add asks for the difference only if there is room for it.
func (d *differences) add(difference func() Difference) {
	if len(d.listed) == maxDifferences {
		d.omitted++
		return
	}
	d.listed = append(d.listed, difference())
}

// diff explains why the events do not fill the slots, with as few differences as there can be. It explains only: that they do not is known before.
func (x *explained) diff(slots []Slot, found *differences) {
	head := 0
	for head < min(len(slots), len(x.events)) && x.fillsSlot(head, &slots[head]) {
		head++
	}
	tail := 0
	for tail < min(len(slots), len(x.events))-head && x.fillsSlot(len(x.events)-1-tail, &slots[len(slots)-1-tail]) {
		tail++
	}
	midSlots, midEvents := len(slots)-head-tail, len(x.events)-head-tail
	if (midSlots+1)*(midEvents+1) > maxAlignment {
		x.diffByPlace(slots, head, midSlots, midEvents, found)
		return
	}
	x.align(slots, head, midSlots, midEvents, found)
}

// align finds the cheapest way to turn n slots into m events, both from head on (Wagner and Fischer).
func (x *explained) align(slots []Slot, head, n, m int, found *differences) {
	// cost[i][j] is that of slots i.. against events j..
	cost := make([][]int, n+1)
	for i := range cost {
		cost[i] = make([]int, m+1)
	}
	for i := n; i >= 0; i-- {
		for j := m; j >= 0; j-- {
			switch {
			case i == n:
				cost[i][j] = (m - j) * costGap
			case j == m:
				cost[i][j] = (n - i) * costGap
			default:
				cost[i][j] = min(
					cost[i+1][j+1]+x.pairCost(&slots[head+i], head+j),
					cost[i+1][j]+costGap,
					cost[i][j+1]+costGap,
				)
			}
		}
	}

	for i, j := 0, 0; i < n || j < m; {
		switch {
		case i < n && j < m && cost[i][j] == cost[i+1][j+1]+x.pairCost(&slots[head+i], head+j):
			if !x.fillsSlot(head+j, &slots[head+i]) {
				found.add(func() Difference { return x.changed(slots, head+i, head+j) })
			}
			i, j = i+1, j+1
		case i < n && cost[i][j] == cost[i+1][j]+costGap:
			found.add(func() Difference { return x.missing(slots, head+i) })
			i++
		default:
			found.add(func() Difference { return x.extra(head + j) })
			j++
		}
	}
}

// diffByPlace compares slots and events of the same place.
func (x *explained) diffByPlace(slots []Slot, head, n, m int, found *differences) {
	for i := range max(n, m) {
		switch {
		case i >= m:
			found.add(func() Difference { return x.missing(slots, head+i) })
		case i >= n:
			found.add(func() Difference { return x.extra(head + i) })
		case !x.fillsSlot(head+i, &slots[head+i]):
			found.add(func() Difference { return x.changed(slots, head+i, head+i) })
		}
	}
}

func (x *explained) pairCost(slot *Slot, event int) int {
	sameType := x.events[event].Type == slot.Type
	digest, _ := x.events[event].Digest(x.pcr.bank)
	switch sameDigest := contains(slot.Digests, digest); {
	case sameType && sameDigest:
		return 0
	case sameType || sameDigest:
		return costChanged
	default:
		return costOther
	}
}

func (x *explained) changed(slots []Slot, slot, event int) Difference {
	d := x.extra(event)
	d.Kind, d.Slot, d.Expected = Changed, slot+1, slots[slot].Digests
	if text := slots[slot].Description; text != "" {
		d.Description = safeText(text)
	}
	if slots[slot].Type != x.events[event].Type {
		d.ExpectedType = slots[slot].Type.String()
	}
	return d
}

func (x *explained) missing(slots []Slot, slot int) Difference {
	d := Difference{
		Kind: Missing, Bank: x.pcr.bank.String(), PCR: x.pcr.index, Slot: slot + 1,
		Type: slots[slot].Type.String(), Expected: slots[slot].Digests,
	}
	if text := slots[slot].Description; text != "" {
		d.Description = safeText(text)
	}
	return d
}

func (x *explained) extra(event int) Difference {
	ev := x.events[event]
	digest, _ := ev.Digest(x.pcr.bank)
	return Difference{
		Kind: Extra, Bank: x.pcr.bank.String(), PCR: x.pcr.index, Log: x.log.source, Event: ev.Num,
		Type: ev.Type.String(), Description: x.describe(event), Got: digest,
	}
}
