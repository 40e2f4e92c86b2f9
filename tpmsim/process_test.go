package tpmsim_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
	"golang.org/x/sys/unix"

	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/tpmsim/tpmsimtest"
)

// helperVariable makes the test binary run a node instead of tests; its value is
// the state directory.
const helperVariable = "TPMSIM_TEST_STATE_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(helperVariable); dir != "" {
		runHelper(dir)
	}
	os.Exit(m.Run())
}

// runHelper starts a node, prints the process of its swtpm or why there is none,
// and waits until it is killed or its input ends.
func runHelper(dir string) {
	n, err := tpmsim.Start(context.Background(), tpmsim.Options{StateDir: dir})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(n.PID())
	_, _ = bufio.NewReader(os.Stdin).ReadByte()
	os.Exit(1) // without Close
}

func TestSwtpmIsGoneAfterClose(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "temporary")
	n := tpmsimtest.Start(t, tpmsim.Options{StateDir: dir})
	pid := n.PID()
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}

	// Close waited for the process, so that its number is free.
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("signalling process %d: error = %v, want %v", pid, err, syscall.ESRCH)
	}
}

func TestSwtpmIsGoneAfterItsParentWasKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	helper, pid := startHelper(t, dir)
	swtpm := openProcess(t, pid)

	if err := helper.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	waitForEnd(t, swtpm)
	tpmsimtest.Start(t, tpmsim.Options{StateDir: dir}) // the state is free and whole
}

// startHelper runs a node on dir in a process of its own. It returns that process
// and the number of its swtpm's.
func startHelper(t *testing.T, dir string) (helper *exec.Cmd, swtpm int) {
	t.Helper()

	helper = exec.Command(os.Args[0])
	helper.Env = append(os.Environ(), helperVariable+"="+dir)
	if _, err := helper.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := helper.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := helper.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = helper.Process.Kill()
		_ = helper.Wait()
	})

	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscan(line, &swtpm); err != nil {
		t.Fatalf("the helper says: %s", line)
	}
	return helper, swtpm
}

// openProcess returns a pidfd.
func openProcess(t *testing.T, pid int) int {
	t.Helper()

	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

// waitForEnd waits until the process behind a pidfd has ended.
func waitForEnd(t *testing.T, pidfd int) {
	t.Helper()

	const patience = 30_000 // milliseconds
	fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, patience)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			t.Fatal(err)
		case n == 0:
			t.Fatal("swtpm is still there")
		default:
			return
		}
	}
}

func TestSwtpmThatIsNotInstalledIsAnErrorWithThePackage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	helper := exec.Command(os.Args[0])
	helper.Env = []string{helperVariable + "=" + dir, "PATH=" + dir}

	said, err := helper.Output()
	if err == nil || !strings.Contains(string(said), tpmsim.ErrNotInstalled.Error()) {
		t.Errorf("a start without swtpm says %q, want %q in it", said, tpmsim.ErrNotInstalled)
	}
}

func TestSwtpmThatDiedIsAnError(t *testing.T) {
	t.Parallel()
	n := tpmsimtest.Start(t, tpmsim.Options{})
	if err := syscall.Kill(n.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}

	for range 2 {
		if _, err := (tpm2.GetRandom{BytesRequested: 8}).Execute(n); !errors.Is(err, tpmsim.ErrDied) {
			t.Errorf("error = %v, want %v", err, tpmsim.ErrDied)
		}
	}
	if err := n.Reboot(t.Context(), tpmsim.Trusted); err != nil {
		t.Fatalf("rebooting after that: %v", err)
	}
	resetCount(t, n)
}

func TestStartThatIsCancelledLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()

	if _, err := tpmsim.Start(ctx, tpmsim.Options{StateDir: dir}); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want context.Canceled", err)
	}
	tpmsimtest.Start(t, tpmsim.Options{StateDir: dir}) // the state is free
}

func TestStartThatRunsOutOfTimeLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()

	// Each of these ends somewhere else between the first step and the last.
	for limit := time.Millisecond; limit < 128*time.Millisecond; limit *= 2 {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		n, err := tpmsim.Start(ctx, tpmsim.Options{StateDir: dir})
		cancel()
		if err == nil {
			err = n.Close()
		}
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("within %v: error = %v, want context.DeadlineExceeded or none", limit, err)
		}
	}

	n := tpmsimtest.Start(t, tpmsim.Options{StateDir: dir})
	keyNames(t, n) // the TPM is whole
}

func TestTemporaryStateIsPrivateAndRemoved(t *testing.T) {
	t.Parallel()
	n := tpmsimtest.Start(t, tpmsim.Options{})
	info, err := os.Stat(n.StateDir())
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o700 {
		t.Errorf("mode = %o, want 700", info.Mode().Perm())
	}

	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(n.StateDir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after Close: error = %v, want %v", err, os.ErrNotExist)
	}
}

func TestTPMThatHangsCanBeClosed(t *testing.T) {
	t.Parallel()
	n := tpmsimtest.Start(t, tpmsim.Options{})
	if err := syscall.Kill(n.PID(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}

	if err := n.Close(); err != nil {
		t.Error(err)
	}
}
