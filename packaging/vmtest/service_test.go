//go:build vm

package vmtest_test

import (
	"context"
	"errors"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"
)

// step is one thing that the machine has to stand.
type step struct {
	name string
	run  func(context.Context, *testing.T, *stage)
	// vital: without it nothing that follows means anything.
	vital bool
	// running: the service has to run, whatever an earlier step has left.
	running bool
}

// steps are carried out in this order, all on one machine.
func steps() []step {
	return []step{
		{"the guest boots", boot, true, false},
		{"the packages are installed as docs/install.md says", install, true, false},
		{"the service comes up", comeUp, true, false},
		{"a caller gets more rights by a reload", allow, true, true},
		{"the configuration becomes that of this test", prepare, true, true},
		{"the node is enrolled by its TPM's certificate", enroll, true, true},
		{"the firmware's log replays to the quoted PCRs", firmwareReplays, false, true},
		{"a boot without a measured launch is no known-good one", noLaunch, false, true},
		{"a measured launch gives the PCRs its values", launch, true, true},
		{"the first verdict is what docs/install.md says", firstVerdict, false, true},
		{"what was learned is trusted", trusted, true, true},
		{"a steady quote is one TPM command and loads nothing", oneCommand, false, true},
		{"a key that can't be kept costs more, and quotes", transientKey, false, true},
		{"quotes go on beside other users of the TPM", crowded, false, true},
		{"systemd grants the service little", hardened, false, true},
		{"the confined agent reaches a collector of traces", traced, false, true},
		{"the doctor finds nothing amiss", doctor, false, true},
		{"a full disk stops no quote, and is told", fullDisk, false, true},
		{"a killed agent comes back", killed, false, true},
		{"an agent that hangs is replaced", hung, false, true},
		{"a stop lets calls under way finish", drained, false, true},
		{"a TPM that goes and comes is told, and taken up again", unbound, false, true},
		{"no rule of AppArmor was broken", unbroken, false, false},
		{"a power cycle keeps the key and ends the launch", powerCycle, false, true},
		{"no rule of AppArmor was broken after it either", unbroken, false, false},
	}
}

const (
	// forCleaningUp is how much of the whole test's time is kept for its end, toExplain how long a failure may be looked into.
	forCleaningUp = 2 * time.Minute
	toExplain     = 30 * time.Second
)

// TestInstalledService walks one machine through all that its users and its life do to it.
func TestInstalledService(t *testing.T) {
	ctx, stop := signal.NotifyContext(t.Context(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()

	// What go test ends, it ends without cleaning up.
	if deadline, limited := t.Deadline(); limited {
		var cancel context.CancelFunc

		ctx, cancel = context.WithDeadlineCause(ctx, deadline.Add(-forCleaningUp), errors.New("the time limit of the whole test is near"))
		defer cancel()
	}

	s := newStage(ctx, t)

	for _, step := range steps() {
		good := t.Run(step.name, func(t *testing.T) {
			defer func() {
				if t.Failed() {
					s.explain(context.WithoutCancel(ctx), t)
				}
			}()

			if step.running {
				s.ready(ctx, t)
			}

			step.run(ctx, t, s)
		})

		if !good && step.vital || ctx.Err() != nil {
			t.FailNow()
		}
	}
}

// ready has the service run and quote.
func (s *stage) ready(ctx context.Context, t *testing.T) {
	t.Helper()

	s.in(ctx, t, "systemctl reset-failed "+unit+" || true; systemctl start "+unit)
	s.quotes(ctx, t, time.Minute)
}

// explain shows what the machine has to say to a failure.
func (s *stage) explain(ctx context.Context, t *testing.T) {
	t.Helper()

	ctx, cancel := context.WithTimeout(ctx, toExplain)
	defer cancel()

	const lines = 40

	t.Logf("the console's last lines:\n%s", lastLines(s.vm.console.String(), lines))

	if s.guest == nil {
		return
	}

	said, err := s.guest.run(ctx, "systemctl status --no-pager --lines=0 'trustpool-agent*' || true; journalctl --no-pager --boot --lines=40 --unit='trustpool-agent*'")
	t.Logf("the service's last lines:\n%s\n%v", said, err)
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")

	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// boot starts the machine, and has a look whether it is what the other steps are about.
func boot(ctx context.Context, t *testing.T, s *stage) {
	if err := s.vm.start(ctx); err != nil {
		t.Fatal(err)
	}

	var err error
	if s.guest, err = s.vm.enter(ctx); err != nil {
		t.Fatal(err)
	}

	t.Log(s.in(ctx, t, `uname -rv; systemctl --version | head -1; ls -l /dev/tpm*
		test -c /dev/tpmrm0
		test "$(wc -c </sys/kernel/security/tpm0/binary_bios_measurements)" -gt 0`))
}
