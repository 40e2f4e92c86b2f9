package verifier_test

import (
	"fmt"
	"testing"

	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/verifier"
)

// good is evidence of a real launch, with the policy that trusts it.
func good(t *testing.T, kind keyKind) (verifier.Evidence, verifier.Policy) {
	t.Helper()
	n := startNode(t, tpmsim.Trusted, kind)
	ev := n.evidence(t, newNonce(t), verifier.DefaultSelection()...)
	p := rawPolicy(learn(t, ev), ev.Nonce)
	if r := verifier.Verify(ev, p); r.Verdict != verifier.Trusted {
		t.Fatal(r.Explain())
	}
	return ev, p
}

// flip is the bit of byte i that is turned over: another one in each, so that every bit of a field of several bytes gets its turn somewhere.
func flip(i int) byte { return 1 << (i % 8) }

// refusedBy tells whether one of the checks failed, and nothing is trusted.
func refusedBy(r verifier.Result, names ...verifier.CheckName) bool {
	for _, name := range names {
		if r.Verdict == verifier.Refused && r.Check(name).Outcome == verifier.Failed {
			return true
		}
	}
	return false
}

func TestEveryFlippedByteOfQuotedIsRefused(t *testing.T) {
	t.Parallel()
	for name, kind := range map[string]keyKind{"P-256": p256(), "P-384": p384(), "RSA-2048": rsa2048()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ev, p := good(t, kind)
			for i := range ev.Quoted {
				bad := clone(ev)
				bad.Quoted[i] ^= flip(i)
				if r := verifier.Verify(bad, p); !refusedBy(r, verifier.CheckSignature, verifier.CheckQuotedStructure) {
					t.Fatalf("byte %d: %s", i, r.Explain())
				}
			}
		})
	}
}

func TestEveryFlippedByteOfTheSignatureIsRefused(t *testing.T) {
	t.Parallel()
	for name, kind := range map[string]keyKind{"P-256": p256(), "P-384": p384(), "RSA-2048": rsa2048()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ev, p := good(t, kind)
			for i := range ev.Signature {
				bad := clone(ev)
				bad.Signature[i] ^= flip(i)
				if r := verifier.Verify(bad, p); !refusedBy(r, verifier.CheckSignature, verifier.CheckSignatureStructure) {
					t.Fatalf("byte %d: %s", i, r.Explain())
				}
			}
		})
	}
}

func TestEveryFlippedByteOfTheAKIsRefused(t *testing.T) {
	t.Parallel()
	ev, p := good(t, p256())
	for i := range ev.AKPublic {
		bad := clone(ev)
		bad.AKPublic[i] ^= flip(i)
		if r := verifier.Verify(bad, p); !refusedBy(r, verifier.CheckAKPinned, verifier.CheckAKStructure) {
			t.Fatalf("byte %d: %s", i, r.Explain())
		}
	}
}

func TestEveryFlippedByteOfAPCRValueIsRefused(t *testing.T) {
	t.Parallel()
	ev, p := good(t, p256())
	for v := range ev.PCRs[0].Values {
		for i := range ev.PCRs[0].Values[v].Value {
			bad := clone(ev)
			bad.PCRs[0].Values[v].Value[i] ^= flip(i)
			if r := verifier.Verify(bad, p); !refusedBy(r, verifier.CheckPCRDigest) || len(r.Differences) > 0 {
				t.Fatalf("value %d, byte %d: %s", v, i, r.Explain())
			}
		}
	}
}

