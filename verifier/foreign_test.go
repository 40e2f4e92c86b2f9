package verifier_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"

	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/eventlog"
)

// foreign is evidence of an RSA key over more PCRs than anybody judges, and the policy that trusts it.
func foreign(t *testing.T) (verifier.Evidence, verifier.Policy) {
	t.Helper()
	all := make([]int, 24)
	for i := range all {
		all[i] = i
	}
	n := startNode(t, tpmsim.Trusted, rsa2048())
	ev := n.evidence(t, newNonce(t), verifier.Selection{Alg: eventlog.AlgSHA1, PCRs: all}, sha256PCRs(all...))
	p := rawPolicy(verifier.KnownGood{}, ev.Nonce, sha256PCRs(17, 18))
	p.AllowMorePCRs = true
	known, err := verifier.Learn(ev, p)
	if err != nil {
		t.Fatal(err)
	}
	p.KnownGood = known
	return ev, p
}

// spkiOf returns the key of a public area.
func spkiOf(t *testing.T, public []byte) []byte {
	t.Helper()
	area, err := tpm2.Unmarshal[tpm2.TPMTPublic](public)
	if err != nil {
		t.Fatal(err)
	}
	key, err := tpm2.Pub(*area)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// authority is a privacy CA: it certifies AKs.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

var certifiedAt = time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{key: key}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "privacy CA"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: certifiedAt.Add(-time.Hour), NotAfter: certifiedAt.Add(time.Hour),
	}
	a.cert = a.sign(t, template, template, &key.PublicKey)
	return a
}

func (a *authority) sign(t *testing.T, template, parent *x509.Certificate, key any) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key, a.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// certify makes a certificate as the TCG has it: no subject, and a critical alternative name in a form that few libraries know.
func (a *authority) certify(t *testing.T, spki []byte) []byte {
	t.Helper()
	return a.certifyAs(t, spki, func(*x509.Certificate) {})
}

// certifyAs makes such a certificate with a change.
func (a *authority) certifyAs(t *testing.T, spki []byte, change func(*x509.Certificate)) []byte {
	t.Helper()
	key, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		t.Fatal(err)
	}
	name, err := asn1.Marshal([]asn1.RawValue{{Class: asn1.ClassContextSpecific, Tag: 8, IsCompound: true, Bytes: []byte{5, 0}}})
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: certifiedAt.Add(-time.Hour), NotAfter: certifiedAt.Add(time.Hour),
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Critical: true, Value: name}},
	}
	change(template)
	return a.sign(t, template, a.cert, key).Raw
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

func TestAQuoteOfMorePCRsIsTakenOnlyIfThePolicyAllowsIt(t *testing.T) {
	t.Parallel()
	ev, p := foreign(t)
	r := verifier.Verify(ev, p)
	if r.Verdict != verifier.Trusted || !strings.Contains(r.Check(verifier.CheckSelection).Detail, "sha1:0,1,2") {
		t.Fatal(r.Explain(), r.Check(verifier.CheckSelection))
	}

	strict := p
	strict.AllowMorePCRs = false
	wantRefused(t, verifier.Verify(ev, strict), verifier.CheckSelection)

	for bank := range ev.PCRs {
		for i := range ev.PCRs[bank].Values {
			bad := clone(ev)
			bad.PCRs[bank].Values[i].Value[3] ^= 1
			wantRefused(t, verifier.Verify(bad, p), verifier.CheckPCRDigest)
		}
	}
	less := p
	less.Selection = []verifier.Selection{sha256PCRs(17, 18), {Alg: eventlog.AlgSHA384, PCRs: []int{17}}}
	wantRefused(t, verifier.Verify(ev, less), verifier.CheckSelection)
}

func TestAQuoteThatNamesABankTwiceIsRefused(t *testing.T) {
	t.Parallel()
	f := newForgery(t)
	f.info = func(info *tpm2.TPMSQuoteInfo) {
		s := &info.PCRSelect
		s.PCRSelections = append(s.PCRSelections, s.PCRSelections[0])
	}
	p := rawPolicy(f.known, f.nonce)
	p.AllowMorePCRs = true
	wantRefused(t, verifier.Verify(f.evidence(t), p), verifier.CheckSelection)
}

