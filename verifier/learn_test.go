package verifier_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/eventlog"
)

func TestLearnedIsWhatTheNodeMeasured(t *testing.T) {
	t.Parallel()
	f := newForgery(t)
	type slot struct{ typ, description, digest string }
	var got []slot
	for _, s := range f.known.PCRs[0].Events {
		got = append(got, slot{s.Type.String(), s.Description, s.Digests[0].String()})
	}
	want := []slot{
		{"EVTYPE_HASH_START", "EVTYPE_HASH_START", sum("SINIT and EDX")},
		{"EVTYPE_MLE_HASH", "EVTYPE_MLE_HASH", sum("tboot")},
		{"EVTYPE_TB_MEASUREMENT", "tboot policy", sum("policy")},
		{"EVTYPE_TB_MEASUREMENT", "tboot module 0, hypervisor or kernel", sum("hypervisor")},
		{"EVTYPE_TB_MEASUREMENT", "tboot module 1", sum("initrd")},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(slot{})); diff != "" {
		t.Errorf("PCR 17 (-want +got)\n%s", diff)
	}
	if e := f.known.PCRs[2]; e.PCR != 19 || len(e.Events) != 0 || len(e.Values) != 1 || e.Values[0].String() != strings.Repeat("00", 32) {
		t.Errorf("PCR 19, which has no events: %+v", e)
	}
	if diff := cmp.Diff([]verifier.Selection{sha256PCRs(17, 18, 19)}, f.known.Selection()); diff != "" {
		t.Errorf("selection (-want +got)\n%s", diff)
	}
}

func TestOnlyGoodEvidenceIsLearned(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		rule, want string
		forge      func(*forgery)
		alter      func(*verifier.Evidence, *verifier.Policy)
	}{
		{rule: "without the caller's nonce", want: "freshness:", alter: func(_ *verifier.Evidence, p *verifier.Policy) { p.Nonce = nil }},
		{rule: "without a bind mode", want: "policy:", alter: func(_ *verifier.Evidence, p *verifier.Policy) { p.BindMode = 0 }},
		{rule: "with another nonce", want: "nonce:", alter: func(_ *verifier.Evidence, p *verifier.Policy) { p.Nonce = make([]byte, 32) }},
		{rule: "with a broken signature", want: "signature:", alter: func(ev *verifier.Evidence, _ *verifier.Policy) { ev.Signature[20] ^= 1 }},
		{rule: "with another value", want: "pcr_digest:", alter: func(ev *verifier.Evidence, _ *verifier.Policy) {
			ev.PCRs[0].Values[0].Value[0] ^= 1
		}},
		{rule: "of fewer PCRs", want: "selection:", alter: func(_ *verifier.Evidence, p *verifier.Policy) {
			p.Selection = []verifier.Selection{sha256PCRs(17, 18)}
		}},
		{rule: "without a log", want: "replay:", alter: func(ev *verifier.Evidence, _ *verifier.Policy) { ev.Logs = nil }},
		{rule: "of an unrestricted key", want: "ak_attributes:", forge: func(f *forgery) { f.area = restricted(false) }},
		{rule: "without a launch", want: "launch:", forge: pcr17(0xFF)},
		{rule: "of another key than the pinned one", want: "ak_pinned:", alter: func(_ *verifier.Evidence, p *verifier.Policy) {
			p.KnownGood.AKs = []verifier.AKPin{{Name: make([]byte, 34), Public: []byte("x"), Binding: verifier.BindingFirstUse}}
		}},
		{rule: "of a capped PCR", want: "capped", forge: func(f *forgery) {
			f.events = append(f.events, logEvent{pcr: 18, typ: eventlog.TypeCapValue, data: []byte{1}})
		}},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			t.Parallel()
			f := newForgery(t)
			if tc.forge != nil {
				tc.forge(f)
			}
			ev, p := clone(f.evidence(t)), rawPolicy(verifier.KnownGood{}, f.nonce)
			if tc.alter != nil {
				tc.alter(&ev, &p)
			}
			known, err := verifier.Learn(ev, p)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
			if !known.Empty() {
				t.Errorf("learned %+v", known)
			}
		})
	}
}

func TestLearningAgainKeepsThePin(t *testing.T) {
	t.Parallel()
	f := newForgery(t)
	f.known.AKs[0].Binding = "another"
	again, err := verifier.Learn(f.evidence(t), rawPolicy(verifier.KnownGood{AKs: f.known.AKs}, f.nonce))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(f.known, again); diff != "" {
		t.Errorf("(-first +again)\n%s", diff)
	}
}

func TestLearnedIsIndependentOfTheEvidence(t *testing.T) {
	t.Parallel()
	f := newForgery(t)
	ev := f.evidence(t)
	known := learn(t, ev)
	before, err := known.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	clear(ev.Logs[0].Raw)
	clear(ev.AKPublic)
	clear(ev.PCRs[0].Values[2].Value)
	after, err := known.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(before), string(after)); diff != "" {
		t.Errorf("changed with the evidence (-before +after)\n%s", diff)
	}
}
