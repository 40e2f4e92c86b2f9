package tpmsim_test

import (
	"bytes"
	"errors"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-tpm/tpm2"

	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/tpmsim/tpmsimtest"
)

func TestScenariosThatOnlyTouchTheTPMLaunchWhatTrustedDoes(t *testing.T) {
	t.Parallel()
	trusted := tpmsimtest.Start(t, tpmsim.Options{})

	for _, s := range []tpmsim.Scenario{tpmsim.Cleared, tpmsim.Replaced, tpmsim.HierarchyOff, tpmsim.SecLHost} {
		n := tpmsimtest.Start(t, tpmsim.Options{Scenario: s})
		if diff := cmp.Diff(allPCRs(t, trusted), allPCRs(t, n)); diff != "" {
			t.Errorf("%s: PCRs (-trusted +got):\n%s", s, diff)
		}
		if !bytes.Equal(n.EventLog(), trusted.EventLog()) {
			t.Errorf("%s: the log differs", s)
		}
	}
}

func TestCapIsTheLastEventOfPCRs17And18(t *testing.T) {
	t.Parallel()
	trusted := tpmsimtest.Start(t, tpmsim.Options{})
	n := tpmsimtest.Start(t, tpmsim.Options{Scenario: tpmsim.Capped})

	_, plain := readLog(t, trusted.EventLog())
	_, events := readLog(t, n.EventLog())
	if diff := cmp.Diff(plain, events[:len(plain)], cmp.AllowUnexported(event{})); diff != "" {
		t.Errorf("events before the cap (-trusted +got):\n%s", diff)
	}
	caps := events[len(plain):]
	if len(caps) != 2 || caps[0].pcr != 17 || caps[1].pcr != 18 {
		t.Fatalf("events behind those of a trusted launch: %v, want one for PCR 17 and one for PCR 18", caps)
	}
	for _, e := range caps {
		if e.typ != 0x4ff || !bytes.Equal(e.data, []byte{1}) {
			t.Errorf("PCR %d: cap of type %#x with data %x, want 0x4ff with 01", e.pcr, e.typ, e.data)
		}
		for name, alg := range hashAlgs() {
			if want := sum(hashOf(t, alg), []byte{1}); !bytes.Equal(e.digests[alg], want) {
				t.Errorf("PCR %d: %s digest of the cap = %x, want %x", e.pcr, name, e.digests[alg], want)
			}
		}
	}
}

func TestTamperedLogDiffersInOneEventAndDoesNotReplay(t *testing.T) {
	t.Parallel()
	trusted := tpmsimtest.Start(t, tpmsim.Options{})
	n := tpmsimtest.Start(t, tpmsim.Options{Scenario: tpmsim.TamperedLog})

	if diff := cmp.Diff(allPCRs(t, trusted), allPCRs(t, n)); diff != "" {
		t.Errorf("the launch itself differs (-trusted +got):\n%s", diff)
	}

	_, want := readLog(t, trusted.EventLog())
	_, got := readLog(t, n.EventLog())
	differ := 0
	for i := range want {
		if !cmp.Equal(want[i], got[i], cmp.AllowUnexported(event{})) {
			differ++
		}
	}
	if len(got) != len(want) || differ != 1 {
		t.Errorf("%d of %d events differ, want 1 of %d", differ, len(got), len(want))
	}

	for name, alg := range hashAlgs() {
		values := replay(t, got, alg)
		if bytes.Equal(values[17], readPCR(t, n, alg, 17)) {
			t.Errorf("%s:17 replays", name)
		}
		if !bytes.Equal(values[18], readPCR(t, n, alg, 18)) {
			t.Errorf("%s:18 does not replay", name)
		}
	}
}

