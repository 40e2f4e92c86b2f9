package verifier_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"github.com/trustpool/trustpool/verifier"
)

// tlsData is the extraData of a TLS key's certification, as the contract has it.
func tlsData(nonce []byte) []byte {
	message := append([]byte("trustpool-tls-key-v1"), 0, byte(len(nonce)>>8), byte(len(nonce)))
	sum := sha256.Sum256(append(message, nonce...))
	return append([]byte{0x7B, 0x03}, sum[:]...)
}

func TestTLSDataIsThatOfTheContract(t *testing.T) {
	t.Parallel()

	counting := make([]byte, 32)
	for i := range counting {
		counting[i] = byte(i)
	}
	for want, nonce := range map[string][]byte{
		"7b030e0ca65965ab4a1ba4625a8a4a7ee7ba08221c8191871a027762a7f734e80dc1": counting,
		"7b03f01e121ebc66be9ffae5ac914780b9934b45b7a7eb2a2f734332d4f1ddeb48ba": bytes.Repeat([]byte{0xFF}, 16),
	} {
		if got := hex.EncodeToString(tlsData(nonce)); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if got := hex.EncodeToString(verifier.TLSExtraData(nonce)); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// tlsKind is a TLS key as an agent makes it.
func tlsKind() keyKind {
	kind := p256()
	kind.template.ObjectAttributes.Restricted = false
	kind.template.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{X: tpm2.TPM2BECCParameter{Buffer: []byte("TLS key")}})
	return kind
}

// certifyKey has the AK certify another key.
func (m *machine) certifyKey(t testing.TB, by, key *madeKey, extraData []byte) verifier.KeyCertification {
	t.Helper()
	certified, err := tpm2.Certify{
		ObjectHandle:   tpm2.AuthHandle{Handle: key.ObjectHandle, Name: key.Name, Auth: tpm2.PasswordAuth(nil)},
		SignHandle:     tpm2.AuthHandle{Handle: by.ObjectHandle, Name: by.Name, Auth: tpm2.PasswordAuth(nil)},
		QualifyingData: tpm2.TPM2BData{Buffer: extraData},
		InScheme:       by.scheme,
	}.Execute(m)
	if err != nil {
		t.Fatalf("certifying the key: %v", err)
	}
	return verifier.KeyCertification{AKName: by.Name.Buffer, Info: certified.CertifyInfo.Bytes(), Signature: tpm2.Marshal(certified.Signature)}
}

// publicKey is the key as it stands in a certificate.
func (k *madeKey) publicKey(t testing.TB) crypto.PublicKey {
	t.Helper()
	area, err := k.OutPublic.Contents()
	if err != nil {
		t.Fatal(err)
	}
	key, err := tpm2.Pub(*area)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// wantTLS fails the test unless these are the checks of the TLS key that failed.
func wantTLS(t *testing.T, e *verifier.Enrollment, failed ...verifier.CheckName) {
	t.Helper()
	for _, c := range e.Checks {
		if strings.HasPrefix(string(c.Name), "tls_key_") && (c.Outcome == verifier.Failed) != slices.Contains(failed, c.Name) {
			t.Errorf("check %s: %s %s", c.Name, c.Outcome, c.Detail)
		}
	}
}

// withTLSKey is an identity with a TLS key, made by a real TPM, and a policy that takes it.
func withTLSKey(t *testing.T) (*machine, verifier.Identity, verifier.EnrollPolicy, *madeKey, *madeKey) {
	t.Helper()
	return withTLSKeyFor(t, newNonce(t))
}

func withTLSKeyFor(t *testing.T, nonce []byte) (*machine, verifier.Identity, verifier.EnrollPolicy, *madeKey, *madeKey) {
	t.Helper()
	m := startMachine(t)
	id, ak := m.identity(t, nonce)
	key := m.make(t, tlsKind())
	id.TLS = verifier.TLSKey{Public: key.OutPublic.Bytes(), Certifications: []verifier.KeyCertification{m.certifyKey(t, ak, key, tlsData(nonce))}}
	policy := firstUse(nonce)
	policy.ServerKey, policy.RequireTPMTLSKey = key.publicKey(t), true
	return m, id, policy, ak, key
}

func TestATLSKeyInTheTPMIsRemembered(t *testing.T) {
	t.Parallel()

	m, id, policy, ak, _ := withTLSKey(t)
	e := verifier.Enroll(id, policy)
	wantEnrollment(t, e)
	for _, c := range e.Checks {
		if strings.HasPrefix(string(c.Name), "tls_key_") && c.Outcome != verifier.Passed {
			t.Errorf("check %s: %s %s", c.Name, c.Outcome, c.Detail)
		}
	}
	challenge, err := e.Challenge()
	if err != nil {
		t.Fatal(err)
	}
	secret, err := m.activate(t, challenge, ak.named())
	if err != nil {
		t.Fatal(err)
	}
	record, err := e.Finish(secret, "node1.example:9443", policy.At)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := record.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := verifier.ParseNodeRecord(raw); err != nil || !again.TPMTLSKey {
		t.Errorf("the record does not say so: %s, %v", raw, err)
	}

	// From now on the node has to show it, whoever asks.
	later := firstUse(policy.Nonce)
	later.Record = &record
	wantTLS(t, verifier.Enroll(verifier.Identity{EKs: id.EKs, AKs: id.AKs}, later), verifier.CheckTLSKeyStructure, verifier.CheckTLSKeyCertifyInfo)
}

func TestASecondEnrolmentRemembersTheTLSKeyInTheTPM(t *testing.T) {
	t.Parallel()

	m, id, policy, ak, _ := withTLSKey(t)
	record := finish(t, m, verifier.Enroll(id, policy), ak)
	for _, before := range []bool{true, false} {
		record.TPMTLSKey = before
		policy.Record = &record
		if again := finish(t, m, verifier.Enroll(id, policy), ak); !again.TPMTLSKey {
			t.Errorf("recorded before: %t; it is forgotten", before)
		}
	}
}

func TestTheShortestNonceCertifiesATLSKey(t *testing.T) {
	t.Parallel()

	_, id, policy, _, _ := withTLSKeyFor(t, newNonce(t)[:verifier.MinNonceSize])
	e := verifier.Enroll(id, policy)
	wantEnrollment(t, e)
	wantTLS(t, e)
}

func TestANodeWithoutTLSKeyInItsTPM(t *testing.T) {
	t.Parallel()

	m, nonce := startMachine(t), newNonce(t)
	id, _ := m.identity(t, nonce)
	policy := firstUse(nonce)
	e := verifier.Enroll(id, policy)
	wantEnrollment(t, e)
	if c := e.Check(verifier.CheckTLSKeyPeer); c.Outcome != verifier.NotAsked {
		t.Errorf("check %s: %s", c.Name, c.Outcome)
	}
	policy.RequireTPMTLSKey = true
	wantEnrollment(t, verifier.Enroll(id, policy), verifier.CheckTLSKeyStructure, verifier.CheckTLSKeyCertifyInfo)
}

func TestATLSKeyWithoutTLSProvesNothing(t *testing.T) {
	t.Parallel()

	_, id, policy, _, _ := withTLSKey(t)
	policy.ServerKey = nil
	wantEnrollment(t, verifier.Enroll(id, policy), verifier.CheckTLSKeyPeer)
	policy.RequireTPMTLSKey = false
	e := verifier.Enroll(id, policy)
	wantEnrollment(t, e)
	if c := e.Check(verifier.CheckTLSKeyPeer); c.Outcome != verifier.NotAsked {
		t.Errorf("check %s: %s", c.Name, c.Outcome)
	}
}

func TestTLSKeysThatAreNotAsTheyHaveToBe(t *testing.T) {
	t.Parallel()

	m, id, policy, ak, key := withTLSKey(t)
	software, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	otherAK := p256()
	otherAK.template.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{X: tpm2.TPM2BECCParameter{Buffer: []byte("other")}})

	// with makes the identity over for a key of another kind.
	with := func(t *testing.T, kind keyKind) (verifier.Identity, verifier.EnrollPolicy) {
		made, changed, p := m.make(t, kind), id, policy
		changed.TLS = verifier.TLSKey{Public: made.OutPublic.Bytes(), Certifications: []verifier.KeyCertification{m.certifyKey(t, ak, made, tlsData(policy.Nonce))}}
		p.ServerKey = made.publicKey(t)
		return changed, p
	}
	// by is the identity with another certification.
	by := func(c verifier.KeyCertification) verifier.Identity {
		changed := id
		changed.TLS.Certifications = []verifier.KeyCertification{c}
		return changed
	}

	t.Run("key in a file", func(t *testing.T) {
		p := policy
		p.ServerKey = &software.PublicKey
		wantEnrollment(t, verifier.Enroll(id, p), verifier.CheckTLSKeyPeer)
	})
	t.Run("restricted key", func(t *testing.T) {
		restricted := tlsKind()
		restricted.template.ObjectAttributes.Restricted = true
		changed, p := with(t, restricted)
		wantEnrollment(t, verifier.Enroll(changed, p), verifier.CheckTLSKeyAttributes)
	})
	t.Run("key that may be duplicated", func(t *testing.T) {
		loose := tlsKind()
		loose.template.ObjectAttributes.FixedTPM, loose.template.ObjectAttributes.FixedParent = false, false
		changed, p := with(t, loose)
		wantEnrollment(t, verifier.Enroll(changed, p), verifier.CheckTLSKeyAttributes)
	})
	t.Run("P-384", func(t *testing.T) {
		large := p384()
		large.template.ObjectAttributes.Restricted = false
		changed, p := with(t, large)
		wantEnrollment(t, verifier.Enroll(changed, p), verifier.CheckTLSKeyAlgorithm)
	})
	t.Run("key of the owner's hierarchy", func(t *testing.T) {
		owned := tlsKind()
		owned.hierarchy = tpm2.TPMRHOwner
		changed, p := with(t, owned)
		wantEnrollment(t, verifier.Enroll(changed, p), verifier.CheckTLSKeyCertifiedObject)
	})
	t.Run("certified by another AK", func(t *testing.T) {
		c := m.certifyKey(t, m.make(t, otherAK), key, tlsData(policy.Nonce))
		wantEnrollment(t, verifier.Enroll(by(c), policy), verifier.CheckTLSKeyCertifyInfo)
		c.AKName = ak.Name.Buffer
		wantEnrollment(t, verifier.Enroll(by(c), policy), verifier.CheckTLSKeyCertifySignature, verifier.CheckTLSKeyCertifySigner)
	})
	t.Run("certified for another nonce", func(t *testing.T) {
		wantEnrollment(t, verifier.Enroll(by(m.certifyKey(t, ak, key, tlsData(newNonce(t)))), policy), verifier.CheckTLSKeyCertifyNonce)
	})
	t.Run("certified with the bare nonce", func(t *testing.T) {
		wantEnrollment(t, verifier.Enroll(by(m.certifyKey(t, ak, key, policy.Nonce)), policy), verifier.CheckTLSKeyCertifyNonce)
	})
	t.Run("another key certified", func(t *testing.T) {
		wantEnrollment(t, verifier.Enroll(by(m.certifyKey(t, ak, ak, tlsData(policy.Nonce))), policy), verifier.CheckTLSKeyCertifiedObject)
	})
	t.Run("certification of a creation", func(t *testing.T) {
		c := m.certify(t, ak, policy.Nonce)
		wantEnrollment(t, verifier.Enroll(by(verifier.KeyCertification{AKName: ak.Name.Buffer, Info: c.CertifyInfo, Signature: c.CertifySignature}), policy),
			verifier.CheckTLSKeyCertifyInfo)
	})
}

// TestATLSKeyThatNoTPMCertified has what only software can write.
func TestATLSKeyThatNoTPMCertified(t *testing.T) {
	t.Parallel()

	f, nonce := newForgery(t), newNonce(t)
	id := verifier.Identity{AKs: []verifier.AttestationKey{f.attestationKey(t, nonce)}}
	akName := nameOf(f.public)
	f.area = func(area *tpm2.TPMTPublic, _ *tpm2.TPMSECCParms) { area.ObjectAttributes.Restricted = false }
	f.makePublic(t)
	hierarchy := []byte{0x40, 0, 0, 0x0B}
	policy := firstUse(nonce)
	policy.ServerKey = &f.key.PublicKey

	for name, test := range map[string]struct {
		change func(*tpm2.TPMSAttest)
		want   []verifier.CheckName
	}{
		"nothing": {func(*tpm2.TPMSAttest) {}, nil},
		"magic":   {func(a *tpm2.TPMSAttest) { a.Magic = 0 }, []verifier.CheckName{verifier.CheckTLSKeyCertifyInfo}},
		"signer":  {func(a *tpm2.TPMSAttest) { a.QualifiedSigner.Buffer = akName }, []verifier.CheckName{verifier.CheckTLSKeyCertifySigner}},
		"mark":    {func(a *tpm2.TPMSAttest) { a.ExtraData.Buffer[1] = 1 }, []verifier.CheckName{verifier.CheckTLSKeyCertifyNonce}},
	} {
		attest := tpm2.TPMSAttest{
			Magic:           tpm2.TPMGeneratedValue,
			Type:            tpm2.TPMSTAttestCertify,
			QualifiedSigner: tpm2.TPM2BName{Buffer: nameOf(hierarchy, akName)},
			ExtraData:       tpm2.TPM2BData{Buffer: tlsData(nonce)},
			Attested: tpm2.NewTPMUAttest(tpm2.TPMSTAttestCertify, &tpm2.TPMSCertifyInfo{
				Name: tpm2.TPM2BName{Buffer: nameOf(f.public)}, QualifiedName: tpm2.TPM2BName{Buffer: nameOf(hierarchy, nameOf(f.public))},
			}),
		}
		test.change(&attest)
		info := tpm2.Marshal(attest)
		id.TLS = verifier.TLSKey{Public: f.public, Certifications: []verifier.KeyCertification{{AKName: akName, Info: info, Signature: f.signature(t, info)}}}
		t.Run(name, func(t *testing.T) { wantTLS(t, verifier.Enroll(id, policy), test.want...) })
	}
}

// TestATLSKeyNeverPassesAsAnAK: nor does an AK as a TLS key, see the restricted key above.
func TestATLSKeyNeverPassesAsAnAK(t *testing.T) {
	t.Parallel()

	m, nonce := startMachine(t), newNonce(t)
	key := m.make(t, tlsKind())
	id := verifier.Identity{EKs: m.eks(t), AKs: []verifier.AttestationKey{m.certify(t, key, nonce)}}
	wantEnrollment(t, verifier.Enroll(id, firstUse(nonce)), verifier.CheckAKAttributes)
}

func TestEveryByteOfATLSKeyCounts(t *testing.T) {
	t.Parallel()

	_, id, policy, _, _ := withTLSKey(t)
	c := &id.TLS.Certifications[0]
	for name, part := range map[string]*[]byte{"public": &id.TLS.Public, "AK name": (*[]byte)(&c.AKName), "info": &c.Info, "signature": &c.Signature} {
		good := *part
		for i := range good {
			*part = bytes.Clone(good)
			(*part)[i] ^= 0x01
			e := verifier.Enroll(id, policy)
			if !slices.ContainsFunc(e.Failures(), func(c verifier.Check) bool { return strings.HasPrefix(string(c.Name), "tls_key_") }) {
				t.Errorf("%s, byte %d: taken", name, i)
			}
			if c, err := e.Challenge(); err == nil || c != nil {
				t.Errorf("%s, byte %d: a credential was made", name, i)
			}
		}
		*part = good
	}
}
