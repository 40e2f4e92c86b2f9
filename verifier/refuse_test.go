package verifier_test

import (
	"testing"

	"github.com/google/go-tpm/tpm2"

	"github.com/trustpool/trustpool/verifier"
)

// TestARefusedAKDoesNotHideBehindAnotherName changes a byte of the public area that nobody signs: the key stays the same, its Name does not.
func TestARefusedAKDoesNotHideBehindAnotherName(t *testing.T) {
	t.Parallel()
	f := newForgery(t)
	ev := f.evidence(t)
	name, key, ca := nameOf(f.public), spkiOf(t, f.public), newAuthority(t)
	ev.AKCertificates = [][]byte{ca.certify(t, key)}
	area, err := tpm2.Unmarshal[tpm2.TPMTPublic](f.public)
	if err != nil {
		t.Fatal(err)
	}
	area.ObjectAttributes.NoDA = !area.ObjectAttributes.NoDA
	disguised := clone(ev)
	disguised.AKPublic, disguised.AKCertificates = tpm2.Marshal(area), ev.AKCertificates
	other := []verifier.Hex{nameOf([]byte("another key"))}

	for rule, pin := range map[string]func(*verifier.Policy){
		"pinned by its key": func(p *verifier.Policy) {
			p.KnownGood.AKs = []verifier.AKPin{{SPKI: key, Binding: verifier.BindingFirstUse}}
		},
		"taken by its issuer":  func(p *verifier.Policy) { p.KnownGood.AKs, p.AKIssuers, p.At = nil, ca.pool(), certifiedAt },
		"pinned in both forms": func(p *verifier.Policy) { p.KnownGood.AKs = append(p.KnownGood.AKs, verifier.AKPin{SPKI: key}) },
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			p := rawPolicy(f.known, f.nonce)
			pin(&p)
			p.AKAttributesByIssuer = true

			p.RefusedAKs = []verifier.Hex{name}
			wantRefused(t, verifier.Verify(ev, p), verifier.CheckAKPinned)
			r := verifier.Verify(disguised, p)
			wantOnly(t, r, verifier.CheckQualifiedSigner)
			if len(r.AKName) > 0 {
				t.Errorf("it goes by the name %s, which nothing shows", r.AKName)
			}
			_, err := verifier.Learn(disguised, p)
			if err == nil {
				t.Error("it was learned")
			}

			p.RefusedAKs = other
			if r := verifier.Verify(ev, p); r.Verdict != verifier.Trusted || r.AKName.String() != verifier.Hex(name).String() {
				t.Errorf("with another key refused: %s, by the name %q", r.Explain(), r.AKName)
			}
		})
	}
}

func TestAnAKWithoutANameIsRefusedWhereThereIsARefuseList(t *testing.T) {
	t.Parallel()
	f := newForgery(t)
	ev := f.evidence(t)
	key := spkiOf(t, f.public)
	ev.AKPublic, ev.AKKey = nil, key
	p := rawPolicy(f.known, f.nonce)
	p.KnownGood.AKs = []verifier.AKPin{{SPKI: key, Binding: verifier.BindingFirstUse}}
	p.AKAttributesByIssuer = true
	if r := verifier.Verify(ev, p); r.Verdict != verifier.Trusted {
		t.Fatal(r.Explain())
	}
	p.RefusedAKs = []verifier.Hex{nameOf([]byte("another key"))}
	wantOnly(t, verifier.Verify(ev, p), verifier.CheckAKPinned)
}

func TestARefusedAKIsNotLearned(t *testing.T) {
	t.Parallel()
	f := newForgery(t)
	ev, p := f.evidence(t), rawPolicy(verifier.KnownGood{}, f.nonce)
	p.RefusedAKs = []verifier.Hex{nameOf(f.public)}
	if _, err := verifier.Learn(ev, p); err == nil {
		t.Error("it was learned on first use")
	}
}

// TestARefuseListAsksNoMoreOfAPinnedName: a pin of the whole public area vouches for the Name, also where an issuer is believed on the key's place.
func TestARefuseListAsksNoMoreOfAPinnedName(t *testing.T) {
	t.Parallel()
	f := newForgery(t)
	f.attest = func(a *tpm2.TPMSAttest) { a.QualifiedSigner.Buffer = nameOf([]byte("elsewhere"), nameOf(f.public)) }
	ev, p := f.evidence(t), rawPolicy(f.known, f.nonce)
	p.AKAttributesByIssuer, p.RefusedAKs = true, []verifier.Hex{nameOf([]byte("another key"))}
	if r := verifier.Verify(ev, p); r.Verdict != verifier.Trusted || r.AKName.String() != verifier.Hex(nameOf(f.public)).String() {
		t.Errorf("by the name %q: %s", r.AKName, r.Explain())
	}
	p.RefusedAKs = append(p.RefusedAKs, nameOf(f.public))
	wantRefused(t, verifier.Verify(ev, p), verifier.CheckAKPinned)
}
