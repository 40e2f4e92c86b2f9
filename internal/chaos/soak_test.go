//go:build chaos

package chaos

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
	"google.golang.org/grpc"

	"github.com/trustpool/trustpool/tpmsim/pki"
)

// Of make soak. The defaults are for make chaos: a look whether the soak itself works.
var (
	quotes = flag.Int("quotes", 2000, "how many quotes the soak makes")
	within = flag.Duration("within", 0, "end the soak after that time, with fewer quotes; 0: never")
)

// A soak comes to rest, to be measured, after each hundredth of its quotes, and after so many at the latest.
const mostPerRound = 2500

// sample is what an agent at rest holds.
type sample struct {
	goroutines, files, memory float64
	// objects and sessions are those in the TPM: loaded ones, and the sessions that were saved.
	objects, sessions int
}

// TestSoak makes very many quotes, most of them together with others, has a fault in each round, and looks what is left when all is at rest.
func TestSoak(t *testing.T) { //nolint:paralleltest // it measures
	n := newNode(t, options{})
	end := time.Time{}

	if *within > 0 {
		end = time.Now().Add(*within)
	}

	var (
		samples  []sample
		made     int
		faults   = n.faults(t)
		began    = time.Now()
		perRound = max(1, min(*quotes/100, mostPerRound))
	)

	for round := 0; made < *quotes && (end.IsZero() || time.Now().Before(end)) && !t.Failed(); round++ {
		made += n.soak(t, min(perRound, *quotes-made), end, faults[round%len(faults)])
		samples = append(samples, n.rest(t, samples))

		last := samples[len(samples)-1]
		t.Logf("%d quotes in %v: %v goroutines, %v files, %.1f MiB, TPM: %d objects, %d sessions", made, time.Since(began).Round(time.Second), last.goroutines, last.files,
			last.memory/(1<<20), last.objects, last.sessions)
	}

	t.Logf("%d quotes in all, %d replies held", made, n.witness.Verified())

	if held := n.witness.Verified(); held < made {
		t.Errorf("%d quotes were given and %d held", made, held)
	}

	flat(t, samples)
}

// flat fails if what the agent holds at rest grew: the first tenth of the samples is for it to warm up.
func flat(t *testing.T, samples []sample) {
	t.Helper()

	if len(samples) < 20 {
		t.Fatalf("%d samples are too few to tell", len(samples))
	}

	samples = samples[len(samples)/10:]
	early, late := samples[:len(samples)/3], samples[len(samples)*2/3:]

	for what, value := range map[string]struct {
		of     func(sample) float64
		growth float64
	}{
		"goroutines": {func(s sample) float64 { return s.goroutines }, 5},
		"files":      {func(s sample) float64 { return s.files }, 3},
		"memory":     {func(s sample) float64 { return s.memory }, 16 << 20},
	} {
		if before, after := median(early, value.of), median(late, value.of); after > before+value.growth {
			t.Errorf("%s grew from %v to %v", what, before, after)
		}
	}

	for i, s := range samples {
		if s.objects != 0 || s.sessions != 0 {
			t.Errorf("sample %d: %d objects and %d sessions stay in the TPM", i, s.objects, s.sessions)
		}
	}
}

func median(samples []sample, of func(sample) float64) float64 {
	values := make([]float64, 0, len(samples))
	for _, s := range samples {
		values = append(values, of(s))
	}

	slices.Sort(values)

	return values[len(values)/2]
}

