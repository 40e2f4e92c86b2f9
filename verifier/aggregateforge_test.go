package verifier_test

import (
	"bytes"
	"testing"

	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/verifier"
)

// These are what somebody may try who sees, or asks for, quotes of an honest agent, and wants one of them to be taken by a caller who was not among those signed together.

// TestANeighboursPlaceIsOfNoUse: who was signed together with others passes his place, or his whole reply, on to somebody else.
func TestANeighboursPlaceIsOfNoUse(t *testing.T) {
	t.Parallel()
	f := newForgery(t)
	ev, p := f.aggregated(t, 5, 13)

	elsewhere := *ev.Binding
	elsewhere.Exporter = bytes.Repeat([]byte{8}, 32)
	onAnother := ev
	onAnother.Binding = &elsewhere
	wantOnly(t, verifier.Verify(onAnother, p), verifier.CheckNonce)

	otherLogs := *ev.Binding
	otherLogs.Logs = append(otherLogs.Logs[:1:1], verifier.BoundLog{Source: "firmware"})
	withMore := ev
	withMore.Binding = &otherLogs
	wantOnly(t, verifier.Verify(withMore, p), verifier.CheckNonce)
}

// TestARootThatIsOlderThanTheNonceIsRefused whatever salt and place come with it.
func TestARootThatIsOlderThanTheNonceIsRefused(t *testing.T) {
	t.Parallel()
	f := newForgery(t)
	old, p := f.aggregated(t, 5, 13)
	p.Nonce = []byte("a nonce that was made afterwards")
	old.Nonce = p.Nonce
	wantOnly(t, verifier.Verify(old, p), verifier.CheckNonce)

	// The forger computes a leaf for the new nonce and hangs it into the old tree.
	f.nonce = p.Nonce
	_, mine := crowd(f.bound(), 5, 13)
	mine.Proof = old.Aggregation.Proof
	old.Aggregation = mine
	wantOnly(t, verifier.Verify(old, p), verifier.CheckNonce)
}

// TestANodeIsNoLeafAndALeafIsNoNode: the tree is told with another size, so that the place of an inner node becomes that of a leaf, or the other way round.
func TestANodeIsNoLeafAndALeafIsNoNode(t *testing.T) {
	t.Parallel()
	f := newForgery(t)
	tree, a := crowd(f.bound(), 0, 4)
	subtree := leaves{tree[:2].root(), tree[2:].root()}
	if !bytes.Equal(subtree.root(), tree.root()) {
		t.Fatal("the two subtrees as leaves have another root")
	}

	// The root is the same one: only the size, which is signed, tells that its children are no leaves.
	ev, p := f.signs(t, tree.extraData())
	ev.Aggregation = &verifier.Aggregation{Salt: a.Salt, Index: 0, Size: 2, Proof: subtree.path(0)}
	wantOnly(t, verifier.Verify(ev, p), verifier.CheckNonce)

	// An honest tree of two, told to be one of four: the caller's leaf would hang below a leaf.
	two := leaves{digestOf([]byte{1}, tree[0], tree[1]), tree[2]}
	ev, p = f.signs(t, two.extraData())
	ev.Aggregation = &verifier.Aggregation{Salt: a.Salt, Index: 0, Size: 3, Proof: leaves{tree[0], tree[1], tree[2]}.path(0)}
	wantOnly(t, verifier.Verify(ev, p), verifier.CheckNonce)

	// A tree whose leaves and nodes are hashed alike is not ours, though its signer means it well.
	alike := leaves{digestOf(a.Salt, f.bound()), tree[1]}
	ev, p = f.signs(t, alike.extraData())
	ev.Aggregation = &verifier.Aggregation{Salt: a.Salt, Index: 0, Size: 2, Proof: alike.path(0)}
	wantOnly(t, verifier.Verify(ev, p), verifier.CheckNonce)
}

// TestTheSaltGivesNoFreedom: bytes can't be moved between the salt and what follows it.
func TestTheSaltGivesNoFreedom(t *testing.T) {
	t.Parallel()
	f := newForgery(t)
	for name, leaf := range map[string][]byte{
		"no salt":            digestOf([]byte{0}, f.bound()),
		"shorter salt":       digestOf([]byte{0}, make([]byte, 31), f.bound()),
		"salt behind":        digestOf([]byte{0}, f.bound(), make([]byte, 32)),
		"salt of zeros only": digestOf([]byte{0}, make([]byte, 32), f.bound()),
	} {
		tree := leaves{leaf, digestOf([]byte("another"))}
		for _, length := range []int{0, 31, 32} {
			ev, p := f.signs(t, tree.extraData())
			ev.Aggregation = &verifier.Aggregation{Salt: make([]byte, length), Index: 0, Size: 2, Proof: tree.path(0)}
			good := name == "salt of zeros only" && length == 32 // the agent's fault alone: it is no harm to this caller
			if r := verifier.Verify(ev, p); (r.Verdict == verifier.Trusted) != good {
				t.Errorf("%s, told to have %d bytes: %s", name, length, r.Explain())
			}
		}
	}
}

// TestARootSignedByAnotherAKIsRefused, though it is of the same TPM, its key is pinned too, and the tree holds the caller's value for the key that was asked.
func TestARootSignedByAnotherAKIsRefused(t *testing.T) {
	t.Parallel()
	n, nonce := startNode(t, tpmsim.Trusted, p256()), newNonce(t)
	known := learn(t, n.evidence(t, nonce, verifier.DefaultSelection()...))
	asked := n.key.Name.Buffer
	n.makeKey(t, rsa2048())
	known.AKs = append(known.AKs, learn(t, n.evidence(t, nonce, verifier.DefaultSelection()...)).AKs...)

	binding := bindingOf([]verifier.Log{{Source: "txt", Raw: n.EventLog()}})
	p := verifier.Policy{Nonce: nonce, BindMode: verifier.BindBound, KnownGood: known}
	for name, good := range map[string]bool{string(asked): false, string(n.key.Name.Buffer): true} {
		tree, a := crowd(boundValue(nonce, []byte(name), binding), 1, 3)
		ev := n.evidence(t, tree.extraData(), verifier.DefaultSelection()...)
		ev.Nonce, ev.Binding, ev.Aggregation = nonce, binding, a
		if r := verifier.Verify(ev, p); !good {
			wantOnly(t, r, verifier.CheckNonce)
		} else if r.Verdict != verifier.Trusted {
			t.Error(r.Explain())
		}
	}
}

// TestPCRsOfAnAggregateAreTheSignedOnes: those signed together share the quote, so each one's selection is judged as ever.
func TestPCRsOfAnAggregateAreTheSignedOnes(t *testing.T) {
	t.Parallel()
	ev, p := newForgery(t).aggregated(t, 5, 13)
	p.Selection = []verifier.Selection{sha256PCRs(17, 18)}
	wantRefused(t, verifier.Verify(ev, p), verifier.CheckSelection)
}
