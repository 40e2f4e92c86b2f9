//go:build vm

package vmtest_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/client"
)

// comesBack is how long systemd may take to start the agent again: RestartSec, and an emulated processor.
const comesBack = time.Minute

// killed ends the agent in ways in which programs end, and wants systemd to start it again each time.
func killed(ctx context.Context, t *testing.T, s *stage) {
	// KILL is the kernel's, when memory is short. ABRT ends a Go program as a fault of its own does.
	for _, signal := range []string{"KILL", "ABRT"} {
		before := s.restarts(ctx, t)

		s.in(ctx, t, "systemctl kill --kill-who=main --signal="+signal+" "+unit)
		s.waitRestarted(ctx, t, before, comesBack)

		if reply := s.quotes(ctx, t, comesBack); !bytes.Equal(reply.Evidence.AKPublic, s.record(t).AKs[0].Public) {
			t.Errorf("after %s it signs with another key", signal)
		}
	}
}

// waitRestarted waits until systemd has started the unit once more than before.
func (s *stage) waitRestarted(ctx context.Context, t *testing.T, before string, limit time.Duration) {
	t.Helper()

	until(ctx, t, limit, "a restart", func(ctx context.Context) error {
		said, err := s.guest.run(ctx, "systemctl show --property=NRestarts,ActiveState --value "+unit)
		if err != nil {
			return err
		}

		if fields := strings.Fields(said); len(fields) != 2 || fields[0] == before || fields[1] != "active" {
			return fmt.Errorf("restarts and state are %q, restarts were %s", fields, before)
		}

		return nil
	})
}

// hung stops the agent's process, which then feeds systemd's watchdog no more.
func hung(ctx context.Context, t *testing.T, s *stage) {
	usec := s.show(ctx, t, "WatchdogUSec")
	if usec == "0" || usec == "infinity" {
		t.Fatalf("WatchdogUSec is %s: nobody watches", usec)
	}

	before := s.restarts(ctx, t)
	began := time.Now()

	s.in(ctx, t, "systemctl kill --kill-who=main --signal=STOP "+unit)

	const limit = 4 * time.Minute

	s.waitRestarted(ctx, t, before, limit)
	s.quotes(ctx, t, comesBack)
	t.Logf("WatchdogUSec %s: quotes again after %v", usec, time.Since(began).Round(time.Second))
}

// drained stops the service while callers call, and counts whether each quote that the agent signed has reached its caller.
func drained(ctx context.Context, t *testing.T, s *stage) {
	const callers = 8

	cursor := s.in(ctx, t, "journalctl --boot --lines=0 --show-cursor --unit="+unit+" | sed -n 's/^-- cursor: //p'")

	var (
		group    errgroup.Group
		answered atomic.Int64
	)

	c := s.dial(t)
	if _, err := quote(ctx, c, client.QuoteOptions{}); err != nil {
		t.Fatal(err)
	}

	answered.Add(1)

	underWay := make(chan struct{}, callers)

	for range callers {
		group.Go(func() error {
			for {
				_, err := quote(ctx, c, client.QuoteOptions{})

				select {
				case underWay <- struct{}{}:
				default:
				}

				if status.Code(err) == codes.Unavailable {
					return nil // it came after the stop
				}

				if err != nil {
					return err
				}

				answered.Add(1)
			}
		})
	}

	<-underWay
	s.in(ctx, t, "systemctl stop "+unit)

	if err := group.Wait(); err != nil {
		t.Errorf("a call under way: %v", err)
	}

	if result := s.in(ctx, t, "systemctl show --property=Result,ExecMainCode,ExecMainStatus "+unit); result != "Result=success\nExecMainCode=1\nExecMainStatus=0" {
		t.Errorf("it ended with\n%s", result)
	}

	signed := s.in(ctx, t, "journalctl --after-cursor='"+cursor+"' --output=cat --unit="+unit+` | grep -c '"msg":"quote","' || true`)
	if signed != fmt.Sprint(answered.Load()) {
		t.Errorf("%s quotes were signed, %d reached their callers", signed, answered.Load())
	}

	t.Logf("%s quotes signed and answered until the stop", signed)

	s.in(ctx, t, "systemctl start "+unit)
	s.quotes(ctx, t, comesBack)
}

// fullDisk leaves no byte where the agent keeps its state.
func fullDisk(ctx context.Context, t *testing.T, s *stage) {
	s.in(ctx, t, `dd if=/dev/zero of=/var/lib/fill bs=1M 2>/dev/null || true
		dd if=/dev/zero of=/var/lib/fill2 bs=512 2>/dev/null || true
		sync
		! echo is there room >/var/lib/trustpool-agent/probe`)

	s.verify(ctx, t, 0)

	said := s.ctl(ctx, t, 1, "rotate", "--node", "node1.json")
	if !strings.Contains(said, "make room in state_dir") {
		t.Errorf("the refusal does not tell what to do:\n%s", said)
	}

	s.verify(ctx, t, 0)

	said = s.in(ctx, t, `rm -f /var/lib/fill /var/lib/fill2 /var/lib/trustpool-agent/probe
		journalctl --boot --output=cat --unit=`+unit+` | grep -c 'no space left' || true`)
	if said == "0" {
		t.Error("the agent's log does not tell that there was no space left")
	}

	s.ctl(ctx, t, 0, "rotate", "--node", "node1.json")
	s.verify(ctx, t, 0)
}

