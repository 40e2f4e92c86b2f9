package verifier_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/verifier"
)

// digestOf is the SHA-256 of the parts.
func digestOf(parts ...[]byte) []byte {
	digest := sha256.Sum256(bytes.Join(parts, nil))
	return digest[:]
}

// boundValue is what the contract has signed for one caller.
func boundValue(nonce, akName []byte, b *verifier.Binding) []byte {
	u16 := func(n int) []byte { return binary.BigEndian.AppendUint16(nil, uint16(n)) }
	text := []byte("trustpool-bound-v1\x00")
	for _, p := range [][]byte{nonce, b.Exporter, akName} {
		text = append(append(text, u16(len(p))...), p...)
	}
	text = append(text, u16(len(b.Logs))...)
	for _, l := range b.Logs {
		text = append(append(append(text, u16(len(l.Source))...), l.Source...), l.SHA256...)
	}
	return append([]byte{0x7B, 1}, digestOf(text)...)
}

// leaves are those of a tree, by their hashes.
type leaves [][]byte

// split is the largest power of two below the number of leaves: RFC 9162, 2.1.1.
func (l leaves) split() (left, right leaves) {
	k := 1
	for 2*k < len(l) {
		k *= 2
	}
	return l[:k], l[k:]
}

// root is MTH of RFC 9162, 2.1.1.
func (l leaves) root() []byte {
	if len(l) == 1 {
		return l[0]
	}
	left, right := l.split()
	return digestOf([]byte{1}, left.root(), right.root())
}

// path is PATH of RFC 9162, 2.1.3.1.
func (l leaves) path(index int) [][]byte {
	if len(l) == 1 {
		return nil
	}
	left, right := l.split()
	if index < len(left) {
		return append(left.path(index), right.root())
	}
	return append(right.path(index-len(left)), left.root())
}

// extraData is what is signed for the tree.
func (l leaves) extraData() []byte {
	size := binary.BigEndian.AppendUint32(nil, uint32(len(l)))
	return append([]byte{0x7B, 2}, digestOf([]byte("trustpool-aggregate-v1\x00"), size, l.root())...)
}

// TestTheContractsValuesFollowFromItsText computes the values that the contract names in the way of RFC 9162, 2.1.1 and 2.1.3.1, from the root downwards.
func TestTheContractsValuesFollowFromItsText(t *testing.T) {
	t.Parallel()
	var all leaves
	for i := range byte(5) {
		value := append([]byte{0x7B, 0x01}, bytes.Repeat([]byte{0xA0 + i}, 32)...)
		all = append(all, digestOf([]byte{0}, bytes.Repeat([]byte{0x10 + i}, 32), value))
	}
	for what, tc := range map[string]struct {
		got  []byte
		want string
	}{
		"leaf hash 0":            {all[0], "68fe7c7039faedc4e527f468360e80f2aca37e975166b1601a358067e3c2cfa4"},
		"extraData of 1":         {all[:1].extraData(), "7b0284a2e077953519fd7fb66cf988df6a2d45040873daf80009e8020785a952d82c"},
		"root of 3":              {all[:3].root(), "c36d0025f81f425b0a12055eb722c5566bf8931ae3af0c7dbe91d79c476f80f7"},
		"extraData of 3":         {all[:3].extraData(), "7b0252ccd46993687adf0c32f98622f0e3947c9ec2a42f64eaad81e43d77352150ae"},
		"proof of 2 of 3":        {bytes.Join(all[:3].path(2), nil), "918cfa53e211b380edd794c40d68f754dfe5adc822a372dc1b28162e6db3deb2"},
		"root of 5":              {all.root(), "237276a6e0fd573aef246b2bf0c234076c001b6668af1f4c5d38a3d7f4a29376"},
		"extraData of 5":         {all.extraData(), "7b02e39354fa0b30390bf7e89d661ebe1d6cb712012504fd4e71a5f4e79e5ebba330"},
		"first of 3 of 2 of 5":   {all.path(2)[0], "a80a6cbb33fb133920ac69b3f5b9f1d480831d258e3b415722c1a192771bba30"},
		"second of 3 of 2 of 5":  {all.path(2)[1], "918cfa53e211b380edd794c40d68f754dfe5adc822a372dc1b28162e6db3deb2"},
		"third of 3 of 2 of 5":   {all.path(2)[2], "3b03f01f05ba8fb338a4888fbd14e63e0d0825abe786979c6c34558919fe6570"},
		"proof of the last of 5": {bytes.Join(all.path(4), nil), "03cf5e1bc0ac2b79a61fd4a268e32a8b29bb5c61543eaadb2053de14f0269cf2"},
	} {
		if got := hex.EncodeToString(tc.got); got != tc.want {
			t.Errorf("%s: got %s, want %s", what, got, tc.want)
		}
	}
}

