package verifier_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/trustpool/trustpool/verifier"
)

func ekPolicy() tpm2.PolicyCallback {
	return func(tpm transport.TPM, handle tpm2.TPMISHPolicy, nonce tpm2.TPM2BNonce) error {
		_, err := tpm2.PolicySecret{
			AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHEndorsement, Auth: tpm2.PasswordAuth(nil)}, PolicySession: handle, NonceTPM: nonce,
		}.Execute(tpm)
		return err
	}
}

// firstUse is the policy that demands least.
func firstUse(nonce []byte) verifier.EnrollPolicy {
	return verifier.EnrollPolicy{Node: nodeName, Nonce: nonce, At: now(), Binding: verifier.BindingFirstUse}
}

func TestAnHonestNodeIsEnrolled(t *testing.T) {
	t.Parallel()

	m, nonce := startMachine(t), newNonce(t)
	id, key := m.identity(t, nonce)
	for name, policy := range map[string]verifier.EnrollPolicy{
		"by inventory of the RSA EK":    {Binding: verifier.BindingInventory, Inventory: inventoryOf(t, id.EKs[0].Public)},
		"by inventory of the ECC EK":    {Binding: verifier.BindingInventory, Inventory: inventoryOf(t, id.EKs[1].Public)},
		"by inventory and certificate":  {Binding: verifier.BindingInventory, Inventory: inventoryOf(t, id.EKs[0].Public), Roots: m.roots(t)},
		"by chain":                      {Binding: verifier.BindingChain, Roots: m.roots(t), ServerNames: []string{"other", "Node1.Example"}},
		"by first use":                  {Binding: verifier.BindingFirstUse},
		"by first use of a genuine TPM": {Binding: verifier.BindingFirstUse, Roots: m.roots(t)},
	} {
		t.Run(name, func(t *testing.T) { // one TPM, few slots for keys
			policy.Node, policy.Nonce, policy.At = nodeName, nonce, now()
			e := verifier.Enroll(id, policy)
			wantEnrollment(t, e)
			if e.Enrolled() {
				t.Error("enrolled without a credential")
			}

			challenge, err := e.Challenge()
			if err != nil {
				t.Fatal(err)
			}
			secret, err := m.activate(t, challenge, key.named())
			if err != nil {
				t.Fatal(err)
			}
			record, err := e.Finish(secret, "node1.example:9443", policy.At)
			if err != nil {
				t.Fatal(err)
			}
			if !e.Enrolled() || record.Name != nodeName || record.Binding != policy.Binding || e.EKBinding != policy.Binding {
				t.Errorf("enrolled: %v, as %+v", e.Enrolled(), record)
			}
			if record.TPM.Certified == policy.Roots.Empty() || record.TPM.Model != "swtpm" || record.TPM.Vendor() != "id:00001014" {
				t.Errorf("the TPM is %+v", record.TPM)
			}
			wantSameAfterParsing(t, record)

			if _, err := e.Finish(secret, "", policy.At); err == nil {
				t.Error("the same answer was taken twice")
			}
		})
	}
}

func wantSameAfterParsing(t *testing.T, record verifier.NodeRecord) {
	t.Helper()
	data, err := record.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	again, err := verifier.ParseNodeRecord(data)
	if err != nil {
		t.Fatalf("%v\n%s", err, data)
	}
	written, err := again.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(data), string(written)); diff != "" {
		t.Errorf("record (-written +read and written):\n%s", diff)
	}
}

