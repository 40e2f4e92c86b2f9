package tpmsim_test

import (
	"encoding/hex"
	"fmt"
	"os"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/trustpool/trustpool/tpmsim"
)

// hashAlgs are the active banks by the names used in these tests.
func hashAlgs() map[string]tpm2.TPMAlgID {
	return map[string]tpm2.TPMAlgID{"sha1": tpm2.TPMAlgSHA1, "sha256": tpm2.TPMAlgSHA256, "sha384": tpm2.TPMAlgSHA384}
}

// allPCRs returns PCRs 0 to 23 of the active banks in hex, by "sha256:17".
func allPCRs(t *testing.T, tpm transport.TPM) map[string]string {
	t.Helper()

	values := make(map[string]string)
	for name, alg := range hashAlgs() {
		for pcr := range uint(24) {
			values[fmt.Sprintf("%s:%d", name, pcr)] = hex.EncodeToString(readPCR(t, tpm, alg, pcr))
		}
	}
	return values
}

// readPCR returns one PCR, nil if the bank is not active.
func readPCR(t *testing.T, tpm transport.TPM, alg tpm2.TPMAlgID, pcr uint) []byte {
	t.Helper()

	read, err := tpm2.PCRRead{PCRSelectionIn: tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{
		{Hash: alg, PCRSelect: tpm2.PCClientCompatible.PCRs(pcr)},
	}}}.Execute(tpm)
	if err != nil {
		t.Fatalf("reading PCR %d: %v", pcr, err)
	}
	if len(read.PCRValues.Digests) == 0 {
		return nil
	}
	return read.PCRValues.Digests[0].Buffer
}

func resetCount(t *testing.T, tpm transport.TPM) uint32 {
	t.Helper()

	clock, err := tpm2.ReadClock{}.Execute(tpm)
	if err != nil {
		t.Fatalf("reading the clock: %v", err)
	}
	return clock.CurrentTime.ClockInfo.ResetCount
}

// keyNames returns the names of the persistent EKs and of an AK that is a primary
// key of the endorsement hierarchy.
func keyNames(t *testing.T, tpm transport.TPM) []string {
	t.Helper()

	var names []string
	for _, handle := range []tpm2.TPMHandle{0x81010001, 0x81010016} {
		names = append(names, hex.EncodeToString(nameAt(t, tpm, handle)))
	}

	return append(names, hex.EncodeToString(akName(t, tpm)))
}

// akName returns the name of the AK of loadAK, which does not stay loaded.
func akName(t *testing.T, tpm transport.TPM) []byte {
	t.Helper()

	handle, name := loadAK(t, tpm)
	if _, err := (tpm2.FlushContext{FlushHandle: handle}).Execute(tpm); err != nil {
		t.Fatal(err)
	}
	return name.Buffer
}

// derivedNames returns the names of an AK and of a primary key of the owner.
func derivedNames(t *testing.T, tpm *tpmsim.Node) [][]byte {
	t.Helper()

	if err := tpm.SetAuths(nil, nil); err != nil {
		t.Fatal(err)
	}
	owner, err := tpm2.CreatePrimary{PrimaryHandle: tpm2.TPMRHOwner, InPublic: tpm2.New2B(tpm2.ECCSRKTemplate)}.Execute(tpm)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (tpm2.FlushContext{FlushHandle: owner.ObjectHandle}).Execute(tpm); err != nil {
		t.Fatal(err)
	}
	return [][]byte{akName(t, tpm), owner.Name.Buffer}
}

// derive derives an EK with an authorization of the endorsement hierarchy.
func derive(tpm transport.TPM, auth []byte) error {
	made, err := tpm2.CreatePrimary{
		PrimaryHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHEndorsement, Auth: tpm2.PasswordAuth(auth)},
		InPublic:      tpm2.New2B(tpm2.ECCEKTemplate),
	}.Execute(tpm)
	if err != nil {
		return err
	}
	_, err = tpm2.FlushContext{FlushHandle: made.ObjectHandle}.Execute(tpm)
	return err
}