// crowd is a tree of so many leaves, all strangers' but that of the value at index, and how that one got in.
func crowd(value []byte, index, size int) (leaves, *verifier.Aggregation) {
	salt := digestOf([]byte("salt"), value)
	var l leaves
	for i := range size {
		l = append(l, digestOf([]byte{0}, digestOf([]byte("a stranger's salt"), []byte{byte(i), byte(i >> 8)}), append([]byte{0x7B, 1}, digestOf([]byte{byte(i), byte(i >> 8)})...)))
	}
	l[index] = digestOf([]byte{0}, salt, value)
	return l, &verifier.Aggregation{Salt: salt, Index: uint32(index), Size: uint32(size), Proof: l.path(index)}
}

// bindingOf is what the asking end knows of evidence with these logs.
func bindingOf(logs []verifier.Log) *verifier.Binding {
	b := &verifier.Binding{Exporter: bytes.Repeat([]byte{7}, 32)}
	for _, l := range logs {
		b.Logs = append(b.Logs, verifier.BoundLog{Source: l.Source, SHA256: digestOf(l.Raw)})
	}
	return b
}

// signs makes the forgery sign this extraData, in evidence of a bound challenge, and returns the policy of whoever asked.
func (f *forgery) signs(t testing.TB, extraData []byte) (verifier.Evidence, verifier.Policy) {
	t.Helper()
	f.attest = func(a *tpm2.TPMSAttest) { a.ExtraData.Buffer = extraData }
	ev := f.evidence(t)
	ev.Binding = bindingOf(ev.Logs)
	return ev, verifier.Policy{Nonce: f.nonce, BindMode: verifier.BindBound, KnownGood: f.known}
}

// bound is the value that the forgery has to sign for the one who asks.
func (f *forgery) bound() []byte {
	return boundValue(f.nonce, nameOf(f.public), bindingOf([]verifier.Log{{Source: "txt", Raw: logBytes(f.events)}}))
}

// aggregated is evidence of the forgery, one of so many.
func (f *forgery) aggregated(t testing.TB, index, size int) (verifier.Evidence, verifier.Policy) {
	t.Helper()
	tree, a := crowd(f.bound(), index, size)
	ev, p := f.signs(t, tree.extraData())
	ev.Aggregation = a
	return ev, p
}

func TestAQuoteSignedTogetherWithOthersIsTrusted(t *testing.T) {
	t.Parallel()
	f := newForgery(t)
	for _, at := range [][2]int{{0, 1}, {0, 2}, {1, 2}, {2, 3}, {12, 13}, {100, 256}, {1023, 1024}} {
		ev, p := f.aggregated(t, at[0], at[1])
		r := verifier.Verify(ev, p)
		want := verifier.Aggregated{Index: uint32(at[0]), Size: uint32(at[1])}
		if r.Verdict != verifier.Trusted || r.Aggregated == nil || *r.Aggregated != want {
			t.Errorf("%v: %+v\n%s", at, r.Aggregated, r.Explain())
		}
		if said := r.Check(verifier.CheckNonce).Detail; said != "the nonce that was asked with is signed, "+want.String() {
			t.Errorf("%v: %s", at, said)
		}
	}
}

func TestHowManyWereSignedTogetherIsToldInWords(t *testing.T) {
	t.Parallel()
	for size, want := range map[uint32]string{1: "alone, in an aggregate of one", 2: "together with 1 other", 13: "together with 12 others"} {
		if got := (verifier.Aggregated{Size: size}).String(); got != want {
			t.Errorf("%d: %s", size, got)
		}
	}
}

