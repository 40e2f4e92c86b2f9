package verifier_test

import (
	"bytes"
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
