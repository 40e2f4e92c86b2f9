package verifier_test

import (
	"testing"

	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/eventlog"
)

// TestACappedPCRIsRefused has what SINIT, tboot and Secure Launch extend into a bank that they do not measure into. The caps are known-good here, by
// events or by value: what is capped measures nothing, whatever anybody learned of it.
func TestACappedPCRIsRefused(t *testing.T) {
	t.Parallel()
	rawCap := append([]byte{1}, make([]byte, 31)...)
	for _, tc := range []struct {
		rule   string
		event  logEvent
		capped bool
	}{
		{"cap of SINIT", logEvent{typ: eventlog.TypeCapValue, data: []byte{1}}, true},
		{"cap of SINIT without its data", logEvent{typ: eventlog.TypeCapValue, what: "\x01"}, true},
		{"cap of another value", logEvent{typ: eventlog.TypeCapValue, data: []byte{2}}, true},
		{"hashed cap of Secure Launch", logEvent{typ: eventlog.TypeSlaunch, what: "\x01"}, true},
		{"raw cap of Secure Launch", logEvent{typ: eventlog.TypeSlaunch, raw: rawCap}, true},
		{"raw cap under another type", logEvent{typ: eventlog.TypeTbootMeasurement, raw: rawCap}, true},
		{"measurement of Secure Launch", logEvent{typ: eventlog.TypeSlaunch, what: "initrd"}, false},
		{"data that happens to be 01", logEvent{typ: eventlog.TypeCPUSCRTMStat, data: []byte{1}}, false},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			t.Parallel()
			f := newForgery(t)
			tc.event.pcr = 18
			f.events = append(f.events, tc.event)
			slots := f.known.PCRs[1].Events
			f.known.PCRs[1].Events = append(slots, verifier.Slot{Type: tc.event.typ, Digests: []verifier.Hex{tc.event.digest()}})
			ev, byEvents := f.evidence(t), rawPolicy(f.known, f.nonce)
			byValue := byEvents
			byValue.KnownGood.PCRs = append([]verifier.KnownPCR{}, f.known.PCRs...)
			byValue.KnownGood.PCRs[1] = verifier.KnownPCR{Bank: eventlog.AlgSHA256, PCR: 18, Values: []verifier.Hex{pcrValue(f.events, 18)}}

			for _, p := range []verifier.Policy{byEvents, byValue} {
				r := verifier.Verify(ev, p)
				if tc.capped {
					wantOnly(t, r, verifier.CheckReplay)
					wantFailed(t, r, verifier.CheckReplay, "capped")
				} else if r.Verdict != verifier.Trusted {
					t.Error(r.Explain())
				}
			}
			if _, err := verifier.Learn(ev, rawPolicy(verifier.KnownGood{}, f.nonce)); (err != nil) != tc.capped {
				t.Errorf("learning: %v", err)
			}
		})
	}
}
