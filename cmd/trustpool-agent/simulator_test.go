package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/trustpool/trustpool/cmd/internal/daemon"
	"github.com/trustpool/trustpool/tpmsim"
)

func TestTheSimulatorComesBackToItsAddressAndTakesItAwayAtTheEnd(t *testing.T) {
	t.Parallel()

	dir := filepath.Join(t.TempDir(), "node")
	first := launch(t, "--simulator", "--simulator-dir", dir)
	address := first.tryLine(t)[3]

	if told, err := os.ReadFile(filepath.Join(dir, "address")); err != nil || string(told) != address+"\n" {
		t.Errorf("the file address says %q, %v", told, err)
	}

	first.end(t, syscall.SIGTERM)

	if _, err := os.Stat(filepath.Join(dir, "address")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after the end the file address is still there: %v", err)
	}

	second := launch(t, "--simulator", "--simulator-dir", dir)
	if again := second.tryLine(t)[3]; again != address {
		t.Errorf("first at %s, then at %s", address, again)
	}

	second.end(t, syscall.SIGTERM)

	taken, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()

	third := launch(t, "--simulator", "--simulator-dir", dir)
	if elsewhere := third.tryLine(t)[3]; elsewhere == address {
		t.Errorf("took the address %s of somebody else", address)
	}
}

func TestTheSimulatorsNodeHasAConfigAndASocketForToolsBesideIt(t *testing.T) {
	t.Parallel()

	dir := filepath.Join(t.TempDir(), "node")
	p := launch(t, "--simulator", "--simulator-dir", dir)
	p.tryLine(t)

	config := filepath.Join(dir, "agent.yaml")
	if info, err := os.Stat(config); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the config: %v, %v", info, err)
	}

	if out, code := call(t, "check-config", "--config", config); code != 0 {
		t.Errorf("check-config: exit code %d\n%s", code, out)
	}

	out, code := call(t, "identity", "show", "--config", config)
	if code != 0 || !strings.Contains(out, "endorsement key (handle 0x81010001): 000b") || !strings.Contains(out, "attestation key 0: 000b") {
		t.Errorf("identity show: exit code %d\n%s", code, out)
	}

	p.end(t, syscall.SIGTERM)

	out, code = call(t, "identity", "show", "--config", config)
	if code != 1 || !strings.Contains(out, "can't reach the TPM") || strings.Contains(out, "rpc error") {
		t.Errorf("after the end: exit code %d\n%s", code, out)
	}
}

func TestTheSimulatorListeningEverywhereTellsAnAddressThatCanBeCalled(t *testing.T) {
	t.Parallel()

	p := launch(t, "--simulator", "--listen", "0.0.0.0:0")
	words := p.tryLine(t)

	if !strings.HasPrefix(words[3], "127.0.0.1:") {
		t.Errorf("the address is %s", words[3])
	}

	quoteOver(t, words[3], clientTLS(t, words[5]))
}

func TestASecLHostIsQuotedAlsoOnceItBootsIntoSomethingElse(t *testing.T) {
	t.Parallel()

	dir := filepath.Join(t.TempDir(), "node")
	for _, scenario := range []tpmsim.Scenario{tpmsim.SecLHost, tpmsim.Trusted, tpmsim.Cleared} {
		p := launch(t, "--simulator", "--simulator-dir", dir, "--scenario", string(scenario))
		words := p.tryLine(t)
		quoteOver(t, words[3], clientTLS(t, words[5]))
		p.end(t, syscall.SIGTERM)

		_, err := os.Stat(filepath.Join(dir, "owner-auth"))
		if gone := errors.Is(err, fs.ErrNotExist); gone != (scenario == tpmsim.Cleared) {
			t.Errorf("%s: the owner's authorisation value: %v", scenario, err)
		}
	}
}

func TestAPathInTheTryLineIsOneWordToAShell(t *testing.T) {
	t.Parallel()

	for path, want := range map[string]string{
		"/tmp/node1/pki": "/tmp/node1/pki",
		"/tmp/my node":   "'/tmp/my node'",
		"/tmp/it's":      `'/tmp/it'\''s'`,
		"/tmp/$(reboot)": "'/tmp/$(reboot)'",
	} {
		if got := shellWord(path); got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
}

func TestASocketHasAPathThatIsShortEnoughOrIsLeftOut(t *testing.T) {
	t.Parallel()

	if got := socketIn("/tmp/node"); got != "/tmp/node/agent.sock" {
		t.Errorf("got %q", got)
	}

	if got := socketIn("/" + strings.Repeat("x", 96)); got != "" {
		t.Errorf("108 bytes: got %q", got)
	}
}

func TestErrorsOfIdentityAreForPeople(t *testing.T) {
	t.Parallel()

	refused := plainly(errors.Join(status.Error(codes.PermissionDenied, "this identity may not do that")))
	if want := "this identity may not do that; run this as root or as the daemon's user"; refused.Error() != want {
		t.Errorf("got %q, want %q", refused, want)
	}

	if missing := plainly(status.Error(codes.NotFound, "no such key")); missing.Error() != "no such key" {
		t.Errorf("got %q", missing)
	}

	if locked := plainly(fmt.Errorf("opening: %w", fs.ErrPermission)); !strings.Contains(locked.Error(), "run this as root") {
		t.Errorf("got %q", locked)
	}

	if wrong := plainly(daemon.UsageError{Err: errors.New("x")}); !errors.As(wrong, new(daemon.UsageError)) {
		t.Errorf("got %v", wrong)
	}
}
