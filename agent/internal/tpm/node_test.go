package tpm_test

import (
	"encoding/binary"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"github.com/trustpool/trustpool/tpmsim"
)

// extend extends a PCR of the SHA-256 bank from locality 0.
func extend(t *testing.T, node *tpmsim.Node, pcr uint32) {
	t.Helper()

	_, err := tpm2.PCRExtend{
		PCRHandle: tpm2.AuthHandle{Handle: tpm2.TPMHandle(pcr), Auth: tpm2.PasswordAuth(nil)},
		Digests: tpm2.TPMLDigestValues{Digests: []tpm2.TPMTHA{{
			HashAlg: tpm2.TPMAlgSHA256, Digest: make([]byte, 32),
		}}},
	}.Execute(node)
	if err != nil {
		t.Error(err)
	}
}

// persistForeign puts a signing key of the owner's hierarchy at a handle and returns its Name.
func persistForeign(t *testing.T, node *tpmsim.Node, handle tpm2.TPMHandle) []byte {
	t.Helper()

	primary, err := tpm2.CreatePrimary{
		PrimaryHandle: tpm2.TPMRHOwner,
		InPublic: tpm2.New2B(tpm2.TPMTPublic{
			Type:    tpm2.TPMAlgECC,
			NameAlg: tpm2.TPMAlgSHA256,
			ObjectAttributes: tpm2.TPMAObject{
				FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true, UserWithAuth: true, NoDA: true, Restricted: true, SignEncrypt: true,
			},
			Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{
				Scheme: tpm2.TPMTECCScheme{
					Scheme:  tpm2.TPMAlgECDSA,
					Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgECDSA, &tpm2.TPMSSigSchemeECDSA{HashAlg: tpm2.TPMAlgSHA256}),
				},
				CurveID: tpm2.TPMECCNistP256,
			}),
		}),
	}.Execute(node)
	if err != nil {
		t.Fatal(err)
	}

	_, err = tpm2.EvictControl{
		Auth:             tpm2.TPMRHOwner,
		ObjectHandle:     &tpm2.NamedHandle{Handle: primary.ObjectHandle, Name: primary.Name},
		PersistentHandle: handle,
	}.Execute(node)
	if err != nil {
		t.Fatal(err)
	}

	if _, err := (tpm2.FlushContext{FlushHandle: primary.ObjectHandle}).Execute(node); err != nil {
		t.Fatal(err)
	}

	return primary.Name.Buffer
}

// evict removes the object at a persistent handle.
func evict(t *testing.T, node *tpmsim.Node, handle tpm2.TPMHandle) {
	t.Helper()

	_, err := tpm2.EvictControl{
		Auth:             tpm2.TPMRHOwner,
		ObjectHandle:     &tpm2.NamedHandle{Handle: handle, Name: tpm2.TPM2BName{Buffer: nameAt(t, node, handle)}},
		PersistentHandle: handle,
	}.Execute(node)
	if err != nil {
		t.Fatal(err)
	}
}

func nameAt(t *testing.T, node *tpmsim.Node, handle tpm2.TPMHandle) []byte {
	t.Helper()

	public, err := tpm2.ReadPublic{ObjectHandle: handle}.Execute(node)
	if err != nil {
		t.Fatal(err)
	}

	return public.Name.Buffer
}

// handlesFrom lists the handles of one kind that the TPM knows.
func handlesFrom(t *testing.T, node *tpmsim.Node, first tpm2.TPMHandle) []tpm2.TPMHandle {
	t.Helper()

	response, err := tpm2.GetCapability{Capability: tpm2.TPMCapHandles, Property: uint32(first), PropertyCount: 100}.Execute(node)
	if err != nil {
		t.Fatal(err)
	}

	handles, err := response.CapabilityData.Data.Handles()
	if err != nil {
		t.Fatal(err)
	}

	return handles.Handle
}

// setEndorsement performs TPM2_HierarchyControl (TPM 2.0 Part 3, 24.2).
func setEndorsement(t *testing.T, node *tpmsim.Node, enabled bool) {
	t.Helper()

	state := byte(0)
	if enabled {
		state = 1
	}

	asPlatform(t, node, 0x121, []byte{0x40, 0, 0, 0x0B, state}) // TPM_RH_ENDORSEMENT
}

// changeEPS performs TPM2_ChangeEPS (TPM 2.0 Part 3, 24.4): the TPM is another one from now on.
func changeEPS(t *testing.T, node *tpmsim.Node) {
	t.Helper()
	asPlatform(t, node, 0x124, nil)
}

// asPlatform performs a command that go-tpm does not have, with empty platform authorisation.
func asPlatform(t *testing.T, node *tpmsim.Node, code uint32, parameters []byte) {
	t.Helper()

	body := []byte{
		0x40, 0, 0, 0x0C, // TPM_RH_PLATFORM
		0, 0, 0, 9, 0x40, 0, 0, 0x09, 0, 0, 0, 0, 0, // empty password
	}
	body = append(body, parameters...)
	command := binary.BigEndian.AppendUint32([]byte{0x80, 0x02}, uint32(10+len(body)))
	command = append(binary.BigEndian.AppendUint32(command, code), body...)

	response, err := node.Send(command)
	if err != nil || binary.BigEndian.Uint32(response[6:]) != 0 {
		t.Fatalf("command %#x: %x, %v", code, response, err)
	}
}

// setAuth gives a hierarchy an authorisation value.
func setAuth(t *testing.T, node *tpmsim.Node, hierarchy tpm2.TPMHandle, value string) {
	t.Helper()

	_, err := tpm2.HierarchyChangeAuth{
		AuthHandle: tpm2.AuthHandle{Handle: hierarchy, Auth: tpm2.PasswordAuth(nil)},
		NewAuth:    tpm2.TPM2BAuth{Buffer: []byte(value)},
	}.Execute(node)
	if err != nil {
		t.Fatal(err)
	}
}
