package tpmsim_test

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-tpm/tpm2"

	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/tpmsim/tpmsimtest"
)

func TestClearOfARunningNodeKeepsSeedPCRsAndLog(t *testing.T) {
	t.Parallel()
	n := tpmsimtest.Start(t, tpmsim.Options{})
	ak, pcrs, log := akName(t, n), allPCRs(t, n), n.EventLog()
	if err := n.SetAuths([]byte("o"), []byte("e")); err != nil {
		t.Fatal(err)
	}
	if err := n.SetHierarchy(false); err != nil {
		t.Fatal(err)
	}

	if err := n.Clear(t.Context()); err != nil {
		t.Fatal(err)
	}

	if got := akName(t, n); !bytes.Equal(got, ak) {
		t.Errorf("AK = %x, before %x", got, ak)
	}
	if got := persistentHandles(t, n); len(got) != 0 {
		t.Errorf("persistent handles %x, want none", got)
	}
	if got := resetCount(t, n); got != 0 {
		t.Errorf("resetCount = %d, want 0", got)
	}
	if diff := cmp.Diff(pcrs, allPCRs(t, n)); diff != "" {
		t.Errorf("PCRs (-before +after):\n%s", diff)
	}
	if !bytes.Equal(n.EventLog(), log) {
		t.Error("the log changed")
	}
	if err := n.SetAuths([]byte("o"), nil); err != nil {
		t.Errorf("the node has not noticed that the authorization values are gone: %v", err)
	}
}

func TestReplaceOfARunningNodeKeepsTheScenario(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	n := tpmsimtest.Start(t, tpmsim.Options{StateDir: dir})
	if err := n.Reboot(t.Context(), tpmsim.OtherKernel); err != nil {
		t.Fatal(err)
	}
	names, roots, pcrs := derivedNames(t, n), n.EKRoots(), allPCRs(t, n)

	if err := n.Replace(t.Context()); err != nil {
		t.Fatal(err)
	}

	for i, name := range derivedNames(t, n) {
		if bytes.Equal(name, names[i]) {
			t.Errorf("key %d is the same in both TPMs", i)
		}
	}
	if n.EKRoots().Equal(roots) {
		t.Error("both TPMs have the same authority")
	}
	if diff := cmp.Diff(pcrs, allPCRs(t, n)); diff != "" {
		t.Errorf("PCRs (-before +after):\n%s", diff)
	}

	names = derivedNames(t, n)
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	again := tpmsimtest.Start(t, tpmsim.Options{StateDir: dir})
	if diff := cmp.Diff(names, derivedNames(t, again)); diff != "" {
		t.Errorf("names of the keys when it is taken up again (-before +after):\n%s", diff)
	}
}

func TestReplacementThatWasCutShortBeginsAnew(t *testing.T) {
	t.Parallel()
	n := tpmsimtest.Start(t, tpmsim.Options{})
	names := derivedNames(t, n)

	// Manufacture takes longer; wherever it is cut, what comes next must hold.
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Millisecond)
	defer cancel()
	if err := n.Replace(ctx); err == nil {
		t.Log("the replacement was faster than its deadline")
	}
	if err := n.Reboot(t.Context(), tpmsim.Trusted); err != nil {
		t.Fatal(err)
	}

	after := derivedNames(t, n)
	for _, where := range eks() {
		verifyEK(t, n, readCertificate(t, n, where[1]))
	}
	if bytes.Equal(after[0], names[0]) != bytes.Equal(after[1], names[1]) {
		t.Error("half of the TPM is the old one")
	}
}

func TestSetAuthsChangesAndRemovesThem(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	n := tpmsimtest.Start(t, tpmsim.Options{StateDir: dir})

	check := func(n *tpmsim.Node, owner, endorsement []byte) {
		t.Helper()
		if err := n.SetAuths(owner, endorsement); err != nil {
			t.Fatal(err)
		}
		if err := defineAndUndefine(n, owner); err != nil {
			t.Errorf("owner %q: %v", owner, err)
		}
		if err := derive(n, endorsement); err != nil {
			t.Errorf("endorsement %q: %v", endorsement, err)
		}
	}

	check(n, []byte("first"), nil)
	check(n, nil, []byte("second"))
	check(n, []byte("third"), []byte("fourth"))
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}

	n = tpmsimtest.Start(t, tpmsim.Options{StateDir: dir})
	if err := derive(n, nil); !errors.Is(err, tpm2.TPMRCBadAuth) {
		t.Errorf("endorsement after a second start: error = %v, want TPM_RC_BAD_AUTH", err)
	}
	check(n, nil, nil)
}