// unbound takes the TPM's driver away and brings it back, under the number that Linux then gives it.
func unbound(ctx context.Context, t *testing.T, s *stage) {
	before := s.restarts(ctx, t)

	// IMA holds the first one as long as the machine runs: the TPM comes back as tpm1.
	s.unbind(ctx, t)
	s.wantAbsent(ctx, t)
	s.bind(ctx, t)

	if said := s.in(ctx, t, "ls /dev/tpmrm*"); said != "/dev/tpmrm1" {
		t.Fatalf("the TPM came back as %s", said)
	}

	until(ctx, t, time.Minute, "a word about the other device", func(ctx context.Context) error {
		_, err := s.guest.run(ctx, "journalctl --boot --output=cat --unit="+unit+" | grep 'waiting for /dev/tpmrm0.*there is /dev/tpmrm1'")

		return err
	})
	s.wantAbsent(ctx, t)

	s.in(ctx, t, "sed -i 's|device: /dev/tpmrm0|device: auto|' /etc/trustpool-agent/agent.yaml && systemctl restart "+unit)
	s.quotes(ctx, t, time.Minute)

	s.unbind(ctx, t)
	s.wantAbsent(ctx, t)
	s.bind(ctx, t)
	s.quotes(ctx, t, time.Minute)

	if after := s.restarts(ctx, t); after != before && after != "0" { // a restart by hand begins the count anew
		t.Errorf("systemd has restarted the unit: NRestarts was %s, is %s", before, after)
	}
}

func (s *stage) unbind(ctx context.Context, t *testing.T) {
	t.Helper()

	s.in(ctx, t, "echo MSFT0101:00 >/sys/bus/acpi/drivers/tpm_crb/unbind")
}

func (s *stage) bind(ctx context.Context, t *testing.T) {
	t.Helper()

	s.in(ctx, t, "echo MSFT0101:00 >/sys/bus/acpi/drivers/tpm_crb/bind && udevadm settle")
}

// wantAbsent wants the refusal that a caller can tell from others, of an agent that runs on.
func (s *stage) wantAbsent(ctx context.Context, t *testing.T) {
	t.Helper()

	_, err := quote(ctx, s.dial(t), client.QuoteOptions{})
	if got := client.Reason(err); got != agentv1.ErrorReason_ERROR_REASON_TPM_ABSENT {
		t.Errorf("without its TPM the agent says %v: %v", got, err)
	}

	if state := s.show(ctx, t, "ActiveState"); state != "active" {
		t.Errorf("without its TPM the unit is %s", state)
	}
}

// powerCycle switches the machine off and on: the same key signs, the TPM counts a reset, and the launch is gone.
func powerCycle(ctx context.Context, t *testing.T, s *stage) {
	resets := s.resets(ctx, t)

	_, _ = s.guest.run(ctx, "systemctl poweroff --no-block") // the connection may end before it answers

	if err := s.vm.waitOff(ctx); err != nil {
		t.Fatal(err)
	}

	boot(ctx, t, s)
	s.quotes(ctx, t, time.Minute) // it was enabled: nobody started it

	if after := s.resets(ctx, t); after <= resets {
		t.Errorf("resetCount is %d, was %d", after, resets)
	}

	s.wantPCR(ctx, t, 17, bytes.Repeat([]byte{0xff}, 32))

	said := s.verify(ctx, t, 4)
	if !strings.Contains(said, "no measured launch") {
		t.Errorf("the refusal does not tell why:\n%s", said)
	}

	t.Log(said)
}

// resets returns the resetCount that a quote shows, which the node's enrolled key has to sign.
func (s *stage) resets(ctx context.Context, t *testing.T) uint32 {
	t.Helper()

	reply, err := quote(ctx, s.dial(t), client.QuoteOptions{})
	if err != nil {
		t.Fatal(err)
	}

	result := verifier.Verify(reply.Evidence, verifier.Policy{Nonce: reply.Evidence.Nonce, BindMode: verifier.BindBound, Node: s.record(t)})
	whole(t, result)

	if result.Quote == nil || !bytes.Equal(result.AKName, s.record(t).AKs[0].Name) {
		t.Fatalf("the enrolled key did not sign: %+v", result.Checks)
	}

	return result.Quote.ResetCount
}
