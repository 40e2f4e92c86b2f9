package tpmsim_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-tpm/tpm2"

	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/tpmsim/tpmsimtest"
)

func TestRebootKeepsTheTPMAndRepeatsTheLaunch(t *testing.T) {
	t.Parallel()
	n := tpmsimtest.Start(t, tpmsim.Options{})
	before, names, count := allPCRs(t, n), keyNames(t, n), resetCount(t, n)
	log := n.EventLog()

	if err := n.Reboot(t.Context(), tpmsim.Trusted); err != nil {
		t.Fatal(err)
	}

	if diff := cmp.Diff(before, allPCRs(t, n)); diff != "" {
		t.Errorf("PCRs after the reboot (-before +after):\n%s", diff)
	}
	if diff := cmp.Diff(names, keyNames(t, n)); diff != "" {
		t.Errorf("names of EK and AK after the reboot (-before +after):\n%s", diff)
	}
	if got := resetCount(t, n); got <= count {
		t.Errorf("resetCount = %d after the reboot, %d before", got, count)
	}
	if diff := cmp.Diff(log, n.EventLog()); diff != "" {
		t.Errorf("log after the reboot (-before +after):\n%s", diff)
	}
}

func TestRebootIntoAnotherScenario(t *testing.T) {
	t.Parallel()
	n := tpmsimtest.Start(t, tpmsim.Options{})
	trusted := allPCRs(t, n)

	if err := n.Reboot(t.Context(), tpmsim.NoLaunch); err != nil {
		t.Fatal(err)
	}
	if n.EventLog() != nil {
		t.Error("a reboot without a launch keeps the old log")
	}

	if err := n.Reboot(t.Context(), tpmsim.Trusted); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(trusted, allPCRs(t, n)); diff != "" {
		t.Errorf("PCRs back in the first scenario (-before +after):\n%s", diff)
	}
}

func TestRebootRefusesAnUnknownScenarioAndKeepsRunning(t *testing.T) {
	t.Parallel()
	n := tpmsimtest.Start(t, tpmsim.Options{})
	count := resetCount(t, n)

	if err := n.Reboot(t.Context(), "no such"); err == nil {
		t.Error("no error")
	}
	if got := resetCount(t, n); got != count {
		t.Errorf("resetCount = %d, want %d: nothing happened", got, count)
	}
}

func TestRebootWithAnEndedContextDoesNothing(t *testing.T) {
	t.Parallel()
	n := tpmsimtest.Start(t, tpmsim.Options{})
	count := resetCount(t, n)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()

	if err := n.Reboot(ctx, tpmsim.Trusted); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want context.Canceled", err)
	}
	if got := resetCount(t, n); got != count {
		t.Errorf("resetCount = %d, want %d: nothing happened", got, count)
	}
}

func TestSendWaitsForReboot(t *testing.T) {
	t.Parallel()
	n := tpmsimtest.Start(t, tpmsim.Options{})

	var group sync.WaitGroup
	defer group.Wait()
	for range 4 {
		group.Go(func() {
			for range 20 {
				if _, err := (tpm2.GetRandom{BytesRequested: 8}).Execute(n); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 2 {
		if err := n.Reboot(t.Context(), tpmsim.Trusted); err != nil {
			t.Error(err)
		}
	}
}

func TestStateDirIsTakenUpAgain(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state, with a comma")
	first := tpmsimtest.Start(t, tpmsim.Options{StateDir: dir})
	names, count, roots := keyNames(t, first), resetCount(t, first), first.EKRoots()
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}

	second := tpmsimtest.Start(t, tpmsim.Options{StateDir: dir})
	if diff := cmp.Diff(names, keyNames(t, second)); diff != "" {
		t.Errorf("names of EK and AK (-first +second):\n%s", diff)
	}
	if got := resetCount(t, second); got <= count {
		t.Errorf("resetCount = %d, first %d", got, count)
	}
	if !roots.Equal(second.EKRoots()) {
		t.Error("the EK's authority changed")
	}
}

func TestStateDirIsPrivateAndHoldsNoPrivateKey(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	n := tpmsimtest.Start(t, tpmsim.Options{StateDir: dir})
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}

	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		// swtpm's own lock file is empty and always 0640.
		if perm := info.Mode().Perm(); perm&0o077 != 0 && info.Size() != 0 {
			t.Errorf("%s has mode %o", path, perm)
		}
		if e.IsDir() {
			return nil
		}
		content, err := os.ReadFile(path)
		if strings.Contains(string(content), "PRIVATE KEY") {
			t.Errorf("%s holds a private key", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestStateDirInUseIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	n := tpmsimtest.Start(t, tpmsim.Options{StateDir: dir})

	if _, err := tpmsim.Start(t.Context(), tpmsim.Options{StateDir: dir}); !errors.Is(err, tpmsim.ErrStateInUse) {
		t.Errorf("second start: error = %v, want %v", err, tpmsim.ErrStateInUse)
	}
	resetCount(t, n) // the first node goes on
}

func TestForeignStateDirIsRefusedAndLeftAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "precious"), nil, 0o600); err != nil {
		t.Fatal(err)
	}

	if _, err := tpmsim.Start(t.Context(), tpmsim.Options{StateDir: dir}); err == nil || !strings.Contains(err.Error(), "precious") {
		t.Errorf("error = %v, want one that names the foreign file", err)
	}
	if got := fileNames(t, dir); !cmp.Equal(got, []string{"precious"}) {
		t.Errorf("the directory now holds %q", got)
	}
}

func TestManufactureThatWasCutShortBeginsAnew(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	n := tpmsimtest.Start(t, tpmsim.Options{StateDir: dir})
	names := keyNames(t, n)
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "node.json"), []byte(`{"manufactured": false}`), 0o600); err != nil {
		t.Fatal(err)
	}

	again := tpmsimtest.Start(t, tpmsim.Options{StateDir: dir})
	if cmp.Equal(names, keyNames(t, again)) {
		t.Error("the half-made TPM was taken up")
	}
}

func TestClosedNodeRefusesEverything(t *testing.T) {
	t.Parallel()
	n := tpmsimtest.Start(t, tpmsim.Options{})
	for range 2 {
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}

	if _, err := (tpm2.GetRandom{BytesRequested: 8}).Execute(n); !errors.Is(err, tpmsim.ErrClosed) {
		t.Errorf("Send: error = %v, want %v", err, tpmsim.ErrClosed)
	}
	if err := n.Reboot(t.Context(), tpmsim.Trusted); !errors.Is(err, tpmsim.ErrClosed) {
		t.Errorf("Reboot: error = %v, want %v", err, tpmsim.ErrClosed)
	}
}

func TestScenarioNames(t *testing.T) {
	t.Parallel()
	for _, s := range tpmsim.Scenarios() {
		if got, err := tpmsim.ParseScenario(string(s)); err != nil || got != s {
			t.Errorf("ParseScenario(%q) = %q, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "Trusted", "no such"} {
		if _, err := tpmsim.ParseScenario(s); err == nil || !strings.Contains(err.Error(), "other-hypervisor") {
			t.Errorf("ParseScenario(%q): error = %v, want one that lists the names", s, err)
		}
	}
}

func TestUnknownScenarioIsRefused(t *testing.T) {
	t.Parallel()
	if _, err := tpmsim.Start(t.Context(), tpmsim.Options{Scenario: "no such"}); err == nil {
		t.Error("no error")
	}
}
