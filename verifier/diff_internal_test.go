package verifier

import (
	"fmt"
	"testing"

	"github.com/trustpool/trustpool/verifier/eventlog"
)

// hostile is a PCR with n events that fit no slot.
func hostile(n int) *explained {
	x := &explained{quotedPCR: quotedPCR{pcr: pcr{eventlog.AlgSHA256, launchPCR}}, log: &parsedLog{source: "txt"}}
	for i := range n {
		x.events = append(x.events, &eventlog.Event{Num: i + 1, PCR: launchPCR, Type: eventlog.TypeTbootMeasurement})
	}
	return x
}

// TestOnlyDifferencesThatAreListedAreMade: what a node's log may have a hundred thousand of has to cost next to nothing each.
func TestOnlyDifferencesThatAreListedAreMade(t *testing.T) { // alone: it counts allocations
	slots := make([]Slot, 1000)
	work := func(n int) float64 {
		return testing.AllocsPerRun(1, func() {
			var found differences
			hostile(n).diff(slots, &found)
			if len(found.listed) != maxDifferences || found.omitted != n-maxDifferences {
				t.Errorf("%d events: %d differences and %d omitted", n, len(found.listed), found.omitted)
			}
		}) - testing.AllocsPerRun(1, func() { hostile(n) })
	}
	if few, many := work(2_000), work(100_000); many > few+1000 { // one each would be 98,000
		t.Errorf("%.0f allocations for 100,000 events, %.0f for 2000", many, few)
	}
}

func TestTheEventsOfAPCRAreNamedByTheirPlace(t *testing.T) {
	t.Parallel()
	x := hostile(4)
	x.events[1].Type = eventlog.TypeMLEHash
	for i, want := range []string{"tboot policy", "EVTYPE_MLE_HASH", "tboot module 0, hypervisor or kernel", "tboot module 1"} {
		if got := x.describe(i); got != want {
			t.Errorf("event %d is %q, want %q", i, got, want)
		}
	}
}

// BenchmarkDescribe tells what naming one event costs: the same in a log of any length.
func BenchmarkDescribe(b *testing.B) {
	for _, n := range []int{100, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				x := hostile(n)
				for i := range x.events {
					_ = x.describe(i)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/event")
		})
	}
}