// TestARealTPMsQuoteOfATree: with each kind of key, and the tree's extraData fits any TPM.
func TestARealTPMsQuoteOfATree(t *testing.T) {
	t.Parallel()
	for name, kind := range map[string]keyKind{"P-256": p256(), "P-384": p384(), "RSA-2048": rsa2048()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n, nonce := startNode(t, tpmsim.Trusted, kind), newNonce(t)
			known := learn(t, n.evidence(t, nonce, verifier.DefaultSelection()...))
			binding := bindingOf([]verifier.Log{{Source: "txt", Raw: n.EventLog()}})
			tree, a := crowd(boundValue(nonce, n.key.Name.Buffer, binding), 3, 7)

			ev := n.evidence(t, tree.extraData(), verifier.DefaultSelection()...)
			ev.Nonce, ev.Binding, ev.Aggregation = nonce, binding, a
			p := verifier.Policy{Nonce: nonce, BindMode: verifier.BindBound, KnownGood: known}
			if r := verifier.Verify(ev, p); r.Verdict != verifier.Trusted {
				t.Error(r.Explain())
			}
		})
	}
}

// TestAnAggregationThatIsNotTheSignedOneIsRefused changes what the node says of it, which nothing signs by itself.
func TestAnAggregationThatIsNotTheSignedOneIsRefused(t *testing.T) {
	t.Parallel()
	f := newForgery(t)
	const relayed = "TLS ends before the agent, or the quote was relayed: none of those signed together"
	for rule, tc := range map[string]struct {
		change func(*verifier.Aggregation)
		want   string
	}{
		"no salt":             {func(a *verifier.Aggregation) { a.Salt = nil }, "salt has 0 bytes"},
		"salt cut":            {func(a *verifier.Aggregation) { a.Salt = a.Salt[:31] }, "salt has 31 bytes"},
		"salt longer":         {func(a *verifier.Aggregation) { a.Salt = append(a.Salt, 0) }, "salt has 33 bytes"},
		"size 0":              {func(a *verifier.Aggregation) { a.Index, a.Size, a.Proof = 0, 0, nil }, "index is 0 of 0"},
		"size 1":              {func(a *verifier.Aggregation) { a.Index, a.Size, a.Proof = 0, 1, nil }, relayed},
		"size above 1024":     {func(a *verifier.Aggregation) { a.Size = 1025 }, "of 1025 quotes, more than 1024"},
		"size of all bits":    {func(a *verifier.Aggregation) { a.Size = 1<<32 - 1 }, "more than 1024"},
		"index is the size":   {func(a *verifier.Aggregation) { a.Index = 13 }, "index is 13 of 13"},
		"index of all bits":   {func(a *verifier.Aggregation) { a.Index = 1<<32 - 1 }, "index is 4294967295 of 13"},
		"index one less":      {func(a *verifier.Aggregation) { a.Index-- }, relayed},
		"index one more":      {func(a *verifier.Aggregation) { a.Index++ }, relayed},
		"index at the border": {func(a *verifier.Aggregation) { a.Index = 12 }, "too many"},
		"size one more":       {func(a *verifier.Aggregation) { a.Size++ }, relayed},
		"size one less":       {func(a *verifier.Aggregation) { a.Size-- }, relayed},
		"size of more levels": {func(a *verifier.Aggregation) { a.Size = 17 }, "too few"},
		"size of less levels": {func(a *verifier.Aggregation) { a.Size = 8 }, "too many"},
		"no proof":            {func(a *verifier.Aggregation) { a.Proof = nil }, "too few"},
		"first hash left out": {func(a *verifier.Aggregation) { a.Proof = a.Proof[1:] }, "too few"},
		"last hash left out":  {func(a *verifier.Aggregation) { a.Proof = a.Proof[:3] }, "too few"},
		"hash more":           {func(a *verifier.Aggregation) { a.Proof = append(a.Proof, a.Proof[0]) }, "too many"},
		"two hashes as one": {func(a *verifier.Aggregation) {
			a.Proof = [][]byte{a.Proof[0], slices.Concat(a.Proof[1], a.Proof[2]), a.Proof[3]}
		}, "another size"},
		"hash cut":          {func(a *verifier.Aggregation) { a.Proof[1] = a.Proof[1][:31] }, "another size"},
		"hash longer":       {func(a *verifier.Aggregation) { a.Proof[1] = append(a.Proof[1], 0) }, "another size"},
		"hash empty":        {func(a *verifier.Aggregation) { a.Proof[1] = nil }, "another size"},
		"hashes swapped":    {func(a *verifier.Aggregation) { a.Proof[1], a.Proof[2] = a.Proof[2], a.Proof[1] }, relayed},
		"proof upside down": {func(a *verifier.Aggregation) { slices.Reverse(a.Proof) }, relayed},
	} {
		ev, p := f.aggregated(t, 5, 13)
		tc.change(ev.Aggregation)
		r := verifier.Verify(ev, p)
		wantOnly(t, r, verifier.CheckNonce)
		wantFailed(t, r, verifier.CheckNonce, tc.want)
		if t.Failed() || r.Aggregated != nil {
			t.Fatalf("%s: %+v", rule, r.Aggregated)
		}
	}

	ev, p := f.aggregated(t, 5, 13)
	for part, b := range slices.Concat([][]byte{ev.Aggregation.Salt, ev.Binding.Exporter}, ev.Aggregation.Proof) {
		for i := range b {
			b[i] ^= flip(i)
			if r := verifier.Verify(ev, p); !refusedBy(r, verifier.CheckNonce) {
				t.Fatalf("part %d, byte %d: %s", part, i, r.Explain())
			}
			b[i] ^= flip(i)
		}
	}
}