// defineAndUndefine uses an authorization of the owner.
func defineAndUndefine(tpm transport.TPM, auth []byte) error {
	const index = 0x01800001

	owner := tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(auth)}
	if _, err := (tpm2.NVDefineSpace{AuthHandle: owner, PublicInfo: tpm2.New2B(tpm2.TPMSNVPublic{
		NVIndex: index, NameAlg: tpm2.TPMAlgSHA256, DataSize: 1,
		Attributes: tpm2.TPMANV{OwnerWrite: true, OwnerRead: true},
	})}).Execute(tpm); err != nil {
		return err
	}
	public, err := tpm2.NVReadPublic{NVIndex: tpm2.TPMHandle(index)}.Execute(tpm)
	if err != nil {
		return err
	}
	_, err = tpm2.NVUndefineSpace{AuthHandle: owner, NVIndex: tpm2.NamedHandle{Handle: index, Name: public.NVName}}.Execute(tpm)
	return err
}

// nameAt returns the name of a persistent object.
func nameAt(t *testing.T, tpm transport.TPM, handle tpm2.TPMHandle) []byte {
	t.Helper()

	read, err := tpm2.ReadPublic{ObjectHandle: handle}.Execute(tpm)
	if err != nil {
		t.Fatalf("reading the object at %#x: %v", uint32(handle), err)
	}
	return read.Name.Buffer
}

func persistentHandles(t *testing.T, tpm transport.TPM) []tpm2.TPMHandle {
	t.Helper()
	return handles(t, tpm, 0x81000000)
}

func loadedObjects(t *testing.T, tpm transport.TPM) []tpm2.TPMHandle {
	t.Helper()
	return handles(t, tpm, 0x80000000)
}

// handles lists the handles of the kind that begins with first.
func handles(t *testing.T, tpm transport.TPM, first tpm2.TPMHandle) []tpm2.TPMHandle {
	t.Helper()

	listed, err := tpm2.GetCapability{Capability: tpm2.TPMCapHandles, Property: uint32(first), PropertyCount: 100}.Execute(tpm)
	if err != nil {
		t.Fatalf("listing handles: %v", err)
	}
	list, err := listed.CapabilityData.Data.Handles()
	if err != nil {
		t.Fatal(err)
	}
	return list.Handle
}

// loadAK makes an ECDSA P-256 AK, which stays loaded.
func loadAK(t *testing.T, tpm transport.TPM) (tpm2.TPMHandle, tpm2.TPM2BName) {
	t.Helper()

	ak, err := tpm2.CreatePrimary{
		PrimaryHandle: tpm2.TPMRHEndorsement,
		InPublic: tpm2.New2B(tpm2.TPMTPublic{
			Type:    tpm2.TPMAlgECC,
			NameAlg: tpm2.TPMAlgSHA256,
			ObjectAttributes: tpm2.TPMAObject{
				FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true,
				UserWithAuth: true, Restricted: true, SignEncrypt: true,
			},
			Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{
				Scheme: tpm2.TPMTECCScheme{
					Scheme:  tpm2.TPMAlgECDSA,
					Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgECDSA, &tpm2.TPMSSigSchemeECDSA{HashAlg: tpm2.TPMAlgSHA256}),
				},
				CurveID: tpm2.TPMECCNistP256,
			}),
		}),
	}.Execute(tpm)
	if err != nil {
		t.Fatalf("making an AK: %v", err)
	}
	return ak.ObjectHandle, ak.Name
}

// pcrHandle authorizes a PCR with its empty password.
func pcrHandle(pcr uint32) tpm2.AuthHandle {
	return tpm2.AuthHandle{Handle: tpm2.TPMHandle(pcr), Auth: tpm2.PasswordAuth(nil)}
}

// extendCommand returns TPM2_PCR_Extend as it goes over the wire.
func extendCommand(t *testing.T, pcr uint32) []byte {
	t.Helper()

	var wire recorder
	_, _ = tpm2.PCRExtend{PCRHandle: pcrHandle(pcr), Digests: tpm2.TPMLDigestValues{Digests: []tpm2.TPMTHA{
		{HashAlg: tpm2.TPMAlgSHA256, Digest: make([]byte, 32)},
	}}}.Execute(&wire)
	if len(wire.cmd) == 0 {
		t.Fatal("nothing was sent")
	}
	return wire.cmd
}

// recorder keeps a command and fails.
type recorder struct{ cmd []byte }

func (r *recorder) Send(cmd []byte) ([]byte, error) {
	r.cmd = cmd
	return nil, os.ErrClosed
}

func fileNames(t *testing.T, dir string) []string {
	t.Helper()

	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