func TestSetHierarchySwitchesOffAndOn(t *testing.T) {
	t.Parallel()
	n := tpmsimtest.Start(t, tpmsim.Options{})
	names := keyNames(t, n)

	if err := n.SetHierarchy(false); err != nil {
		t.Fatal(err)
	}
	if err := derive(n, nil); !errors.Is(err, tpm2.TPMRCHierarchy) {
		t.Errorf("deriving an EK: error = %v, want TPM_RC_HIERARCHY", err)
	}
	if err := n.SetHierarchy(true); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(names, keyNames(t, n)); diff != "" {
		t.Errorf("names of EK and AK (-before +after):\n%s", diff)
	}
}

func TestOccupyPutsAStrangersKeyInPlaceOfAnything(t *testing.T) {
	t.Parallel()
	const free, taken = 0x81018100, 0x81010001
	n := tpmsimtest.Start(t, tpmsim.Options{})
	ek := nameAt(t, n, taken)
	if err := n.SetAuths([]byte("owner"), []byte("endorsement")); err != nil {
		t.Fatal(err)
	}

	for range 2 {
		for _, handle := range []tpm2.TPMHandle{free, taken} {
			if err := n.Occupy(handle); err != nil {
				t.Fatal(err)
			}
		}
	}

	name := nameAt(t, n, free)
	if got := nameAt(t, n, taken); !bytes.Equal(got, name) || bytes.Equal(got, ek) {
		t.Errorf("key at the taken handle = %x, want %x and not %x", got, name, ek)
	}
	if got := loadedObjects(t, n); len(got) != 0 {
		t.Errorf("loaded objects %x, want none", got)
	}

	// It signs for whoever finds it, as the AK that may have been there did.
	_, err := tpm2.Quote{
		SignHandle:     tpm2.AuthHandle{Handle: free, Name: tpm2.TPM2BName{Buffer: name}, Auth: tpm2.PasswordAuth(nil)},
		QualifyingData: tpm2.TPM2BData{Buffer: []byte("nonce")},
		InScheme:       tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgNull},
		PCRSelect: tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{
			{Hash: tpm2.TPMAlgSHA256, PCRSelect: tpm2.PCClientCompatible.PCRs(17)},
		}},
	}.Execute(n)
	if err != nil {
		t.Errorf("quote by the stranger's key: %v", err)
	}
}

func TestFillNVLeavesNoRoomUntilFreeNV(t *testing.T) {
	t.Parallel()
	n := tpmsimtest.Start(t, tpmsim.Options{})
	if err := n.SetAuths([]byte("owner"), nil); err != nil {
		t.Fatal(err)
	}
	handles := persistentHandles(t, n)

	if err := n.FillNV(); err != nil {
		t.Fatal(err)
	}
	if err := n.FillNV(); err != nil {
		t.Errorf("filling what is full: %v", err)
	}
	if err := defineAndUndefine(n, []byte("owner")); !errors.Is(err, tpm2.TPMRCNVSpace) {
		t.Errorf("defining an index: error = %v, want TPM_RC_NV_SPACE", err)
	}
	if err := n.Occupy(0x81018100); !errors.Is(err, tpm2.TPMRCNVSpace) {
		t.Errorf("making a key persistent: error = %v, want TPM_RC_NV_SPACE", err)
	}
	if got := loadedObjects(t, n); len(got) != 0 {
		t.Errorf("loaded objects %x, want none", got)
	}

	if err := n.FreeNV(); err != nil {
		t.Fatal(err)
	}
	if err := defineAndUndefine(n, []byte("owner")); err != nil {
		t.Errorf("defining an index afterwards: %v", err)
	}
	if diff := cmp.Diff(handles, persistentHandles(t, n)); diff != "" {
		t.Errorf("persistent handles (-before +after):\n%s", diff)
	}
}

func TestClosedNodeCannotBeChanged(t *testing.T) {
	t.Parallel()
	n := tpmsimtest.Start(t, tpmsim.Options{})
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}

	for name, err := range map[string]error{
		"Clear":        n.Clear(t.Context()),
		"Replace":      n.Replace(t.Context()),
		"SetAuths":     n.SetAuths([]byte("x"), nil),
		"SetHierarchy": n.SetHierarchy(false),
		"Occupy":       n.Occupy(0x81018100),
		"FillNV":       n.FillNV(),
		"FreeNV":       n.FreeNV(),
	} {
		if !errors.Is(err, tpmsim.ErrClosed) {
			t.Errorf("%s: error = %v, want %v", name, err, tpmsim.ErrClosed)
		}
	}
}

func TestChangesWithAnEndedContextDoNothing(t *testing.T) {
	t.Parallel()
	n := tpmsimtest.Start(t, tpmsim.Options{})
	names := keyNames(t, n)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()

	for name, err := range map[string]error{"Clear": n.Clear(ctx), "Replace": n.Replace(ctx)} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: error = %v, want context.Canceled", name, err)
		}
	}
	if diff := cmp.Diff(names, keyNames(t, n)); diff != "" {
		t.Errorf("names of EK and AK (-before +after):\n%s", diff)
	}
}
