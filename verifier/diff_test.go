package verifier_test

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/eventlog"
)

func TestDifferencesNameTheEventThatDiffers(t *testing.T) {
	t.Parallel()
	// The events of newForgery: 1 to 6, of which 3 is of PCR 18 and the others fill the slots 1 to 5 of PCR 17.
	for _, tc := range []struct {
		rule   string
		change func([]logEvent) []logEvent
		want   []string
	}{
		{"changed event", func(e []logEvent) []logEvent { e[4].what = "other"; return e }, []string{
			"PCR 17, event 5 (tboot module 0, hypervisor or kernel, EVTYPE_TB_MEASUREMENT): expected sha256 " + sum("hypervisor") + ", got " + sum("other"),
		}},
		{"two changed events", func(e []logEvent) []logEvent { e[1].what, e[5].what = "a", "b"; return e }, []string{
			"PCR 17, event 2 (EVTYPE_MLE_HASH): expected sha256 " + sum("tboot") + ", got " + sum("a"),
			"PCR 17, event 6 (tboot module 1, EVTYPE_TB_MEASUREMENT): expected sha256 " + sum("initrd") + ", got " + sum("b"),
		}},
		{"inserted event", func(e []logEvent) []logEvent {
			return slices.Insert(e, 4, logEvent{pcr: 17, typ: eventlog.TypeTbootMeasurement, what: "new"})
		}, []string{
			"PCR 17, event 5 (tboot module 0, hypervisor or kernel, EVTYPE_TB_MEASUREMENT): expected no such event here, got sha256 " + sum("new"),
		}},
		{"appended event", func(e []logEvent) []logEvent {
			return append(e, logEvent{pcr: 17, typ: eventlog.TypeRandomValue, data: []byte{1}})
		}, []string{
			"PCR 17, event 7 (EVTYPE_RANDOM_VALUE): expected no such event here, got sha256 " + sum("\x01"),
		}},
		{"missing event", func(e []logEvent) []logEvent { return slices.Delete(e, 3, 4) }, []string{
			"PCR 17, slot 3 (tboot policy, EVTYPE_TB_MEASUREMENT): expected sha256 " + sum("policy") + ", got no such event",
		}},
		{"missing last event", func(e []logEvent) []logEvent { return e[:5] }, []string{
			"PCR 17, slot 5 (tboot module 1, EVTYPE_TB_MEASUREMENT): expected sha256 " + sum("initrd") + ", got no such event",
		}},
		{"events in another order", func(e []logEvent) []logEvent { e[4], e[5] = e[5], e[4]; return e }, []string{
			"PCR 17, slot 4 (tboot module 0, hypervisor or kernel, EVTYPE_TB_MEASUREMENT): expected sha256 " + sum("hypervisor") + ", got no such event",
			"PCR 17, event 6 (tboot module 1, EVTYPE_TB_MEASUREMENT): expected no such event here, got sha256 " + sum("hypervisor"),
		}},
		{"event of another type", func(e []logEvent) []logEvent { e[1].typ = eventlog.TypeSTMHash; return e }, []string{
			"PCR 17, event 2 (EVTYPE_MLE_HASH, EVTYPE_STM_HASH): expected sha256 " + sum("tboot") + ", got " + sum("tboot") +
				", and type EVTYPE_MLE_HASH, got EVTYPE_STM_HASH",
		}},
		{"events in a PCR known by its value", func(e []logEvent) []logEvent {
			return append(e, logEvent{pcr: 19, typ: eventlog.TypeTbootMeasurement, what: "new"})
		}, []string{
			"PCR 19: expected sha256 " + strings.Repeat("00", 32) + ", got " + fmt.Sprintf("%x", pcrValue([]logEvent{{pcr: 19, what: "new"}}, 19)),
		}},
		{"nothing left of a PCR", func(e []logEvent) []logEvent { return slices.Delete(e, 2, 3) }, []string{
			"PCR 18, slot 1 (EVTYPE_SINIT_PUBKEY_HASH): expected sha256 " + sum("key") + ", got no such event",
		}},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			t.Parallel()
			f := newForgery(t)
			f.events = tc.change(f.events)
			r := verifier.Verify(f.evidence(t), rawPolicy(f.known, f.nonce))

			wantOnly(t, r, verifier.CheckMeasurements)
			var got []string
			for _, d := range r.Differences {
				got = append(got, d.String())
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestASlotMayAllowSeveralDigests(t *testing.T) {
	t.Parallel()
	f := newForgery(t)
	slot := &f.known.PCRs[0].Events[3]
	updated := sha256.Sum256([]byte("updated hypervisor"))
	slot.Digests = append(slot.Digests, updated[:])
	for _, what := range []string{"hypervisor", "updated hypervisor"} {
		f.events[4].what = what
		if r := verifier.Verify(f.evidence(t), rawPolicy(f.known, f.nonce)); r.Verdict != verifier.Trusted {
			t.Errorf("%s: %s", what, r.Explain())
		}
	}
	f.events[4].what = "third"
	r := verifier.Verify(f.evidence(t), rawPolicy(f.known, f.nonce))
	if want := sum("hypervisor") + " or " + sum("updated hypervisor"); !strings.Contains(r.String(), want) {
		t.Errorf("%s\ndoes not name both digests", r)
	}
}

func TestHugeDifferencesAreBounded(t *testing.T) {
	t.Parallel()
	f := newForgery(t)
	for i := range 3000 {
		f.known.PCRs[0].Events = append(f.known.PCRs[0].Events, f.known.PCRs[0].Events[1])
		f.events = append(f.events, logEvent{pcr: 17, typ: eventlog.TypeTbootMeasurement, what: fmt.Sprint(i)})
	}
	r := verifier.Verify(f.evidence(t), rawPolicy(f.known, f.nonce))
	wantOnly(t, r, verifier.CheckMeasurements)
	if len(r.Differences) != 256 || r.DifferencesOmitted != 3000-256 || len(r.Unverified) != 3000+7 {
		t.Errorf("%d differences and %d omitted, %d unverified", len(r.Differences), r.DifferencesOmitted, len(r.Unverified))
	}
}

// sum is the digest of a measured text, in hexadecimal.
func sum(what string) string {
	digest := sha256.Sum256([]byte(what))
	return fmt.Sprintf("%x", digest)
}
