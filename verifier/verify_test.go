package verifier_test

import (
	"bytes"
	"crypto"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-attestation/attest"

	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/eventlog"
)

func TestEvidenceOfEachKindOfAKIsTrusted(t *testing.T) {
	t.Parallel()
	for name, kind := range map[string]keyKind{"P-256": p256(), "P-384": p384(), "RSA-2048": rsa2048()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := startNode(t, tpmsim.Trusted, kind)
			known := learn(t, n.evidence(t, newNonce(t), verifier.DefaultSelection()...))
			nonce := newNonce(t)
			ev := n.evidence(t, nonce, verifier.DefaultSelection()...)

			r := verifier.Verify(ev, rawPolicy(known, nonce))
			if r.Verdict != verifier.Trusted {
				t.Fatal(r.Explain())
			}
			if r.EKBinding != verifier.BindingFirstUse || r.Quote == nil || r.Quote.RestartCount == 0 || len(r.Quote.PCRs) != 3 {
				t.Errorf("result lacks what was signed: %+v", r)
			}
			wantPeerAgrees(t, ev, nonce)
		})
	}
}

// wantPeerAgrees has go-attestation check the signature, the nonce and the PCR values of good evidence.
func wantPeerAgrees(t *testing.T, ev verifier.Evidence, nonce []byte) {
	t.Helper()
	ak, err := attest.ParseAKPublic(ev.AKPublic)
	if err != nil {
		t.Fatal(err)
	}
	var pcrs []attest.PCR
	for _, v := range ev.PCRs[0].Values {
		pcrs = append(pcrs, attest.PCR{Index: v.Index, Digest: v.Value, DigestAlg: crypto.SHA256})
	}
	if err := ak.Verify(attest.Quote{Quote: ev.Quoted, Signature: ev.Signature}, pcrs, nonce); err != nil {
		t.Errorf("go-attestation does not agree: %v", err)
	}
}

func TestSeveralBanksAreJudgedTogether(t *testing.T) {
	t.Parallel()
	selection := []verifier.Selection{sha256PCRs(17, 18, 19), {Alg: eventlog.AlgSHA384, PCRs: []int{19, 18, 17}}}
	n := startNode(t, tpmsim.Trusted, p256())
	ev := n.evidence(t, newNonce(t), sha256PCRs(17, 18, 19), verifier.Selection{Alg: eventlog.AlgSHA384, PCRs: []int{17, 18, 19}})
	known := learn(t, ev, selection...)

	if r := verifier.Verify(ev, rawPolicy(known, ev.Nonce, selection...)); r.Verdict != verifier.Trusted {
		t.Fatal(r.Explain())
	}
	ev.PCRs[0], ev.PCRs[1] = ev.PCRs[1], ev.PCRs[0]
	wantRefused(t, verifier.Verify(ev, rawPolicy(known, ev.Nonce, selection...)), verifier.CheckPCRValues)
	ev.PCRs[0], ev.PCRs[1] = ev.PCRs[1], ev.PCRs[0]
	wantRefused(t, verifier.Verify(ev, rawPolicy(known, ev.Nonce, selection[1], selection[0])), verifier.CheckSelection)
	wantRefused(t, verifier.Verify(ev, rawPolicy(known, ev.Nonce, selection[0])), verifier.CheckSelection)
}

func TestOtherHypervisorIsRefusedByItsEvent(t *testing.T) {
	t.Parallel()
	n := startNode(t, tpmsim.Trusted, p256())
	known := learn(t, n.evidence(t, newNonce(t), verifier.DefaultSelection()...))
	if err := n.Reboot(t.Context(), tpmsim.OtherHypervisor); err != nil {
		t.Fatal(err)
	}
	n.makeKey(t, p256())
	nonce := newNonce(t)

	r := verifier.Verify(n.evidence(t, nonce, verifier.DefaultSelection()...), rawPolicy(known, nonce))
	wantOnly(t, r, verifier.CheckMeasurements)
	if len(r.Differences) != 1 || r.Differences[0].Kind != verifier.Changed || r.Differences[0].PCR != 17 || r.Differences[0].Bank != "sha256" {
		t.Fatalf("want one changed event of PCR 17, got %+v", r.Differences)
	}
	if text := r.Explain(); !strings.Contains(text, "PCR 17, event ") || !strings.Contains(text, "tboot module 0") {
		t.Errorf("explanation does not name the event:\n%s", text)
	}
	t.Log(r.Explain())
}

func TestNoLaunchIsRefused(t *testing.T) {
	t.Parallel()
	n := startNode(t, tpmsim.Trusted, p256())
	known := learn(t, n.evidence(t, newNonce(t), verifier.DefaultSelection()...))
	launched := n.EventLog()
	if err := n.Reboot(t.Context(), tpmsim.NoLaunch); err != nil {
		t.Fatal(err)
	}
	n.makeKey(t, p256())
	nonce := newNonce(t)
	ev := n.evidence(t, nonce, verifier.DefaultSelection()...)

	for name, logs := range map[string][]verifier.Log{
		"without a log":           nil,
		"with the log of another": {{Source: "txt", Raw: launched}},
	} {
		ev.Logs = logs
		r := verifier.Verify(ev, rawPolicy(known, nonce))
		wantOnly(t, r, verifier.CheckLaunch)
		if !strings.Contains(r.String(), "no measured launch: PCR 17 is all FF") {
			t.Errorf("%s: %s", name, r)
		}
		if _, err := verifier.Learn(ev, rawPolicy(verifier.KnownGood{}, nonce)); err == nil {
			t.Errorf("%s: learned from a node without a launch", name)
		}
	}
}