// soak has callers make some quotes over connections of their own, and a fault happen when half of them are made.
func (n *node) soak(t *testing.T, want int, end time.Time, fault func()) (made int) {
	t.Helper()

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()

	if !end.IsZero() {
		ctx, cancel = context.WithDeadline(ctx, end)
		defer cancel()
	}

	var (
		count atomic.Int64
		half  = make(chan struct{})
		once  sync.Once
		group sync.WaitGroup
		conns []*grpc.ClientConn
	)

	for range 4 {
		conns = append(conns, n.dial(t, n.address, n.mutual()))
	}

	for worker := range 32 {
		kind := 1 // together with others
		if worker < 6 {
			kind = worker
		}

		group.Go(func() {
			for ctx.Err() == nil && int(count.Load()) < want {
				_, err := quote(context.WithoutCancel(ctx), conns[worker%len(conns)], kind)
				if err != nil {
					if what := heard(err); !slices.Contains(soakHears(), what) {
						t.Errorf("a caller heard %s", what)
						cancel()
					}

					<-time.After(10 * time.Millisecond)

					continue
				}

				if int(count.Add(1)) >= want/2 {
					once.Do(func() { close(half) })
				}
			}
		})
	}

	select {
	case <-half:
	case <-ctx.Done():
	}

	fault()
	group.Wait()

	for _, conn := range conns {
		_ = conn.Close()
	}

	return int(count.Load())
}

// soakHears are the reasons that the faults of a soak may give.
func soakHears() []string {
	return []string{"TPM_ABSENT", "TPM_BUSY", "DEADLINE_TOO_SHORT", "QUEUE_FULL", unreachable}
}

// faults are what happens in a soak, one after the other.
func (n *node) faults(t *testing.T) []func() {
	t.Helper()

	content, err := os.ReadFile(n.txt)
	if err != nil {
		t.Fatal(err)
	}

	return []func(){
		func() {}, // all is well
		func() { n.on(cutOnce()) },
		func() { n.on(retryOnce()) },
		func() { n.pull(); n.plug(t) },
		func() { n.signal(t, syscall.SIGHUP) },
		func() {
			if err := n.sim.Clear(t.Context()); err != nil {
				t.Error(err)
			}
		},
		func() { write(t, n.txt, content) },
		func() {
			if err := pki.WriteDir(n.dir, n.ca, n.issue(t, server()), nil); err != nil {
				t.Error(err)
			}
		},
		func() { // a caller that goes away in the middle
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			defer cancel()

			_, _ = quote(ctx, n.conn, 1)
		},
	}
}

// cutOnce cuts the connection in the middle of one response.
func cutOnce() fault {
	var done atomic.Bool

	return func(cc tpm2.TPMCC, carryOut func() []byte) answer {
		if done.Swap(true) {
			return none(cc, carryOut)
		}

		return answer{bytes: carryOut()[:10], cut: true}
	}
}

// retryOnce has the TPM ask for one retry of each tenth command.
func retryOnce() fault {
	var commands atomic.Uint32

	return func(cc tpm2.TPMCC, carryOut func() []byte) answer {
		if commands.Add(1)%10 == 0 {
			return answer{bytes: only(tpm2.TPMRCRetry)}
		}

		return none(cc, carryOut)
	}
}

// rest waits until the agent is at rest, with no more goroutines and files than at the first sample, and says what it holds.
func (n *node) rest(t *testing.T, samples []sample) sample {
	t.Helper()
	n.on(none)
	n.quoteSoon(t)

	var s sample

	n.until(t, "rest", func() error {
		s = sample{
			goroutines: n.metric(t, "go_goroutines"), files: n.metric(t, "process_open_fds"), memory: n.metric(t, "process_resident_memory_bytes"),
			objects: n.handles(t, 0x80000000), sessions: n.handles(t, 0x02000000) + n.handles(t, 0x03000000),
		}
		if len(samples) > 0 && (s.goroutines > samples[0].goroutines+5 || s.files > samples[0].files+3) {
			return fmt.Errorf("%+v, and at first %+v", s, samples[0])
		}

		return nil
	})

	return s
}

// handles counts what the TPM holds of one kind: transient objects, loaded sessions or saved ones (TPM 2.0 Part 2, 7.2).
func (n *node) handles(t *testing.T, first uint32) int {
	t.Helper()

	response, err := tpm2.GetCapability{Capability: tpm2.TPMCapHandles, Property: first, PropertyCount: 100}.Execute(n.sim)
	if err != nil {
		t.Fatal(err)
	}

	handles, err := response.CapabilityData.Data.Handles()
	if err != nil {
		t.Fatal(err)
	}

	return len(handles.Handle)
}
