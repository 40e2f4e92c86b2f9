package verifier_test

import (
	"bytes"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"github.com/trustpool/trustpool/verifier"
)

// TestAnIssuersWordDoesNotBecomeAPinOfTheWholeKey: what was believed once would be checked ever after, against itself.
func TestAnIssuersWordDoesNotBecomeAPinOfTheWholeKey(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	for rule, set := range map[string]func(*forgery, *verifier.Policy){
		"known by its issuer": func(_ *forgery, p *verifier.Policy) { p.AKIssuers, p.At = ca.pool(), certifiedAt },
		"of a hierarchy that nothing shows": func(f *forgery, _ *verifier.Policy) {
			f.attest = func(a *tpm2.TPMSAttest) { a.QualifiedSigner.Buffer = nameOf([]byte("elsewhere"), nameOf(f.public)) }
		},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			f := newForgery(t)
			p := rawPolicy(verifier.KnownGood{}, f.nonce)
			p.AKAttributesByIssuer = true
			set(f, &p)
			ev := f.evidence(t)
			key := spkiOf(t, f.public)
			ev.AKCertificates = [][]byte{ca.certify(t, key)}

			known, err := verifier.Learn(ev, p)
			if err != nil {
				t.Fatal(err)
			}
			if pin := known.AKs[0]; !bytes.Equal(pin.SPKI, key) || len(pin.Name)+len(pin.Public) > 0 {
				t.Errorf("pinned is %+v", pin)
			}
			p.KnownGood = known
			if r := verifier.Verify(ev, p); r.Verdict != verifier.Trusted || !r.AKAttributesByIssuer {
				t.Error(r.Explain())
			}
			p.AKAttributesByIssuer = false
			if r := verifier.Verify(ev, p); r.Verdict != verifier.Refused {
				t.Error(r.Explain())
			}
		})
	}
}