func TestWithoutTheCallersNonceNothingIsTrusted(t *testing.T) {
	t.Parallel()
	f := newForgery(t)
	for name, nonce := range map[string][]byte{"saved with its nonce": f.nonce, "saved without a nonce": nil} {
		ev := f.evidence(t)
		ev.Nonce = nonce
		r := verifier.Verify(ev, rawPolicy(f.known, nil))
		if r.Verdict != verifier.FreshnessNotChecked || r.String() != "authentic, freshness not checked" {
			t.Errorf("%s: %s", name, r.Explain())
		}
		if r.Check(verifier.CheckFreshness).Outcome != verifier.NotAsked {
			t.Errorf("%s: freshness is %s", name, r.Check(verifier.CheckFreshness).Outcome)
		}
	}
}

func TestANonceMayBeAsShortAsSixteenBytes(t *testing.T) {
	t.Parallel()
	for n, good := range map[int]bool{15: false, 16: true} {
		f := newForgery(t)
		f.nonce = bytes.Repeat([]byte{'n'}, n)
		r := verifier.Verify(f.evidence(t), rawPolicy(f.known, f.nonce))
		if !good {
			wantOnly(t, r, verifier.CheckFreshness)
		} else if r.Verdict != verifier.Trusted || r.Check(verifier.CheckSelection).Detail != "" {
			t.Errorf("%d bytes: %s, %+v", n, r.Explain(), r.Check(verifier.CheckSelection))
		}
		e := verifier.Enroll(softwareIdentity(t, f.nonce), firstUse(f.nonce))
		for _, name := range []verifier.CheckName{verifier.CheckEnrollPolicy, verifier.CheckAKCertifyNonce} {
			if (e.Check(name).Outcome == verifier.Passed) != good {
				t.Errorf("%d bytes: %s %s", n, name, e.Check(name).Outcome)
			}
		}
	}
}

func TestZeroValuesRefuse(t *testing.T) {
	t.Parallel()
	var r verifier.Result
	if r.Verdict != verifier.Refused || r.Check(verifier.CheckSignature).Outcome != verifier.Failed || !strings.HasPrefix(r.String(), "refused") {
		t.Errorf("the zero result does not refuse: %s", r)
	}
	f := newForgery(t)
	if r := verifier.Verify(f.evidence(t), verifier.Policy{}); r.Verdict != verifier.CouldNotJudge {
		t.Errorf("the zero policy gives %s", r)
	}
	if r := verifier.Verify(verifier.Evidence{}, rawPolicy(f.known, f.nonce)); r.Verdict != verifier.Refused {
		t.Errorf("the zero evidence gives %s", r)
	}
	if r := verifier.Verify(f.evidence(t), rawPolicy(verifier.KnownGood{}, f.nonce)); r.Verdict != verifier.Refused ||
		!strings.Contains(r.Check(verifier.CheckKnownGood).Detail, "an empty policy trusts nothing") {
		t.Errorf("the empty known-good set gives %s", r)
	}
}

func TestResultListsEveryCheckOnce(t *testing.T) {
	t.Parallel()
	want := []verifier.CheckName{
		verifier.CheckPolicy, verifier.CheckQuotedStructure, verifier.CheckSignatureStructure, verifier.CheckAKStructure, verifier.CheckMagic,
		verifier.CheckType, verifier.CheckAKPinned, verifier.CheckAKAttributes, verifier.CheckAKAlgorithm, verifier.CheckSignature,
		verifier.CheckQualifiedSigner, verifier.CheckNonce, verifier.CheckSelection, verifier.CheckPCRValues, verifier.CheckPCRDigest,
		verifier.CheckLaunch, verifier.CheckLogs, verifier.CheckReplay, verifier.CheckKnownGood, verifier.CheckMeasurements, verifier.CheckFreshness,
	}
	f := newForgery(t)
	for _, ev := range []verifier.Evidence{{}, f.evidence(t)} {
		r := verifier.Verify(ev, rawPolicy(f.known, f.nonce))
		if len(r.Checks) != len(want) {
			t.Fatalf("%d checks, want %d", len(r.Checks), len(want))
		}
		for i, c := range r.Checks {
			if c.Name != want[i] {
				t.Errorf("check %d is %s, want %s", i, c.Name, want[i])
			}
		}
	}
}

func TestResultIsJSONWithNamesAndHex(t *testing.T) {
	t.Parallel()
	f := newForgery(t)
	ev := f.evidence(t)
	ev.Hints = map[string]string{"boot_id": "x"}
	f.known.PCRs[0].Events[1].Digests[0] = make(verifier.Hex, 32)
	text, err := json.Marshal(verifier.Verify(ev, rawPolicy(f.known, f.nonce)))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"verdict":"refused"`, `{"name":"policy","outcome":"passed"}`, `"name":"measurements","outcome":"failed"`, `"kind":"changed"`,
		`"expected":["` + strings.Repeat("00", 32) + `"]`, `"unsigned_hints":{"boot_id":"x"}`, `"ek_binding":"first_use"`, `"field":"header"`,
		`"extra_data":"` + verifier.Hex(f.nonce).String() + `"`,
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
}
