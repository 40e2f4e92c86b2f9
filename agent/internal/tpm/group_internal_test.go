package tpm

import (
	"testing"
	"time"

	"github.com/trustpool/trustpool/agent/internal/aggregate"
)

// gathered is a group in front of a queue, without a TPM: what is tried here takes some luck to happen otherwise.
type gathered struct {
	queue queue
	group *group
	now   time.Time
}

func gather() *gathered {
	var all groups

	return &gathered{queue: queue{limit: 4, perCaller: 1}, group: all.find([]byte("AK"), nil), now: time.Unix(0, 0)}
}

func (g *gathered) join(t *testing.T, caller string) *member {
	t.Helper()

	m := &member{caller: caller, asked: g.now, wake: make(chan struct{}, 1)}
	if err := g.group.join(&g.queue, m); err != nil {
		t.Fatal(err)
	}

	return m
}

// alone has somebody wait, or use the TPM, outside of the group.
func (g *gathered) alone(t *testing.T, caller string) *ticket {
	t.Helper()

	place := &ticket{caller: caller, asked: g.now, turn: make(chan struct{}, 1)}
	if err := g.queue.enter(g.now, place); err != nil {
		t.Fatal(err)
	}

	return place
}

func (m *member) isWoken() bool {
	select {
	case <-m.wake:
		return true
	default:
		return false
	}
}

func TestAnotherLeadsWhenTheLeaderGoesBeforeItBegan(t *testing.T) {
	t.Parallel()

	g := gather()
	first := g.join(t, "a")
	second, third := g.join(t, "b"), g.join(t, "a")

	if !first.isWoken() || second.isWoken() || third.isWoken() {
		t.Fatal("not the first one leads")
	}

	g.group.leave(&g.queue, first, g.now)

	if !second.isWoken() || third.isWoken() {
		t.Fatal("not the second one leads")
	}

	if batch := g.group.seal(&g.queue, g.now); len(batch) != 2 || batch[0] != second || batch[1] != third {
		t.Errorf("a tree of %d", len(batch))
	}
}

func TestTheTurnGoesOnWhenNobodyIsLeftToLead(t *testing.T) {
	t.Parallel()

	g := gather()
	first := g.join(t, "a")
	other := g.alone(t, "b")
	g.group.leave(&g.queue, first, g.now)

	if g.queue.running != other || !g.group.isIdle() {
		t.Error("the turn is lost")
	}
}

// TestWhoGoesAlongIsNotForgotten has a caller who may not stand in the queue any more.
func TestWhoGoesAlongIsNotForgotten(t *testing.T) {
	t.Parallel()

	g := gather()
	busy := g.alone(t, "busy")
	elsewhere := g.alone(t, "b") // and that is all that b may have
	first, along := g.join(t, "a"), g.join(t, "b")

	if n := len(g.group.tickets); n != 1 {
		t.Fatalf("the group stands in the queue %d times", n)
	}

	g.group.leave(&g.queue, first, g.now)
	g.queue.withdraw(g.now, elsewhere)
	g.queue.withdraw(g.now, busy)

	if !along.isWoken() {
		t.Error("nobody woke it")
	}
}

func TestWhoIsLeftOverKeepsAPlaceForEachCaller(t *testing.T) {
	t.Parallel()

	g := gather()
	busy := g.alone(t, "busy")

	for range aggregate.MaxLeaves {
		g.join(t, "greedy")
	}

	g.join(t, "late")
	g.queue.end(g.now, false)

	_ = busy

	batch := g.group.seal(&g.queue, g.now)
	if len(batch) != aggregate.MaxLeaves || batch[1].caller != "late" {
		t.Errorf("a tree of %d, the second leaf is %s's", len(batch), batch[1].caller)
	}

	if len(g.group.members) != 1 || len(g.group.tickets) != 1 || g.queue.waiting != 1 {
		t.Errorf("%d left over, %d places, the queue counts %d", len(g.group.members), len(g.group.tickets), g.queue.waiting)
	}
}

func TestGroupsHaveBounds(t *testing.T) {
	t.Parallel()

	g := gather()
	g.alone(t, "busy")

	for range maxMembers / 2 {
		g.join(t, "greedy")
	}

	m := &member{caller: "greedy", asked: g.now, wake: make(chan struct{}, 1)}
	if err := g.group.join(&g.queue, m); err == nil {
		t.Error("one caller may have more than half of the places")
	}

	for range maxMembers / 4 {
		g.join(t, "a")
		g.join(t, "b")
	}

	m.caller = "c"
	if err := g.group.join(&g.queue, m); err == nil {
		t.Error("there are more places than there are")
	}

	var all groups
	for i := range 10 * maxGroups {
		all.find([]byte{byte(i), byte(i >> 8)}, nil)
	}

	if len(all) > maxGroups {
		t.Errorf("%d groups are remembered", len(all))
	}
}

// TestAWaitForOthersEndsWhenTheGroupHasItsTurn has the timer go off when the group's turn has begun already. Nobody would be there any more to end another wait.
func TestAWaitForOthersEndsWhenTheGroupHasItsTurn(t *testing.T) {
	t.Parallel()

	const quote = 100 * time.Millisecond

	g := gather()
	g.queue.mean[ClassQuote] = quote
	later := func(d time.Duration) time.Time { g.now = g.now.Add(d); return g.now }

	g.join(t, "a")
	batch := g.group.seal(&g.queue, g.now)
	second := g.join(t, "b")
	g.group.linger(&g.queue, later(quote), batch, func() {})
	g.queue.end(g.now, true)

	if second.isWoken() {
		t.Fatal("nobody is waited for")
	}

	g.queue.grant(later(quote / lingerPart)) // whoever else leaves the queue just then

	if !second.isWoken() {
		t.Fatal("the time to wait is over, and nobody leads")
	}

	batch = g.group.seal(&g.queue, g.now)
	g.group.lingerOn(&g.queue, g.now, func() {})
	third := g.join(t, "c")

	g.queue.mean[ClassQuote] = leastLinger // too short for a wait after this quote
	g.group.linger(&g.queue, later(time.Millisecond), batch, func() {})
	g.queue.end(g.now, true)

	if !third.isWoken() {
		t.Error("nobody wakes it")
	}
}