// TestAnAttackerIsRefused has what a node can make of real keys and real certifications of a TPM.
func TestAnAttackerIsRefused(t *testing.T) {
	t.Parallel()

	m, nonce := startMachine(t), newNonce(t)
	honest, _ := m.identity(t, nonce)
	unrestricted := p256()
	unrestricted.template.ObjectAttributes.Restricted = false
	owned := p256()
	owned.hierarchy = tpm2.TPMRHOwner
	decrypting := keyKind{tpm2.TPMRHEndorsement, tpm2.ECCEKTemplate}
	software := newForgery(t)

	for name, test := range map[string]struct {
		alter func(*testing.T, *verifier.Identity, *verifier.EnrollPolicy)
		want  []verifier.CheckName
	}{
		"AK that is not restricted": {func(t *testing.T, id *verifier.Identity, _ *verifier.EnrollPolicy) {
			id.AKs[0] = m.certify(t, m.make(t, unrestricted), nonce)
		}, []verifier.CheckName{verifier.CheckAKAttributes}},
		"AK of the owner hierarchy": {func(t *testing.T, id *verifier.Identity, _ *verifier.EnrollPolicy) {
			id.AKs[0] = m.certify(t, m.make(t, owned), nonce)
		}, []verifier.CheckName{verifier.CheckAKParent, verifier.CheckAKCertifySigner}},
		"AK that is an EK": {func(t *testing.T, id *verifier.Identity, _ *verifier.EnrollPolicy) {
			id.AKs[0].Public = m.make(t, decrypting).OutPublic.Bytes()
		}, []verifier.CheckName{verifier.CheckAKAttributes, verifier.CheckAKAlgorithm, verifier.CheckAKCertifiedObject, verifier.CheckAKCertifySigner}},
		"certified for another nonce": {func(t *testing.T, id *verifier.Identity, _ *verifier.EnrollPolicy) {
			id.AKs[0] = m.certify(t, m.make(t, p256()), newNonce(t))
		}, []verifier.CheckName{verifier.CheckAKCertifyNonce}},
		"creation data of another key": {func(t *testing.T, id *verifier.Identity, _ *verifier.EnrollPolicy) {
			id.AKs[0].CreationData = m.make(t, p384()).CreationData.Bytes()
		}, []verifier.CheckName{verifier.CheckAKCertifiedObject}},
		"certification of another key": {func(t *testing.T, id *verifier.Identity, _ *verifier.EnrollPolicy) {
			other := m.certify(t, m.make(t, p384()), nonce)
			id.AKs[0].CertifyInfo, id.AKs[0].CertifySignature = other.CertifyInfo, other.CertifySignature
		}, []verifier.CheckName{verifier.CheckAKCertifySignature, verifier.CheckAKCertifiedObject, verifier.CheckAKCertifySigner}},
		"quote instead of a certification": {func(t *testing.T, id *verifier.Identity, _ *verifier.EnrollPolicy) {
			id.AKs[0].CertifyInfo = software.evidence(t).Quoted
		}, []verifier.CheckName{verifier.CheckAKCertifyInfo, verifier.CheckAKCertifySignature}},
		"AK on the refuse list": {func(t *testing.T, id *verifier.Identity, p *verifier.EnrollPolicy) {
			p.RefusedAKs = []verifier.Hex{newNonce(t), nameOfKey(t, id.AKs[0].Public)}
		}, []verifier.CheckName{verifier.CheckAKNotRefused}},
		"no AK but a pending one": {func(_ *testing.T, id *verifier.Identity, _ *verifier.EnrollPolicy) {
			id.AKs[0].Pending = true
		}, []verifier.CheckName{verifier.CheckAKStructure}},
		"another AK than the one asked for": {func(t *testing.T, _ *verifier.Identity, p *verifier.EnrollPolicy) {
			p.AKName = newNonce(t)
		}, []verifier.CheckName{verifier.CheckAKStructure}},
		"five AKs": {func(_ *testing.T, id *verifier.Identity, _ *verifier.EnrollPolicy) {
			id.AKs = append(id.AKs, id.AKs[0], id.AKs[0], id.AKs[0], id.AKs[0])
		}, []verifier.CheckName{verifier.CheckAKStructure}},
		"byte after the AK": {func(_ *testing.T, id *verifier.Identity, _ *verifier.EnrollPolicy) {
			id.AKs[0].Public = append(bytes.Clone(id.AKs[0].Public), 0)
		}, []verifier.CheckName{verifier.CheckAKStructure}},
		"byte after the creation data": {func(_ *testing.T, id *verifier.Identity, _ *verifier.EnrollPolicy) {
			id.AKs[0].CreationData = append(bytes.Clone(id.AKs[0].CreationData), 0)
		}, []verifier.CheckName{verifier.CheckAKCreationData, verifier.CheckAKCertifiedObject}},
		"byte after the certification": {func(_ *testing.T, id *verifier.Identity, _ *verifier.EnrollPolicy) {
			id.AKs[0].CertifyInfo = append(bytes.Clone(id.AKs[0].CertifyInfo), 0)
		}, []verifier.CheckName{verifier.CheckAKCertifyInfo, verifier.CheckAKCertifySignature}},
		"byte after the signature": {func(_ *testing.T, id *verifier.Identity, _ *verifier.EnrollPolicy) {
			id.AKs[0].CertifySignature = append(bytes.Clone(id.AKs[0].CertifySignature), 0)
		}, []verifier.CheckName{verifier.CheckAKCertifySignature}},
		"byte after the EK": {func(_ *testing.T, id *verifier.Identity, _ *verifier.EnrollPolicy) {
			id.EKs = id.EKs[:1]
			id.EKs[0].Public = append(bytes.Clone(id.EKs[0].Public), 0)
		}, []verifier.CheckName{verifier.CheckEKStructure}},
		"AK as EK": {func(_ *testing.T, id *verifier.Identity, _ *verifier.EnrollPolicy) {
			id.EKs = []verifier.EndorsementKey{{Public: id.AKs[0].Public}}
		}, []verifier.CheckName{verifier.CheckEKAttributes, verifier.CheckEKAlgorithm}},
		"no EK": {func(_ *testing.T, id *verifier.Identity, _ *verifier.EnrollPolicy) {
			id.EKs = nil
		}, []verifier.CheckName{verifier.CheckEKStructure}},
		"simulated EK where the inventory names another": {func(_ *testing.T, id *verifier.Identity, p *verifier.EnrollPolicy) {
			p.Binding, p.Inventory = verifier.BindingInventory, inventoryOf(t, id.AKs[0].Public)
		}, []verifier.CheckName{verifier.CheckEKBinding}},
		"node that the inventory does not know": {func(_ *testing.T, id *verifier.Identity, p *verifier.EnrollPolicy) {
			p.Binding, p.Inventory, p.Node = verifier.BindingInventory, inventoryOf(t, id.EKs[0].Public), "node2.example"
		}, []verifier.CheckName{verifier.CheckEKBinding}},
		"certificate for another key": {func(t *testing.T, id *verifier.Identity, p *verifier.EnrollPolicy) {
			id.EKs = id.EKs[:1]
			id.EKs[0].Certificate = honest.EKs[1].Certificate
			p.Roots = m.roots(t)
		}, []verifier.CheckName{verifier.CheckEKCertificateKey}},
		"server certificate of another name": {func(t *testing.T, _ *verifier.Identity, p *verifier.EnrollPolicy) {
			p.Binding, p.Roots, p.ServerNames = verifier.BindingChain, m.roots(t), []string{"node2.example", "*.example"}
		}, []verifier.CheckName{verifier.CheckEKBinding}},
		"no server certificate": {func(t *testing.T, _ *verifier.Identity, p *verifier.EnrollPolicy) {
			p.Binding, p.Roots = verifier.BindingChain, m.roots(t)
		}, []verifier.CheckName{verifier.CheckEKBinding}},
		"no EK certificate": {func(t *testing.T, id *verifier.Identity, p *verifier.EnrollPolicy) {
			id.EKs = []verifier.EndorsementKey{{Public: id.EKs[0].Public}}
			p.Roots = m.roots(t)
		}, []verifier.CheckName{verifier.CheckEKCertificate}},
		"AK certificate for another key": {func(_ *testing.T, id *verifier.Identity, _ *verifier.EnrollPolicy) {
			id.AKs[0].Certificate = id.EKs[0].Certificate
		}, []verifier.CheckName{verifier.CheckAKCertificate}},
		"AK certificate that is none": {func(_ *testing.T, id *verifier.Identity, _ *verifier.EnrollPolicy) {
			id.AKs[0].Certificate = []byte("a certificate")
		}, []verifier.CheckName{verifier.CheckAKCertificate}},
	} {
		t.Run(name, func(t *testing.T) {
			id := verifier.Identity{EKs: append([]verifier.EndorsementKey{}, honest.EKs...), AKs: append([]verifier.AttestationKey{}, honest.AKs...)}
			policy := firstUse(nonce)
			test.alter(t, &id, &policy)
			wantEnrollment(t, verifier.Enroll(id, policy), test.want...)
		})
	}
}

