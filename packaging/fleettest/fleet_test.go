//go:build fleet

package fleettest_test

import (
	"context"
	"flag"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

var (
	duration = flag.Duration("fleet.duration", 2*time.Minute, "how long things happen to the nodes")
	nodes    = flag.Int("fleet.nodes", 30, "how many nodes there are")
	interval = flag.Duration("fleet.interval", 10*time.Second, "how often the server asks each node")
	pause    = flag.Duration("fleet.pause", time.Second, "the mean time between two things that happen, while the machine keeps up")
	seed     = flag.Uint64("fleet.seed", 1, "of what happens to whom")
)

// hands is how many things happen at the same time: a reboot takes a processor for a while.
const hands = 2

// happening is something that may happen to a node.
type happening struct {
	name    string
	often   int    // in proportion to the others
	boots   string // the scenario of trustpool-sim; empty: it boots nothing
	good    bool   // what it boots is to be trusted
	off     bool
	network way
	cuts    bool // the network becomes as network says
}

var happenings = []happening{
	{name: "reboot", often: 4, boots: "trusted", good: true},
	{name: "other hypervisor", often: 4, boots: "other-hypervisor"},
	{name: "no measured launch", often: 2, boots: "no-launch"},
	{name: "log tampered with", often: 2, boots: "tampered-log"},
	{name: "TPM cleared", often: 1, boots: "cleared", good: true},
	{name: "off", often: 2, off: true},
	{name: "network: refused", often: 2, cuts: true, network: refused},
	{name: "network: silent", often: 2, cuts: true, network: silent},
	{name: "network: back", often: 8, cuts: true, network: whole},
}

// TestFleet has things happen to nodes, and the server killed now and then. All the time each verdict is held against what is so: it has to be right within two intervals, and no quote made after a boot into
// something else may ever be trusted.
func TestFleet(t *testing.T) {
	s := startSite(t, *nodes, *interval)
	truth := newTruth(s.names, 2**interval)
	truth.server(true)

	begun := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), *duration)
	defer cancel()

	var group sync.WaitGroup
	for hand := range uint64(hands) {
		group.Go(func() { s.happen(ctx, t, truth, rand.New(rand.NewPCG(*seed, hand))) }) // #nosec G404 -- a story that can be told again
	}
	group.Go(func() { s.killNowAndThen(ctx, t, truth) })

	watching, stop := context.WithCancel(t.Context())

	var watch sync.WaitGroup
	watch.Go(func() { s.watch(watching, truth) })
	group.Wait()
	sleep(t.Context(), truth.within+time.Second) // what happened last has its time, too
	stop()
	watch.Wait()
	s.kill()
	t.Logf("\n%s%s", truth.report(), s.cost(t, *nodes, time.Since(begun)))

	for _, wrong := range truth.wrong {
		t.Error(wrong)
	}

	if truth.answers == 0 || len(truth.delays) == 0 {
		t.Error("nothing happened")
	}
}

// happen has one thing after another happen to nodes of which the server knows what happened last.
func (s *site) happen(ctx context.Context, t *testing.T, truth *truth, random *rand.Rand) {
	for ctx.Err() == nil {
		node := s.names[random.IntN(len(s.names))]
		if wait := time.Duration(random.ExpFloat64() * float64(*pause) * hands); !sleep(ctx, wait) {
			return
		}

		s.inflict(t, truth, node, pick(random))
	}
}

func pick(random *rand.Rand) happening {
	all := 0
	for _, h := range happenings {
		all += h.often
	}

	n := random.IntN(all)
	for _, h := range happenings {
		if n -= h.often; n < 0 {
			return h
		}
	}

	panic("unreachable")
}

// inflict has it happen.
func (s *site) inflict(t *testing.T, truth *truth, node string, h happening) {
	was, mine := truth.begins(node, h.name)
	if !mine {
		return // the other hand was faster
	}

	if h.cuts {
		s.ways[node].set(h.network)
		truth.happened(node, was.good, was.on, h.network == whole)

		return
	}

	args := []string{"reboot", "--dir", s.path("sim"), node, "--scenario", h.boots}
	if h.off {
		args = []string{"off", "--dir", s.path("sim"), node}
	}

	if _, err := s.try(t, "trustpool-sim", args...); err != nil {
		t.Error(err)
	}

	truth.happened(node, h.good, !h.off, was.network)
}

// killNowAndThen kills the server four times, and starts another on its database.
func (s *site) killNowAndThen(ctx context.Context, t *testing.T, truth *truth) {
	for sleep(ctx, *duration/5) {
		truth.server(false)
		s.kill()
		s.serve(t)
		truth.server(true)
	}
}

// watch holds all verdicts against the truth all the time.
func (s *site) watch(ctx context.Context, truth *truth) {
	for sleep(ctx, 200*time.Millisecond) {
		_, client := s.now()
		asked := time.Now()

		hosts, err := client.QueryHosts(ctx, s.names)
		if err != nil {
			continue // it was killed; how long that may take is held as well
		}

		for _, host := range hosts {
			truth.hold(host, asked)
		}
	}
}

// sleep waits; false: the time is over.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