// TestAKeyAloneIsTrustedOnlyOnItsIssuersWord: nothing shows that such a key is restricted, whatever the evidence says of it.
func TestAKeyAloneIsTrustedOnlyOnItsIssuersWord(t *testing.T) {
	t.Parallel()
	ev, p := foreign(t)
	public, key := ev.AKPublic, spkiOf(t, ev.AKPublic)
	ca := newAuthority(t)
	p.KnownGood.AKs = []verifier.AKPin{{SPKI: key, Binding: verifier.BindingFirstUse}}

	for rule, tc := range map[string]struct {
		set func(*verifier.Evidence)
		own verifier.Outcome // of CheckQualifiedSigner
	}{
		"PEM":                        {func(ev *verifier.Evidence) { ev.AKKey = key }, verifier.LeftToIssuer},
		"certificate":                {func(ev *verifier.Evidence) { ev.AKCertificates = [][]byte{ca.certify(t, key)} }, verifier.LeftToIssuer},
		"its own word on attributes": {func(ev *verifier.Evidence) { ev.AKPublic = public }, verifier.Passed},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			ev, p := clone(ev), p
			ev.AKPublic = nil
			tc.set(&ev)

			wantRefused(t, verifier.Verify(ev, p), verifier.CheckAKAttributes)
			if _, err := verifier.Learn(ev, rawPolicy(p.KnownGood, p.Nonce, p.Selection...)); err == nil {
				t.Error("it was learned")
			}

			p.AKAttributesByIssuer = true
			r := verifier.Verify(ev, p)
			if r.Verdict != verifier.Trusted || !r.AKAttributesByIssuer || r.Check(verifier.CheckAKAttributes).Outcome != verifier.LeftToIssuer {
				t.Fatal(r.Explain())
			}
			if got := r.Check(verifier.CheckQualifiedSigner).Outcome; got != tc.own {
				t.Errorf("qualified signer is %s, want %s", got, tc.own)
			}
			if !strings.Contains(r.String(), "issuer") || !strings.Contains(r.Explain(), "note: ak_attributes: not checked") {
				t.Errorf("it does not show:\n%s", r.Explain())
			}

			p.KnownGood.AKs = []verifier.AKPin{{}, {SPKI: spkiOf(t, forgedPublic(t)), Binding: verifier.BindingFirstUse}}
			wantRefused(t, verifier.Verify(ev, p), verifier.CheckAKPinned)
		})
	}
}

func forgedPublic(t *testing.T) []byte {
	t.Helper()
	f := newForgery(t)
	return f.public
}

func TestAKeyWhosePublicAreaIsPinnedNeedsNobodysWord(t *testing.T) {
	t.Parallel()
	ev, p := foreign(t)
	ev.AKKey, ev.AKPublic = spkiOf(t, ev.AKPublic), nil
	if r := verifier.Verify(ev, p); r.Verdict != verifier.Trusted || r.AKAttributesByIssuer {
		t.Error(r.Explain())
	}
}

func TestAKeyAloneIsLearnedAsAKey(t *testing.T) {
	t.Parallel()
	ev, p := foreign(t)
	key := spkiOf(t, ev.AKPublic)
	ev.AKKey, ev.AKPublic = key, nil
	p.KnownGood, p.AKAttributesByIssuer = verifier.KnownGood{}, true
	known, err := verifier.Learn(ev, p)
	if err != nil {
		t.Fatal(err)
	}
	if len(known.AKs) != 1 || !bytes.Equal(known.AKs[0].SPKI, key) || len(known.AKs[0].Name) > 0 {
		t.Errorf("pinned is %+v", known.AKs)
	}
	text, err := known.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if p.KnownGood, err = verifier.ParseKnownGood(text); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	if r := verifier.Verify(ev, p); r.Verdict != verifier.Trusted {
		t.Error(r.Explain())
	}
}