// TestOnlyTheTPMThatHoldsBothKeysAnswers has what no check of bytes can tell.
func TestOnlyTheTPMThatHoldsBothKeysAnswers(t *testing.T) {
	t.Parallel()

	nonce := newNonce(t)
	m, other := startMachine(t), startMachine(t)
	honest, key := m.identity(t, nonce)
	foreign, _ := other.identity(t, nonce)

	start := func(t *testing.T, id verifier.Identity) (*verifier.Enrollment, *verifier.Challenge) {
		t.Helper()
		e := verifier.Enroll(id, firstUse(nonce))
		wantEnrollment(t, e)
		challenge, err := e.Challenge()
		if err != nil {
			t.Fatal(err)
		}
		return e, challenge
	}
	refused := func(t *testing.T, e *verifier.Enrollment, answer []byte) {
		t.Helper()
		record, err := e.Finish(answer, "", now())
		if err == nil || e.Enrolled() || len(record.AKs) > 0 {
			t.Errorf("enrolled as %+v", record)
		}
		if failures := e.Failures(); len(failures) != 1 || failures[0].Name != verifier.CheckCredential {
			t.Errorf("refused by %v, want %s alone", failures, verifier.CheckCredential)
		}
	}

	t.Run("AK of another TPM with this EK", func(t *testing.T) {
		e, challenge := start(t, verifier.Identity{EKs: honest.EKs, AKs: foreign.AKs})
		secret, err := m.activate(t, challenge, key.named())
		if !errors.Is(err, tpm2.TPMRCIntegrity) {
			t.Errorf("the TPM says %v", err)
		}
		refused(t, e, secret)
	})
	t.Run("credential for another Name", func(t *testing.T) {
		e, challenge := start(t, honest)
		secret, err := m.activate(t, challenge, m.make(t, p384()).named())
		if !errors.Is(err, tpm2.TPMRCIntegrity) {
			t.Errorf("the TPM says %v", err)
		}
		refused(t, e, secret)
	})
	t.Run("answer to another credential", func(t *testing.T) {
		e, _ := start(t, honest)
		_, former := start(t, honest)
		secret, err := m.activate(t, former, key.named())
		if err != nil {
			t.Fatal(err)
		}
		refused(t, e, secret)
	})
	t.Run("right answer after a wrong one", func(t *testing.T) {
		e, challenge := start(t, honest)
		secret, err := m.activate(t, challenge, key.named())
		if err != nil {
			t.Fatal(err)
		}
		refused(t, e, make([]byte, len(secret)))
		refused(t, e, secret)
	})
	t.Run("software key pretending to be an AK", func(t *testing.T) {
		software := newForgery(t)
		e, challenge := start(t, verifier.Identity{EKs: honest.EKs, AKs: []verifier.AttestationKey{software.attestationKey(t, nonce)}})
		// A TPM takes the public part of any key, and even gives it the Name. It has no authorisation to use it by.
		area, err := tpm2.Unmarshal[tpm2.TPMTPublic](software.public)
		if err != nil {
			t.Fatal(err)
		}
		loaded, err := tpm2.LoadExternal{InPublic: tpm2.New2B(*area), Hierarchy: tpm2.TPMRHEndorsement}.Execute(m)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _, _ = tpm2.FlushContext{FlushHandle: loaded.ObjectHandle}.Execute(m) }()
		secret, err := m.activate(t, challenge, tpm2.NamedHandle{Handle: loaded.ObjectHandle, Name: loaded.Name})
		if !errors.Is(err, tpm2.TPMRCAuthUnavailable) {
			t.Errorf("the TPM says %v", err)
		}
		refused(t, e, secret)
	})
}