// TestATreeOfMoreLeavesThanAreTakenIsRefused though it was signed.
func TestATreeOfMoreLeavesThanAreTakenIsRefused(t *testing.T) {
	t.Parallel()
	ev, p := newForgery(t).aggregated(t, 1024, 1025)
	r := verifier.Verify(ev, p)
	wantOnly(t, r, verifier.CheckNonce)
	wantFailed(t, r, verifier.CheckNonce, "of 1025 quotes, more than 1024")
}

// TestWhatWasSignedDecidesWhichKindOfQuoteItIs, and not what comes with it.
func TestWhatWasSignedDecidesWhichKindOfQuoteItIs(t *testing.T) {
	t.Parallel()
	f := newForgery(t)
	tree, a := crowd(f.bound(), 5, 13)

	for rule, tc := range map[string]struct {
		signed      []byte
		aggregation *verifier.Aggregation
		mode        verifier.BindMode
		want        string
	}{
		"one's own said to be of a tree":     {f.bound(), a, verifier.BindBound, "signed for the caller alone, but is said to be signed together"},
		"of a tree said to be one's own":     {tree.extraData(), nil, verifier.BindBound, "does not show whether the caller's is among them"},
		"bare nonce said to be of a tree":    {f.nonce, a, verifier.BindBound, "the bare nonce was signed"},
		"raw one said to be of a tree":       {f.nonce, a, verifier.BindRaw, "only bound ones ever are"},
		"of a tree where raw was asked for":  {tree.extraData(), a, verifier.BindRaw, "only bound ones ever are"},
		"of a tree said to be raw":           {tree.extraData(), nil, verifier.BindRaw, "another nonce was signed"},
		"digest of a tree under bound mark":  {append([]byte{0x7B, 1}, tree.extraData()[2:]...), nil, verifier.BindBound, "relayed: it binds another"},
		"bound value under mark of a tree":   {append([]byte{0x7B, 2}, f.bound()[2:]...), a, verifier.BindBound, "relayed: none of those"},
		"tree under bound mark":              {append([]byte{0x7B, 1}, tree.extraData()[2:]...), a, verifier.BindBound, "relayed: none of those"},
		"tree under the mark of TLS keys":    {append([]byte{0x7B, 3}, tree.extraData()[2:]...), a, verifier.BindBound, "relayed: none of those"},
		"tree without mark":                  {tree.extraData()[2:], a, verifier.BindBound, "relayed: none of those"},
		"bare root":                          {append([]byte{0x7B, 2}, tree.root()...), a, verifier.BindBound, "relayed: none of those"},
		"root without size":                  {append([]byte{0x7B, 2}, digestOf([]byte("trustpool-aggregate-v1\x00"), tree.root())...), a, verifier.BindBound, "relayed: none of those"},
		"size of the other byte order":       {append([]byte{0x7B, 2}, digestOf([]byte("trustpool-aggregate-v1\x00"), []byte{13, 0, 0, 0}, tree.root())...), a, verifier.BindBound, "relayed: none of those"},
		"root in the domain of bound quotes": {append([]byte{0x7B, 2}, digestOf([]byte("trustpool-bound-v1\x00"), []byte{0, 0, 0, 13}, tree.root())...), a, verifier.BindBound, "relayed: none of those"},
	} {
		ev, p := f.signs(t, tc.signed)
		ev.Aggregation, p.BindMode = tc.aggregation, tc.mode
		r := verifier.Verify(ev, p)
		wantOnly(t, r, verifier.CheckNonce)
		wantFailed(t, r, verifier.CheckNonce, tc.want)
		if t.Failed() || r.Aggregated != nil {
			t.Fatalf("%s: %+v", rule, r.Aggregated)
		}
	}
}