func TestAllFormsOfTheAKAreOfOneKey(t *testing.T) {
	t.Parallel()
	ev, p := foreign(t)
	key, other, ca := spkiOf(t, ev.AKPublic), spkiOf(t, forgedPublic(t)), newAuthority(t)
	for rule, tc := range map[string]struct {
		set  func(*verifier.Evidence)
		good bool
	}{
		"all of the AK": {func(ev *verifier.Evidence) {
			ev.AKKey, ev.AKCertificates = key, [][]byte{ca.certify(t, key), ca.cert.Raw}
		}, true},
		"PEM of another key":              {func(ev *verifier.Evidence) { ev.AKKey = other }, false},
		"certificate of another key":      {func(ev *verifier.Evidence) { ev.AKCertificates = [][]byte{ca.certify(t, other)} }, false},
		"PEM and certificate that differ": {func(ev *verifier.Evidence) { ev.AKKey, ev.AKCertificates = key, [][]byte{ca.certify(t, other)} }, false},
		"bytes behind PEM's":              {func(ev *verifier.Evidence) { ev.AKKey = append(bytes.Clone(key), 0) }, false},
		"a certificate that is none":      {func(ev *verifier.Evidence) { ev.AKCertificates = [][]byte{{1, 2, 3}} }, false},
		"a second that is none":           {func(ev *verifier.Evidence) { ev.AKCertificates = [][]byte{ca.certify(t, key), {1, 2, 3}} }, false},
		"nine certificates":               {func(ev *verifier.Evidence) { ev.AKCertificates = make([][]byte, 9) }, false},
		"a huge certificate":              {func(ev *verifier.Evidence) { ev.AKCertificates = [][]byte{make([]byte, 16<<10+1)} }, false},
		"a huge key":                      {func(ev *verifier.Evidence) { ev.AKKey = make([]byte, 16<<10+1) }, false},
		"a parent that is none":           {func(ev *verifier.Evidence) { ev.AKParent = []byte{1} }, false},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			ev, p := clone(ev), p
			p.AKAttributesByIssuer = true // weakens other checks only
			tc.set(&ev)
			r := verifier.Verify(ev, p)
			if !tc.good {
				wantRefused(t, r, verifier.CheckAKStructure)
			} else if r.Verdict != verifier.Trusted || r.AKAttributesByIssuer {
				t.Error(r.Explain())
			}
		})
	}
}

func TestBareKeysOfOtherKindsAreRefused(t *testing.T) {
	t.Parallel()
	ev, p := foreign(t)
	p521, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(&p521.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	ev.AKPublic, ev.AKKey = nil, spki
	p.AKAttributesByIssuer = true
	p.KnownGood.AKs = []verifier.AKPin{{SPKI: spki, Binding: verifier.BindingFirstUse}}
	wantRefused(t, verifier.Verify(ev, p), verifier.CheckAKAlgorithm)
}

func TestTheIssuerOfTheAKsCertificateIsCheckedIfAskedFor(t *testing.T) {
	t.Parallel()
	ev, p := foreign(t)
	pins := p.KnownGood.AKs
	key, ca, other := spkiOf(t, ev.AKPublic), newAuthority(t), newAuthority(t)
	ev.AKPublic = nil
	p.AKAttributesByIssuer, p.AKIssuers, p.At, p.KnownGood.AKs = true, ca.pool(), certifiedAt, nil

	for rule, tc := range map[string]struct {
		set  func(*verifier.Evidence, *verifier.Policy)
		good bool
	}{
		"by the CA":             {func(ev *verifier.Evidence, _ *verifier.Policy) {}, true},
		"by the CA, and pinned": {func(_ *verifier.Evidence, p *verifier.Policy) { p.KnownGood.AKs = pins }, true},
		"by the CA, but another pinned": {func(_ *verifier.Evidence, p *verifier.Policy) {
			p.KnownGood.AKs = []verifier.AKPin{{SPKI: []byte("x")}}
		}, false},
		"by another CA": {func(ev *verifier.Evidence, _ *verifier.Policy) { ev.AKCertificates = [][]byte{other.certify(t, key)} }, false},
		"by another CA, but pinned": {func(ev *verifier.Evidence, p *verifier.Policy) {
			ev.AKCertificates, p.KnownGood.AKs = [][]byte{other.certify(t, key)}, pins
		}, false},
		"by a CA that it brings along": {func(ev *verifier.Evidence, _ *verifier.Policy) {
			ev.AKCertificates = [][]byte{other.certify(t, key), other.cert.Raw}
		}, false},
		"ended":          {func(_ *verifier.Evidence, p *verifier.Policy) { p.At = certifiedAt.Add(2 * time.Hour) }, false},
		"no certificate": {func(ev *verifier.Evidence, _ *verifier.Policy) { ev.AKKey, ev.AKCertificates = key, nil }, false},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			ev, p := clone(ev), p
			ev.AKCertificates = [][]byte{ca.certify(t, key)}
			tc.set(&ev, &p)
			r := verifier.Verify(ev, p)
			switch {
			case !tc.good:
				wantRefused(t, r, verifier.CheckAKPinned)
			case r.Verdict != verifier.Trusted:
				t.Error(r.Explain())
			case len(p.KnownGood.AKs) == 0 && r.EKBinding != verifier.BindingAKIssuer:
				t.Errorf("bound by %q", r.EKBinding)
			}
		})
	}

	timeless := p
	timeless.At = time.Time{}
	if r := verifier.Verify(ev, timeless); r.Verdict != verifier.CouldNotJudge {
		t.Errorf("without a time: %s", r)
	}
}

