package verifier_test

import (
	"bytes"
	"encoding/pem"
	"errors"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"

	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/tpmsim/tpmsimtest"
	"github.com/trustpool/trustpool/verifier"
)

// nodeName is the name that nodes are enrolled by.
const nodeName = "node1.example"

// ekHandles are where a node keeps its EKs and their certificates, RSA first.
func ekHandles() [][2]tpm2.TPMHandle {
	return [][2]tpm2.TPMHandle{{0x81010001, 0x01c00002}, {0x81010016, 0x01c00016}}
}

// machine is a simulated node whose TPM is used directly, as an agent does.
type machine struct{ *tpmsim.Node }

func startMachine(t testing.TB) *machine {
	t.Helper()
	return &machine{tpmsimtest.Start(t, tpmsim.Options{Scenario: tpmsim.NoLaunch})}
}

// madeKey is a primary key that is loaded.
type madeKey struct {
	*tpm2.CreatePrimaryResponse
	kind   keyKind
	scheme tpm2.TPMTSigScheme
}

func (m *machine) make(t testing.TB, kind keyKind) *madeKey {
	t.Helper()
	made, err := tpm2.CreatePrimary{PrimaryHandle: kind.hierarchy, InPublic: tpm2.New2B(kind.template)}.Execute(m)
	if err != nil {
		t.Fatalf("creating the key: %v", err)
	}
	t.Cleanup(func() {
		if _, err := (tpm2.FlushContext{FlushHandle: made.ObjectHandle}).Execute(m); err != nil {
			t.Errorf("flushing the key: %v", err)
		}
	})
	return &madeKey{CreatePrimaryResponse: made, kind: kind, scheme: schemeOf(t, kind.template)}
}

// certify has the key tell how it was made, as an agent does for GetIdentity.
func (m *machine) certify(t testing.TB, k *madeKey, nonce []byte) verifier.AttestationKey {
	t.Helper()
	certified, err := tpm2.CertifyCreation{
		SignHandle:     tpm2.NamedHandle{Handle: k.ObjectHandle, Name: k.Name},
		ObjectHandle:   tpm2.NamedHandle{Handle: k.ObjectHandle, Name: k.Name},
		QualifyingData: tpm2.TPM2BData{Buffer: nonce},
		CreationHash:   k.CreationHash,
		InScheme:       k.scheme,
		CreationTicket: k.CreationTicket,
	}.Execute(m)
	if err != nil {
		t.Fatalf("certifying the creation: %v", err)
	}
	return verifier.AttestationKey{
		Public:           k.OutPublic.Bytes(),
		CreationData:     k.CreationData.Bytes(),
		CertifyInfo:      certified.CertifyInfo.Bytes(),
		CertifySignature: tpm2.Marshal(certified.Signature),
	}
}

// eks reads the EKs and their certificates.
func (m *machine) eks(t testing.TB) []verifier.EndorsementKey {
	t.Helper()
	var eks []verifier.EndorsementKey
	for _, at := range ekHandles() {
		read, err := tpm2.ReadPublic{ObjectHandle: at[0]}.Execute(m)
		if err != nil {
			t.Fatalf("reading the EK: %v", err)
		}
		eks = append(eks, verifier.EndorsementKey{Public: read.OutPublic.Bytes(), Certificate: m.readNV(t, at[1])})
	}
	return eks
}

func (m *machine) readNV(t testing.TB, index tpm2.TPMHandle) []byte {
	t.Helper()
	public, err := tpm2.NVReadPublic{NVIndex: index}.Execute(m)
	if err != nil {
		t.Fatalf("reading an NV index: %v", err)
	}
	contents, err := public.NVPublic.Contents()
	if err != nil {
		t.Fatal(err)
	}
	var data []byte
	for size := int(contents.DataSize); len(data) < size; {
		read, err := tpm2.NVRead{
			AuthHandle: tpm2.TPMRHOwner,
			NVIndex:    tpm2.NamedHandle{Handle: index, Name: public.NVName},
			Size:       uint16(min(512, size-len(data))),
			Offset:     uint16(len(data)),
		}.Execute(m)
		if err != nil {
			t.Fatalf("reading an NV index: %v", err)
		}
		data = append(data, read.Data.Buffer...)
	}
	return data
}

// identity is what an honest agent answers, and the AK that it is about.
func (m *machine) identity(t testing.TB, nonce []byte) (verifier.Identity, *madeKey) {
	t.Helper()
	k := m.make(t, p256())
	return verifier.Identity{EKs: m.eks(t), AKs: []verifier.AttestationKey{m.certify(t, k, nonce)}}, k
}

