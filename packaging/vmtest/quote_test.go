//go:build vm

package vmtest_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
	"golang.org/x/sync/errgroup"

	"github.com/trustpool/trustpool/packaging/vmtest"
	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/client"
)

// samples is how many quotes are looked at one by one.
const samples = 50

// oneCommand counts, at the TPM itself, what quotes cost on the way through the kernel's resource manager.
func oneCommand(ctx context.Context, t *testing.T, s *stage) {
	commands := s.count(ctx, t)

	// The kernel saves and restores what is loaded in a file descriptor around each of its commands: none of these was there.
	want := map[tpm2.TPMCC]int{tpm2.TPMCCQuote: samples}
	if got := perCode(commands); !maps.Equal(got, want) {
		t.Errorf("%d quotes cost %v, want %v", samples, got, want)
	}

	t.Logf("TPM time of a quote, persistent key: median %v", s.tpmTime(ctx, t, unit))
}

// count has quotes made and returns what reached the TPM meanwhile, without what the kernel's random number generator and the daemon's self-check ask for.
func (s *stage) count(ctx context.Context, t *testing.T) []vmtest.Command {
	t.Helper()

	c := s.dial(t)

	// The first one may read PCRs that were never read, and makes the connection.
	if _, err := quote(ctx, c, client.QuoteOptions{}); err != nil {
		t.Fatal(err)
	}

	stop := s.vm.board.Watch()
	defer stop()

	for range samples {
		if _, err := quote(ctx, c, client.QuoteOptions{}); err != nil {
			t.Fatal(err)
		}
	}

	commands := stop()

	return slices.DeleteFunc(commands, func(c vmtest.Command) bool { return tpm2.TPMCC(c.Code) == tpm2.TPMCCGetRandom })
}

func perCode(commands []vmtest.Command) map[tpm2.TPMCC]int {
	counts := map[tpm2.TPMCC]int{}
	for _, command := range commands {
		counts[tpm2.TPMCC(command.Code)]++
	}

	return counts
}

// tpmTime returns the median of what the agent says that its last quotes took at the TPM.
func (s *stage) tpmTime(ctx context.Context, t *testing.T, unit string) time.Duration {
	t.Helper()

	said := s.in(ctx, t, fmt.Sprintf(`journalctl --boot --output=cat --unit=%s | grep '"result":"ok"' | tail -n %d | sed 's/.*"tpm_time":\([0-9]*\).*/\1/'`, unit, samples))

	var times []time.Duration

	for _, word := range strings.Fields(said) {
		n, err := strconv.ParseInt(word, 10, 64)
		if err != nil {
			t.Fatal(err)
		}

		times = append(times, time.Duration(n))
	}

	if len(times) != samples {
		t.Fatalf("%d lines of quotes, want %d", len(times), samples)
	}

	slices.Sort(times)

	return times[len(times)/2]
}

// transientKey runs an agent that can't keep its key in the TPM, because the owner has a password that it was not told: the way that a steady quote avoids.
func transientKey(ctx context.Context, t *testing.T, s *stage) {
	const other = "trustpool-agent-transient.service"

	s.in(ctx, t, `systemctl stop trustpool-agent
		tpm2_changeauth -T device:/dev/tpmrm0 -c owner secret
		sed 's|^    # handle: .*|    handle: 0x81018400|; s|^# state_dir: .*|state_dir: ""|; s|^  unix: .*||' /etc/trustpool-agent/agent.yaml >/root/transient.yaml
		trustpool-agent check-config --config /root/transient.yaml
		systemd-run --quiet --unit=trustpool-agent-transient trustpool-agent --config /root/transient.yaml`)

	defer func() {
		s.in(context.WithoutCancel(ctx), t, `systemctl stop trustpool-agent-transient
			tpm2_changeauth -T device:/dev/tpmrm0 -c owner -p secret
			systemctl start trustpool-agent`)
		s.quotes(ctx, t, time.Minute)
	}()

	s.quotes(ctx, t, time.Minute)

	got := perCode(s.count(ctx, t))
	for _, code := range []tpm2.TPMCC{tpm2.TPMCCQuote, tpm2.TPMCCContextLoad, tpm2.TPMCCContextSave, tpm2.TPMCCFlushContext} {
		if got[code] != samples {
			t.Errorf("%d quotes cost %d of %v, want as many: the resource manager swaps the key in and out", samples, got[code], code)
		}
	}

	t.Logf("TPM time of a quote, transient key: median %v; commands of %d quotes: %v", s.tpmTime(ctx, t, other), samples, got)
}