// attestationKey is the software key with all that a node says of its AK, well made.
func (f *forgery) attestationKey(t testing.TB, nonce []byte) verifier.AttestationKey {
	t.Helper()
	f.makePublic(t)
	hierarchy := tpm2.TPM2BName{Buffer: []byte{0x40, 0, 0, 0x0B}}
	creation := tpm2.TPMSCreationData{ParentNameAlg: tpm2.TPMAlgNull, ParentName: hierarchy, ParentQualifiedName: hierarchy}
	if f.made != nil {
		f.made(&creation)
	}
	data := tpm2.Marshal(creation)
	info := tpm2.Marshal(tpm2.TPMSAttest{
		Magic:           tpm2.TPMGeneratedValue,
		Type:            tpm2.TPMSTAttestCreation,
		QualifiedSigner: tpm2.TPM2BName{Buffer: nameOf(hierarchy.Buffer, nameOf(f.public))},
		ExtraData:       tpm2.TPM2BData{Buffer: nonce},
		Attested: tpm2.NewTPMUAttest(tpm2.TPMSTAttestCreation, &tpm2.TPMSCreationInfo{
			ObjectName:   tpm2.TPM2BName{Buffer: nameOf(f.public)},
			CreationHash: tpm2.TPM2BDigest{Buffer: nameOf(data)[2:]},
		}),
	})
	return verifier.AttestationKey{Public: f.public, CreationData: data, CertifyInfo: info, CertifySignature: f.signature(t, info)}
}

