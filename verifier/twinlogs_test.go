package verifier_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/eventlog"
)

// TestALogThatComesTwiceCountsOnce: an agent may find one log in two places.
func TestALogThatComesTwiceCountsOnce(t *testing.T) {
	t.Parallel()
	f := newForgery(t)
	ev, p := f.evidence(t), rawPolicy(f.known, f.nonce)
	ev.Logs = append(ev.Logs, verifier.Log{Source: "copy", Raw: bytes.Clone(ev.Logs[0].Raw)})
	if r := verifier.Verify(ev, p); r.Verdict != verifier.Trusted {
		t.Fatal(r.Explain())
	}

	// With one event more, of a PCR that nobody judges, it is another log.
	ev.Logs[1].Raw = logBytes(append(f.events, logEvent{pcr: 5, typ: eventlog.TypeSeparator, data: []byte{0}}))
	wantOnly(t, verifier.Verify(ev, p), verifier.CheckReplay)
}

// TestEachLogSpeaksOfItsOwnPCRs: the firmware's log of what came before the launch, the launch's log of the rest, in either order.
func TestEachLogSpeaksOfItsOwnPCRs(t *testing.T) {
	t.Parallel()
	f := newForgery(t)
	f.more = []int{5}
	launched, start := f.events, logEvent{pcr: 17, typ: eventlog.TypeHashStart, data: []byte("SINIT and EDX")}
	before := []logEvent{{pcr: 5, typ: eventlog.TypeEFIAction, what: "ready to boot"}, {pcr: 6, typ: eventlog.TypeEFIAction, what: "not quoted"}}
	f.events = append(before, launched...)
	all := sha256PCRs(5, 17, 18, 19)
	ev := f.evidence(t)
	p := rawPolicy(learn(t, ev, all), f.nonce, all)
	firmware, txt := verifier.Log{Source: "firmware", Raw: logBytes(before)}, verifier.Log{Source: "txt", Raw: logBytes(launched)}

	for rule, logs := range map[string][]verifier.Log{"firmware first": {firmware, txt}, "launch first": {txt, firmware}} {
		ev.Logs = logs
		r := verifier.Verify(ev, p)
		if r.Verdict != verifier.Trusted {
			t.Errorf("%s: %s", rule, r.Explain())
		}
		var whole []string
		for _, u := range r.Unverified {
			if u.Field == verifier.FieldEvent {
				whole = append(whole, fmt.Sprintf("%s PCR %d", u.Log, u.PCR))
			}
		}
		if !slices.Equal(whole, []string{"firmware PCR 6"}) {
			t.Errorf("%s: nothing vouches for %s", rule, whole)
		}
	}

	ev.Logs = []verifier.Log{firmware}
	wantRefused(t, verifier.Verify(ev, p), verifier.CheckReplay)
	ev.Logs = []verifier.Log{txt}
	wantRefused(t, verifier.Verify(ev, p), verifier.CheckReplay)
	ev.Logs = []verifier.Log{txt, {Source: "another launch", Raw: logBytes(append([]logEvent{start}, before...))}}
	wantRefused(t, verifier.Verify(ev, p), verifier.CheckReplay)
}

func TestSixteenLogsAreTaken(t *testing.T) {
	t.Parallel()
	f := newForgery(t)
	ev, p := f.evidence(t), rawPolicy(f.known, f.nonce)
	ev.Logs = slicesOf(ev.Logs[0], 16)
	if r := verifier.Verify(ev, p); r.Verdict != verifier.Trusted {
		t.Error(r.Explain())
	}
	ev.Logs = slicesOf(ev.Logs[0], 17)
	wantOnly(t, verifier.Verify(ev, p), verifier.CheckLogs)
}

// TestACopyOfALogHasToBeBoundToo: that it is passed over afterwards does not let in what the quote does not bind.
func TestACopyOfALogHasToBeBoundToo(t *testing.T) {
	t.Parallel()
	f := newForgery(t)
	raw := logBytes(f.events)
	digest, exporter := digestOf(raw), bytes.Repeat([]byte{7}, 32)

	for rule, tc := range map[string]struct {
		bound []string
		good  bool
	}{"both bound": {[]string{"txt", "copy"}, true}, "one bound": {[]string{"txt"}, false}} {
		binding := &verifier.Binding{Exporter: exporter}
		for _, source := range tc.bound {
			binding.Logs = append(binding.Logs, verifier.BoundLog{Source: source, SHA256: digest})
		}
		value := boundValue(f.nonce, nameOf(f.public), binding)
		f.attest = func(a *tpm2.TPMSAttest) { a.ExtraData.Buffer = value }
		ev := f.evidence(t)
		ev.Binding = binding
		ev.Logs = append(ev.Logs, verifier.Log{Source: "copy", Raw: raw})
		p := rawPolicy(f.known, f.nonce)
		p.BindMode = verifier.BindBound
		if r := verifier.Verify(ev, p); !tc.good {
			wantOnly(t, r, verifier.CheckNonce)
		} else if r.Verdict != verifier.Trusted {
			t.Errorf("%s: %s", rule, r.Explain())
		}
	}
}
