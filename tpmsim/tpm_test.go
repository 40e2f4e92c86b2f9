package tpmsim_test

import (
	"encoding/hex"
	"fmt"
	"os"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
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
		read, err := tpm2.ReadPublic{ObjectHandle: handle}.Execute(tpm)
		if err != nil {
			t.Fatalf("reading the EK at %#x: %v", uint32(handle), err)
		}
		names = append(names, hex.EncodeToString(read.Name.Buffer))
	}

	handle, name := loadAK(t, tpm)
	if _, err := (tpm2.FlushContext{FlushHandle: handle}).Execute(tpm); err != nil {
		t.Fatal(err)
	}
	return append(names, hex.EncodeToString(name.Buffer))
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