// TestEveryByteOfAnIdentityCounts flips each in turn: there is none that a node can choose.
func TestEveryByteOfAnIdentityCounts(t *testing.T) {
	t.Parallel()

	m, nonce := startMachine(t), newNonce(t)
	id, _ := m.identity(t, nonce)
	id.EKs = id.EKs[:1]
	policy := firstUse(nonce)
	policy.Binding, policy.Inventory, policy.Roots = verifier.BindingInventory, inventoryOf(t, id.EKs[0].Public), m.roots(t)
	wantEnrollment(t, verifier.Enroll(id, policy))

	for name, test := range map[string]struct {
		part *[]byte
		by   []verifier.CheckName
	}{
		"EK":             {&id.EKs[0].Public, []verifier.CheckName{verifier.CheckEKStructure, verifier.CheckEKBinding, verifier.CheckEKCertificateKey, verifier.CheckEKAlgorithm}},
		"EK certificate": {&id.EKs[0].Certificate, []verifier.CheckName{verifier.CheckEKCertificate, verifier.CheckEKCertificateKey, verifier.CheckEKChain}},
		"AK":             {&id.AKs[0].Public, []verifier.CheckName{verifier.CheckAKStructure, verifier.CheckAKCertifiedObject}},
		"creation data":  {&id.AKs[0].CreationData, []verifier.CheckName{verifier.CheckAKCreationData, verifier.CheckAKCertifiedObject}},
		"certification":  {&id.AKs[0].CertifyInfo, []verifier.CheckName{verifier.CheckAKCertifySignature}},
		"signature":      {&id.AKs[0].CertifySignature, []verifier.CheckName{verifier.CheckAKCertifySignature}},
	} {
		good := *test.part
		for i := range good {
			*test.part = bytes.Clone(good)
			(*test.part)[i] ^= 0x01
			e := verifier.Enroll(id, policy)
			if !slices.ContainsFunc(test.by, func(n verifier.CheckName) bool { return e.Check(n).Outcome == verifier.Failed }) {
				t.Errorf("%s, byte %d: refused by %v, want by one of %v", name, i, e.Failures(), test.by)
			}
		}
		*test.part = good
	}
}

func TestADemandThatMakesNoSenseEnrolsNobody(t *testing.T) {
	t.Parallel()

	m, nonce := startMachine(t), newNonce(t)
	id, _ := m.identity(t, nonce)
	for name, alter := range map[string]func(*verifier.EnrollPolicy){
		"no name":             func(p *verifier.EnrollPolicy) { p.Node = "" },
		"name that is none":   func(p *verifier.EnrollPolicy) { p.Node = "a node" },
		"name in upper case":  func(p *verifier.EnrollPolicy) { p.Node = "Node1" },
		"no time":             func(p *verifier.EnrollPolicy) { p.At = verifier.EnrollPolicy{}.At },
		"no binding":          func(p *verifier.EnrollPolicy) { p.Binding = "" },
		"unknown binding":     func(p *verifier.EnrollPolicy) { p.Binding = "faith" },
		"binding of a CA":     func(p *verifier.EnrollPolicy) { p.Binding = verifier.BindingAKIssuer },
		"chain without roots": func(p *verifier.EnrollPolicy) { p.Binding, p.ServerNames = verifier.BindingChain, []string{nodeName} },
		"CRLs without roots":  func(p *verifier.EnrollPolicy) { p.CRLs = []verifier.CRL{{}} },
		"CRLs without roots for a known node": func(p *verifier.EnrollPolicy) {
			p.CRLs = []verifier.CRL{{}}
			p.Record = &verifier.NodeRecord{Name: nodeName, Binding: verifier.BindingChain}
		},
		"record of another": func(p *verifier.EnrollPolicy) {
			p.Record = &verifier.NodeRecord{Name: "other", Binding: verifier.BindingChain}
		},
		"record without bound": func(p *verifier.EnrollPolicy) { p.Record = &verifier.NodeRecord{Name: nodeName} },
		"serial without roots": func(p *verifier.EnrollPolicy) {
			p.Binding, p.Inventory = verifier.BindingInventory, parseInventory(t, "node,ek_name,ek_serial,ek_issuer\n"+nodeName+",,01,CN=x\n")
		},
	} {
		t.Run(name, func(t *testing.T) {
			policy := firstUse(nonce)
			alter(&policy)
			e := verifier.Enroll(id, policy)
			if c := e.Check(verifier.CheckEnrollPolicy); c.Outcome != verifier.Failed {
				t.Errorf("the policy %s: %s", c.Outcome, c.Detail)
			}
			if c, err := e.Challenge(); err == nil || c != nil {
				t.Error("a credential was made")
			}
		})
	}
	if e := verifier.Enroll(id, verifier.EnrollPolicy{}); e.Enrolled() || len(e.Failures()) == 0 {
		t.Error("the zero policy takes a node")
	}
	var zero verifier.Enrollment
	if _, err := zero.Challenge(); err == nil || zero.Enrolled() {
		t.Error("the zero Enrollment takes a node")
	}
	if _, err := zero.Finish(nil, "", now()); err == nil {
		t.Error("the zero Enrollment makes a record")
	}
	if err := new(verifier.Challenge).Answer(nil); err == nil {
		t.Error("the zero Challenge takes an answer")
	}
}