func TestDroppedFieldsAreRefused(t *testing.T) {
	t.Parallel()
	ev, p := good(t, p256())
	for _, tc := range []struct {
		rule  string
		check verifier.CheckName
		drop  func(*verifier.Evidence)
	}{
		{"quoted", verifier.CheckQuotedStructure, func(ev *verifier.Evidence) { ev.Quoted = nil }},
		{"signature", verifier.CheckSignatureStructure, func(ev *verifier.Evidence) { ev.Signature = nil }},
		{"AK", verifier.CheckAKStructure, func(ev *verifier.Evidence) { ev.AKPublic = nil }},
		{"PCRs", verifier.CheckPCRValues, func(ev *verifier.Evidence) { ev.PCRs = nil }},
		{"values", verifier.CheckPCRValues, func(ev *verifier.Evidence) { ev.PCRs[0].Values = nil }},
		{"one value", verifier.CheckPCRValues, func(ev *verifier.Evidence) { ev.PCRs[0].Values[1].Value = nil }},
		{"logs", verifier.CheckReplay, func(ev *verifier.Evidence) { ev.Logs = nil }},
		{"log's bytes", verifier.CheckLogs, func(ev *verifier.Evidence) { ev.Logs[0].Raw = nil }},
		{"end of the log", verifier.CheckLogs, func(ev *verifier.Evidence) { ev.Logs[0].Raw = ev.Logs[0].Raw[:len(ev.Logs[0].Raw)-1] }},
	} {
		bad := clone(ev)
		tc.drop(&bad)
		t.Run(tc.rule, func(t *testing.T) {
			t.Parallel()
			wantRefused(t, verifier.Verify(bad, p), tc.check)
		})
	}

	// What the collector says it asked with is not needed: the caller knows better.
	bad := clone(ev)
	bad.Nonce = nil
	if r := verifier.Verify(bad, p); r.Verdict != verifier.Trusted {
		t.Errorf("without the collector's nonce: %s", r)
	}
}

func TestPartsOfOtherEvidenceAreRefused(t *testing.T) {
	t.Parallel()
	n := startNode(t, tpmsim.Trusted, p256())
	older := n.evidence(t, newNonce(t), verifier.DefaultSelection()...)
	ev := n.evidence(t, newNonce(t), verifier.DefaultSelection()...)
	p := rawPolicy(learn(t, ev), ev.Nonce)
	stranger, _ := good(t, p256())

	for _, tc := range []struct {
		rule  string
		check verifier.CheckName
		swap  func(*verifier.Evidence)
	}{
		{"older quote, whole", verifier.CheckNonce, func(bad *verifier.Evidence) { *bad = clone(older) }},
		{"older quoted", verifier.CheckSignature, func(bad *verifier.Evidence) { bad.Quoted = older.Quoted }},
		{"older signature", verifier.CheckSignature, func(bad *verifier.Evidence) { bad.Signature = older.Signature }},
		{"older nonce", verifier.CheckNonce, func(bad *verifier.Evidence) { bad.Nonce = older.Nonce }},
		{"another node's evidence", verifier.CheckAKPinned, func(bad *verifier.Evidence) { *bad = clone(stranger) }},
		{"another node's AK", verifier.CheckAKPinned, func(bad *verifier.Evidence) { bad.AKPublic = stranger.AKPublic }},
		{"another node's quote", verifier.CheckSignature, func(bad *verifier.Evidence) {
			bad.Quoted, bad.Signature = stranger.Quoted, stranger.Signature
		}},
		{"PCRs in another order", verifier.CheckPCRValues, func(bad *verifier.Evidence) {
			v := bad.PCRs[0].Values
			v[0], v[2] = v[2], v[0]
		}},
		{"values in another order", verifier.CheckPCRDigest, func(bad *verifier.Evidence) {
			v := bad.PCRs[0].Values
			v[0].Value, v[1].Value = v[1].Value, v[0].Value
		}},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			t.Parallel()
			bad := clone(ev)
			tc.swap(&bad)
			wantRefused(t, verifier.Verify(bad, p), tc.check)
		})
	}
}

func ExampleVerify() {
	// A forgotten field refuses: here the whole policy.
	r := verifier.Verify(verifier.Evidence{}, verifier.Policy{})
	fmt.Println(r)
	// Output: could not judge: policy's bind mode is unspecified: choose bound or raw
}