// TestAKeyUnderAnEKNeedsItsParent: tpm2_createak and others make the AK under an EK.
func TestAKeyUnderAnEKNeedsItsParent(t *testing.T) {
	t.Parallel()
	n := startNode(t, tpmsim.Trusted, p256())
	parent, err := tpm2.CreatePrimary{
		PrimaryHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHEndorsement, Auth: tpm2.PasswordAuth(nil)},
		InPublic:      tpm2.New2B(tpm2.ECCSRKTemplate),
	}.Execute(n.tpm)
	if err != nil {
		t.Fatal(err)
	}
	under := tpm2.AuthHandle{Handle: parent.ObjectHandle, Name: parent.Name, Auth: tpm2.PasswordAuth(nil)}
	made, err := tpm2.Create{ParentHandle: under, InPublic: tpm2.New2B(p256().template)}.Execute(n.tpm)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (tpm2.FlushContext{FlushHandle: n.key.Handle}).Execute(n.tpm); err != nil {
		t.Fatal(err)
	}
	loaded, err := tpm2.Load{ParentHandle: under, InPrivate: made.OutPrivate, InPublic: made.OutPublic}.Execute(n.tpm)
	if err != nil {
		t.Fatal(err)
	}
	n.key, n.public = tpm2.AuthHandle{Handle: loaded.ObjectHandle, Name: loaded.Name, Auth: tpm2.PasswordAuth(nil)}, made.OutPublic.Bytes()

	ev := n.evidence(t, newNonce(t), verifier.DefaultSelection()...)
	ev.AKParent = parent.OutPublic.Bytes()
	p := rawPolicy(learn(t, ev), ev.Nonce)
	if r := verifier.Verify(ev, p); r.Verdict != verifier.Trusted || r.AKAttributesByIssuer {
		t.Fatal(r.Explain())
	}
	ev.AKParent = nil
	wantRefused(t, verifier.Verify(ev, p), verifier.CheckQualifiedSigner)
	ev.AKParent = made.OutPublic.Bytes()
	wantRefused(t, verifier.Verify(ev, p), verifier.CheckQualifiedSigner)

	p.AKAttributesByIssuer = true
	if r := verifier.Verify(ev, p); r.Verdict != verifier.Trusted || !r.AKAttributesByIssuer || r.Check(verifier.CheckAKAttributes).Outcome != verifier.Passed {
		t.Error(r.Explain())
	}
}