func TestAPolicyCanForbidAggregation(t *testing.T) {
	t.Parallel()
	f := newForgery(t)
	ev, p := f.aggregated(t, 0, 1)
	p.ForbidAggregation = true
	wantOnly(t, verifier.Verify(ev, p), verifier.CheckNonce)
	wantFailed(t, verifier.Verify(ev, p), verifier.CheckNonce, "which the policy forbids")

	// Also where nothing tells which nonce was signed.
	p.Nonce, ev.Nonce = nil, nil
	wantFailed(t, verifier.Verify(ev, p), verifier.CheckNonce, "which the policy forbids")

	own, p := f.signs(t, f.bound())
	p.ForbidAggregation = true
	if r := verifier.Verify(own, p); r.Verdict != verifier.Trusted || r.Aggregated != nil {
		t.Errorf("%+v\n%s", r.Aggregated, r.Explain())
	}
}

// TestAnAggregateIsAsFreshAsItsNonce: without the caller's own one it is never trusted, and by the collector's alone it still has to fit.
func TestAnAggregateIsAsFreshAsItsNonce(t *testing.T) {
	t.Parallel()
	ev, p := newForgery(t).aggregated(t, 5, 13)
	p.Nonce = nil
	if r := verifier.Verify(ev, p); r.Verdict != verifier.FreshnessNotChecked || r.Aggregated == nil {
		t.Errorf("with the collector's nonce: %+v\n%s", r.Aggregated, r.Explain())
	}
	ev.Aggregation.Index++
	wantOnly(t, verifier.Verify(ev, p), verifier.CheckNonce)
	ev.Nonce = nil
	if r := verifier.Verify(ev, p); r.Verdict != verifier.FreshnessNotChecked || r.Aggregated != nil {
		t.Errorf("without a nonce nothing shows that it is one of a tree: %+v\n%s", r.Aggregated, r.Explain())
	}
}

// FuzzAggregation wants no other aggregation than the signed one to be trusted.
func FuzzAggregation(f *testing.F) {
	good, p := newForgery(f).aggregated(f, 5, 13)
	want := good.Aggregation
	f.Add(want.Salt, want.Index, want.Size, bytes.Join(want.Proof, nil))
	f.Add(want.Salt, uint32(12), want.Size, bytes.Join(want.Proof[:2], nil))
	f.Add([]byte{}, uint32(1<<32-1), uint32(1<<32-1), []byte{1})
	f.Add(want.Salt, uint32(0), uint32(0), []byte{})

	f.Fuzz(func(t *testing.T, salt []byte, index, size uint32, proof []byte) {
		ev := good
		ev.Aggregation = &verifier.Aggregation{Salt: salt, Index: index, Size: size, Proof: slices.Collect(slices.Chunk(proof, 32))}
		r := verifier.Verify(ev, p)
		same := bytes.Equal(salt, want.Salt) && index == want.Index && size == want.Size && bytes.Equal(proof, bytes.Join(want.Proof, nil))
		if (r.Verdict == verifier.Trusted) != same || (r.Aggregated != nil) != same {
			t.Errorf("same %t: %s", same, r.Explain())
		}
		if !same {
			wantOnly(t, r, verifier.CheckNonce)
		}
	})
}