// crowd is what else uses the TPM meanwhile: each line is a script that is repeated.
func crowd() []string {
	return []string{
		"tpm2_pcrread -T device:/dev/tpmrm0 sha256:0,17",
		"tpm2_createprimary -T device:/dev/tpmrm0 -C o -c /run/primary.ctx",
		// A user of its own, with a key of its own loaded, who quotes too.
		`runuser -u nobody -g nogroup -G tss -- sh -c "cd /var/tmp/other && tpm2_createprimary -Q -T device:/dev/tpmrm0 -C n -G ecc256:ecdsa-sha256:null -c key.ctx \
			-a 'restricted|sign|fixedtpm|fixedparent|sensitivedataorigin|userwithauth' && tpm2_quote -Q -T device:/dev/tpmrm0 -c key.ctx -l sha256:17 -q 00"`,
	}
}

// crowded makes many quotes, every one of which has to be trusted, while others use the TPM without a pause.
func crowded(ctx context.Context, t *testing.T, s *stage) {
	const callers = 16

	policy, total := s.policy(t), quoteCount(t)

	s.in(ctx, t, "install -d -o nobody /var/tmp/other")

	crowdCtx, sendHome := context.WithCancel(ctx)
	defer sendHome()

	var (
		others, quoters errgroup.Group
		made            atomic.Int64
	)

	rounds := make([]atomic.Int64, len(crowd()))

	for i, script := range crowd() {
		others.Go(func() error {
			for crowdCtx.Err() == nil {
				if said, err := s.guest.run(context.WithoutCancel(crowdCtx), script); err != nil {
					return fmt.Errorf("beside the quotes: %w: %s", err, said)
				}

				rounds[i].Add(1)
			}

			return nil
		})
	}

	c, began := s.dial(t), time.Now()

	for range callers {
		quoters.Go(func() error {
			for made.Add(1) <= int64(total) {
				if err := trustedQuote(ctx, c, policy, s.launchLog); err != nil {
					return err
				}
			}

			return nil
		})
	}

	if err := quoters.Wait(); err != nil {
		t.Errorf("a quote in the crowd: %v", err)
	}

	took := time.Since(began)

	sendHome()

	if err := others.Wait(); err != nil {
		t.Error(err)
	}

	for i, script := range crowd() {
		if rounds[i].Load() == 0 {
			t.Errorf("nobody did beside the quotes: %s", script)
		}

		t.Logf("beside them %d times: %s", rounds[i].Load(), firstLine(script))
	}

	t.Logf("%d quotes of %d callers in %v, all trusted unless this says otherwise", total, callers, took.Round(time.Second))
}

// quoteCount is how many quotes crowded makes: TRUSTPOOL_VM_QUOTES, or a thousand.
func quoteCount(t *testing.T) int {
	t.Helper()

	text := os.Getenv("TRUSTPOOL_VM_QUOTES")
	if text == "" {
		return 1000
	}

	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("TRUSTPOOL_VM_QUOTES is %q: write a number of quotes", text)
	}

	return n
}

// trustedQuote challenges the node and judges the answer.
func trustedQuote(ctx context.Context, c *client.Client, policy verifier.Policy, launchLog []byte) error {
	reply, err := quote(ctx, c, client.QuoteOptions{KnownLogs: map[string][]byte{"txt": launchLog}})
	if err != nil {
		return err
	}

	policy.Nonce = reply.Evidence.Nonce

	if result := verifier.Verify(reply.Evidence, policy); result.Verdict != verifier.Trusted {
		return fmt.Errorf("the verdict is %v: %+v", result.Verdict, result.Checks)
	}

	return nil
}
