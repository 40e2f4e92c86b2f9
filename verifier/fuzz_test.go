package verifier_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/trustpool/trustpool/verifier"
)

// FuzzVerify hands evidence of any bytes to the checks. Nothing may panic, and nothing but the good evidence itself, or what nothing signs in its log, may be
// trusted.
func FuzzVerify(f *testing.F) {
	good := newForgery(f)
	ev := good.evidence(f)
	values := bytes.Join([][]byte{ev.PCRs[0].Values[0].Value, ev.PCRs[0].Values[1].Value, ev.PCRs[0].Values[2].Value}, nil)
	f.Add(ev.Quoted, ev.Signature, ev.AKPublic, values, ev.Logs[0].Raw)
	f.Add(ev.Quoted, ev.Signature, ev.AKPublic, bytes.Repeat([]byte{0xFF}, 96), []byte{})
	f.Add(ev.Quoted[:20], ev.Signature[:3], ev.AKPublic[:10], []byte{}, ev.Logs[0].Raw[:70])
	f.Add(append(ev.Quoted, 0), append(ev.Signature, 0), append(ev.AKPublic, 0), append(values, 0), append(ev.Logs[0].Raw, 0))

	f.Fuzz(func(t *testing.T, quoted, signature, public, values, log []byte) {
		got := verifier.Evidence{
			Quoted: quoted, Signature: signature, AKPublic: public, Nonce: good.nonce, Logs: []verifier.Log{{Source: string(public), Raw: log}},
			PCRs: []verifier.PCRBank{{Alg: ev.PCRs[0].Alg}},
		}
		for i := 0; i < 3 && len(values) >= 32; i, values = i+1, values[32:] {
			got.PCRs[0].Values = append(got.PCRs[0].Values, verifier.PCRValue{Index: 17 + i, Value: values[:32]})
		}

		r := verifier.Verify(got, rawPolicy(good.known, good.nonce))
		if same := bytes.Equal(quoted, ev.Quoted) && bytes.Equal(public, ev.AKPublic); r.Verdict == verifier.Trusted && !same {
			t.Errorf("forged evidence is trusted: %s", r.Explain())
		}
		if _, err := json.Marshal(r); err != nil {
			t.Error(err)
		}
		_ = r.Explain()
		// The evidence's own key, so that the checks behind the pin are reached too.
		_, _ = verifier.Learn(got, rawPolicy(verifier.KnownGood{}, good.nonce))
	})
}

// FuzzParseKnownGood wants what was read to be read again from what is written of it.
func FuzzParseKnownGood(f *testing.F) {
	text, err := newForgery(f).known.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"format":"trustpool-known-good/1","ak":[],"pcrs":[{"bank":"sha384","pcr":1,"values":["00"],"values":[]}]}`))
	f.Add([]byte(`{"format":"trustpool-known-good/1","pcrs":[{"bank":"sha256","pcr":17,"events":[{"type":"0x402","digests":[]}]}]}`))
	f.Add([]byte(`[[[[[[[[[[`))

	f.Fuzz(func(t *testing.T, text []byte) {
		known, err := verifier.ParseKnownGood(text)
		if err != nil {
			return
		}
		written, err := known.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		again, err := verifier.ParseKnownGood(written)
		if err != nil {
			t.Fatalf("does not read what it wrote: %v\n%s", err, written)
		}
		if diff := cmp.Diff(known, again, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("(-read +read again)\n%s", diff)
		}
	})
}