func TestClearedKeepsTheSeedAndNothingElse(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	before := tpmsimtest.Start(t, tpmsim.Options{StateDir: dir})
	ak := akName(t, before)
	if err := before.Reboot(t.Context(), tpmsim.SecLHost); err != nil {
		t.Fatal(err)
	}
	if err := before.Close(); err != nil {
		t.Fatal(err)
	}

	n := tpmsimtest.Start(t, tpmsim.Options{StateDir: dir, Scenario: tpmsim.Cleared})
	// The owner's authorization is gone, or the AK could not be derived.
	if got := akName(t, n); !bytes.Equal(got, ak) {
		t.Errorf("AK = %x, before %x", got, ak)
	}
	if got := persistentHandles(t, n); len(got) != 0 {
		t.Errorf("persistent handles %x, want none", got)
	}
	if got := resetCount(t, n); got != 0 {
		t.Errorf("resetCount = %d, want 0", got)
	}
	readCertificate(t, n, 0x01c00002) // is the vendor's and stays
}

func TestReplacedIsAnotherTPM(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	before := tpmsimtest.Start(t, tpmsim.Options{StateDir: dir, Scenario: tpmsim.SecLHost})
	names, roots := derivedNames(t, before), before.EKRoots()
	if err := before.Close(); err != nil {
		t.Fatal(err)
	}

	n := tpmsimtest.Start(t, tpmsim.Options{StateDir: dir, Scenario: tpmsim.Replaced})
	for i, name := range derivedNames(t, n) {
		if bytes.Equal(name, names[i]) {
			t.Errorf("key %d is the same in both TPMs", i)
		}
	}
	if n.EKRoots().Equal(roots) {
		t.Error("both TPMs have the same authority")
	}
	if diff := cmp.Diff([]tpm2.TPMHandle{0x81010001, 0x81010016}, persistentHandles(t, n)); diff != "" {
		t.Errorf("persistent handles (-want +got):\n%s", diff)
	}
}

func TestHierarchyOffLastsUntilTheNextBoot(t *testing.T) {
	t.Parallel()
	n := tpmsimtest.Start(t, tpmsim.Options{Scenario: tpmsim.HierarchyOff})

	if err := derive(n, nil); !errors.Is(err, tpm2.TPMRCHierarchy) {
		t.Errorf("deriving an EK: error = %v, want TPM_RC_HIERARCHY", err)
	}
	if err := n.Reboot(t.Context(), tpmsim.Trusted); err != nil {
		t.Fatal(err)
	}
	if err := derive(n, nil); err != nil {
		t.Errorf("deriving an EK after a reboot: %v", err)
	}
}

func TestSecLHostIsOwnedByAnother(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	n := tpmsimtest.Start(t, tpmsim.Options{StateDir: dir, Scenario: tpmsim.SecLHost})

	check := func(n *tpmsim.Node) []byte {
		t.Helper()
		if err := derive(n, nil); !errors.Is(err, tpm2.TPMRCBadAuth) {
			t.Errorf("endorsement without authorization: error = %v, want TPM_RC_BAD_AUTH", err)
		}
		if err := derive(n, []byte(tpmsim.SecLEndorsementAuth)); err != nil {
			t.Errorf("endorsement: %v", err)
		}
		if err := defineAndUndefine(n, nil); !errors.Is(err, tpm2.TPMRCBadAuth) {
			t.Errorf("owner without authorization: error = %v, want TPM_RC_BAD_AUTH", err)
		}
		if err := defineAndUndefine(n, []byte(tpmsim.SecLOwnerAuth)); err != nil {
			t.Errorf("owner: %v", err)
		}
		return nameAt(t, n, tpmsim.SecLHandle)
	}

	name := check(n)
	for _, s := range []tpmsim.Scenario{tpmsim.Trusted, tpmsim.SecLHost} {
		if err := n.Reboot(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		if got := check(n); !bytes.Equal(got, name) {
			t.Errorf("key after a reboot into %s: %x, before %x", s, got, name)
		}
	}

	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if got := check(tpmsimtest.Start(t, tpmsim.Options{StateDir: dir, Scenario: tpmsim.SecLHost})); !bytes.Equal(got, name) {
		t.Errorf("key after a second start: %x, before %x", got, name)
	}
}
