package verifier_test

import (
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/eventlog"
)

// TestPCR0IsLearnedWithTheValueThatItBeganWith: no event measures from which locality TPM2_Startup came, so the same events may add up to three values.
func TestPCR0IsLearnedWithTheValueThatItBeganWith(t *testing.T) {
	t.Parallel()
	version := logEvent{typ: eventlog.TypeSCRTMVersion, data: []byte("firmware")}
	booted := func(t *testing.T, locality byte) (verifier.Evidence, *forgery) {
		t.Helper()
		f := newForgery(t)
		f.more = []int{0}
		f.events = append(f.events, logEvent{typ: eventlog.TypeNoAction, data: []byte("StartupLocality\x00" + string(locality))}, version)
		f.pcrs = func(banks []verifier.PCRBank) {
			value := sha256.Sum256(append(append(make([]byte, 31), locality), version.digest()...))
			banks[0].Values[0].Value = value[:]
		}
		return f.evidence(t), f
	}

	ev, f := booted(t, 0)
	p := rawPolicy(verifier.KnownGood{}, f.nonce, sha256PCRs(0, 17, 18, 19))
	known, err := verifier.Learn(ev, p)
	if err != nil {
		t.Fatal(err)
	}
	if entry := known.PCRs[0]; entry.PCR != 0 || len(entry.Events) > 0 || len(entry.Values) != 1 {
		t.Errorf("learned of PCR 0 is %+v", entry)
	}
	p.KnownGood = known
	if r := verifier.Verify(ev, p); r.Verdict != verifier.Trusted {
		t.Error(r.Explain())
	}
	for _, locality := range []byte{3, 4} {
		ev, _ := booted(t, locality)
		wantOnly(t, verifier.Verify(ev, p), verifier.CheckMeasurements)
	}

	// Events alone would take all three.
	p.KnownGood.PCRs[0] = verifier.KnownPCR{Bank: eventlog.AlgSHA256, Events: []verifier.Slot{{Type: version.typ, Digests: []verifier.Hex{version.digest()}}}}
	wantOnly(t, verifier.Verify(ev, p), verifier.CheckKnownGood)
	text := fmt.Sprintf(`{"format":"trustpool-known-good/1","ak":[],"pcrs":[{"bank":"sha256","pcr":0,"events":[{"type":"0x00000008","digests":["%x"]}]}]}`, version.digest())
	if _, err := verifier.ParseKnownGood([]byte(text)); err == nil {
		t.Error("a file with events of PCR 0 was taken")
	}
}
