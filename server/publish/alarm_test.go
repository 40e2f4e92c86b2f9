package publish_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/trustpool/trustpool/server/api"
)

func TestAMarkThatSomebodyElseSetsIsAnAlarmAndGone(t *testing.T) {
	t.Parallel()
	for name, host := range map[string]string{"on an untrusted host": "c", "on a host that nobody attests": "d"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, func(t *testing.T, w *world) {
				w.run(t)
				pass(2*time.Minute + time.Second)
				w.set(host, inPool)
				pass(5 * time.Second)
				w.expect(t, host, "")
				if got := w.metric(t, "alarms_total", "foreign_mark"); got != 1 || !w.said.Has("level=ERROR") {
					t.Errorf("%v alarms, want 1: %s", got, w.said)
				}
			})
		})
	}
}

func TestAHostThatHasLongBeenUntrustedNeedsNoWaitForTheAlarm(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		pass(10 * time.Minute) // before the publisher began
		w.run(t)
		pass(time.Second)
		w.set("c", inPool)
		pass(5 * time.Second)
		if got := w.metric(t, "alarms_total", "foreign_mark"); got != 1 {
			t.Errorf("%v alarms, want 1", got)
		}
	})
}

func TestAMarkSoonAfterTheLossOfTrustIsAWarningOnly(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.run(t)
		pass(time.Second)
		w.set("c", inPool) // untrusted for a second, and never marked
		pass(5 * time.Second)
		if got := w.metric(t, "alarms_total", ""); got != 0 || !w.said.Has("another publisher was late, or somebody sets them") {
			t.Errorf("%v alarms: %s", got, w.said)
		}
		if w.said.Has("again") {
			t.Errorf("it says that c bore marks before: %s", w.said)
		}
		w.expect(t, "c", "")
	})
}

func TestMarksFromBeforeAreNoAlarm(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		pass(10 * time.Minute)
		w.set("c", inPool)
		w.run(t)
		pass(time.Minute)
		if got := w.metric(t, "alarms_total", ""); got != 0 || w.said.Has("level=ERROR") {
			t.Errorf("%v alarms: %s", got, w.said)
		}
		if !w.said.Has("from before this publisher began") {
			t.Errorf("not a word: %s", w.said)
		}
		w.expect(t, "c", "")
	})
}

// Two publishers share a sink; one of them asks a server that is cut off from now and then, and goes on by old answers.
func TestTwoPublishersRaiseNoAlarms(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, late := newWorld(), newWorld()
		late.memory = w.memory
		w.run(t)
		late.run(t)
		for i := range 20 {
			trust := []api.Trust{api.Untrusted, api.Trusted}[i%2]
			w.is("a", trust, time.Hour)
			late.is("a", trust, time.Hour)
			late.oracle.do(func() { late.hang = i%4 < 2 })
			pass(17 * time.Second)
		}
		w.is("a", api.Untrusted, time.Hour)
		late.is("a", api.Untrusted, time.Hour)
		late.oracle.do(func() { late.hang = true })
		pass(2 * time.Minute)
		late.oracle.do(func() { late.hang = false })
		pass(2 * time.Minute)
		for _, p := range []*world{w, late} {
			if got := p.metric(t, "alarms_total", ""); got != 0 {
				t.Errorf("%v alarms: %s", got, p.said)
			}
		}
		w.expect(t, "a", "")
		w.expect(t, "b", inPool)
	})
}

func TestTwoPublishersDoNotUndoEachOther(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		other := newWorld()
		other.memory, other.oracle = w.memory, w.oracle
		w.run(t)
		other.run(t)
		pass(time.Second)
		w.took()
		pass(time.Minute)
		if got := w.took(); len(got) > 0 {
			t.Errorf("written: %q", got)
		}
	})
}

func TestOfTwoHostsThatClaimToBeOneNodeNoneIsTrusted(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.run(t)
		pass(time.Second)
		w.oracle.do(func() { w.hosts["d"] = w.hosts["a"] }) // d has taken an alias of a's for its name
		pass(time.Minute)
		w.expect(t, "a", "")
		w.expect(t, "d", "")
		if got := w.metric(t, "alarms_total", "claimed_twice"); got != 2 { // one for each of the two, once
			t.Errorf("%v alarms, want 2", got)
		}
		w.memory.do(func() { delete(w.states, "d") })
		pass(5 * time.Second)
		w.expect(t, "a", inPool)
	})
}