// activate opens the credential with the EK that it names and the key, as TPM2_ActivateCredential does (TPM 2.0 Part 3, 12.5).
func (m *machine) activate(t testing.TB, c *verifier.Challenge, key tpm2.NamedHandle) ([]byte, error) {
	t.Helper()
	for _, at := range ekHandles() {
		read, err := tpm2.ReadPublic{ObjectHandle: at[0]}.Execute(m)
		if err != nil {
			t.Fatalf("reading the EK: %v", err)
		}
		if !bytes.Equal(read.OutPublic.Bytes(), c.EKPublic) {
			continue
		}
		// EK Credential Profile for TPM Family 2.0, B.6.2: PolicyA of the low range. Those of the high range take the empty password too.
		auth := tpm2.Policy(tpm2.TPMAlgSHA256, 16, ekPolicy())
		if at[0] != ekHandles()[0][0] {
			auth = tpm2.PasswordAuth(nil)
		}
		command := tpm2.ActivateCredential{
			ActivateHandle: tpm2.AuthHandle{Handle: key.Handle, Name: key.Name, Auth: tpm2.PasswordAuth(nil)},
			KeyHandle:      tpm2.AuthHandle{Handle: at[0], Name: read.Name, Auth: auth},
			CredentialBlob: tpm2.TPM2BIDObject{Buffer: c.Blob},
			Secret:         tpm2.TPM2BEncryptedSecret{Buffer: c.EncryptedSecret},
		}
		opened, err := command.Execute(m)
		for range 10 { // swtpm asks so at times
			if !errors.Is(err, tpm2.TPMRCRetry) {
				break
			}
			opened, err = command.Execute(m)
		}
		if err != nil {
			return nil, err
		}
		return opened.CertInfo.Buffer, nil
	}
	t.Fatal("the credential is for another TPM's EK")
	return nil, nil
}

func (k *madeKey) named() tpm2.NamedHandle {
	return tpm2.NamedHandle{Handle: k.ObjectHandle, Name: k.Name}
}

// roots is the bundle of the authority that signed the machine's EK certificates.
func (m *machine) roots(t testing.TB) verifier.EKRoots {
	t.Helper()
	return parseRoots(t, m.EKRootsPEM())
}

func parseRoots(t testing.TB, bundle []byte) verifier.EKRoots {
	t.Helper()
	roots, err := verifier.ParseEKRoots(bundle)
	if err != nil {
		t.Fatal(err)
	}
	return roots
}

func pemOf(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// inventoryOf knows the node by the Name of an EK.
func inventoryOf(t testing.TB, ekPublic []byte) verifier.Inventory {
	t.Helper()
	return parseInventory(t, "node,ek_name,ek_serial,ek_issuer\n"+nodeName+","+verifier.Hex(nameOfKey(t, ekPublic)).String()+",,\n")
}

func parseInventory(t testing.TB, text string) verifier.Inventory {
	t.Helper()
	inv, err := verifier.ParseInventory([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return inv
}

// nameOfKey is the Name that a TPM gives a key, by go-tpm's reckoning.
func nameOfKey(t testing.TB, public []byte) []byte {
	t.Helper()
	area, err := tpm2.Unmarshal[tpm2.TPMTPublic](public)
	if err != nil {
		t.Fatal(err)
	}
	name, err := tpm2.ObjectName(area)
	if err != nil {
		t.Fatal(err)
	}
	return name.Buffer
}

// wantEnrollment fails the test unless these are the checks that failed.
func wantEnrollment(t testing.TB, e *verifier.Enrollment, failed ...verifier.CheckName) {
	t.Helper()
	want := make(map[verifier.CheckName]bool)
	for _, name := range failed {
		want[name] = true
	}
	for _, c := range e.Checks {
		if got := c.Outcome == verifier.Failed; got != want[c.Name] {
			t.Errorf("check %s: %s %s", c.Name, c.Outcome, c.Detail)
		}
	}
	if len(failed) == 0 {
		if failures := e.Failures(); len(failures) > 0 {
			t.Errorf("%v speak against it", failures)
		}
		return
	}
	if c, err := e.Challenge(); err == nil || c != nil {
		t.Error("a credential was made for a node that is refused")
	}
	if e.Enrolled() {
		t.Error("it is enrolled all the same")
	}
}

func now() time.Time { return time.Now() }
