package publish_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/server/publish"
)

func TestAPublisherThatIsCutOffGivesNothingBackThatAnotherTook(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, late := newWorld(), newWorld()
		late.memory = w.memory
		w.run(t)
		late.run(t)
		pass(31 * time.Second)
		w.took()
		late.oracle.do(func() { late.err = errors.New("no route to host") })
		w.is("a", api.Untrusted, time.Hour)
		pass(28 * time.Second) // less than max_age: the last answer would count
		if got := w.took(); !slices.Equal(got, []string{"a: "}) {
			t.Errorf("written: %q", got)
		}
	})
}

// hangs has the sink not answer writes of hosts from e on, of which there are 8, all untrusted and marked.
func (w *world) hangs() {
	for _, host := range []string{"e", "f", "g", "h", "i", "j", "k", "l"} {
		w.set(host, inPool)
		w.is(host, api.Untrusted, time.Hour)
	}
	w.fail = func(ctx context.Context, host string) error {
		if host < "e" {
			return nil
		}
		<-ctx.Done()
		return ctx.Err()
	}
}

func TestHostsThatCanNotBeWrittenHoldUpNothingThatLapses(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.config.Concurrency = 2
		w.hangs() // 40 s, the first time
		w.is("a", api.Trusted, 47*time.Second)
		w.run(t)
		pass(47*time.Second - time.Millisecond)
		w.expect(t, "a", inPool)
		pass(2 * time.Millisecond)
		w.expect(t, "a", "")
	})
}

func TestHostsThatFailedWaitForThoseThatDidNot(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.config.Concurrency = 1
		w.hangs() // 80 s, the first time
		w.run(t)
		pass(81 * time.Second)
		w.set("m", inPool) // is read at 90, when the second try of one of them ends
		w.is("m", api.Untrusted, time.Hour)
		w.memory.do(func() {
			hang := w.fail
			w.fail = func(ctx context.Context, host string) error {
				if host == "m" {
					return nil
				}
				return hang(ctx, host)
			}
		})
		pass(10 * time.Second)
		w.expect(t, "m", "")
	})
}

func TestNothingIsGivenOnTrustThatEndedMeanwhile(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.hangs() // 10 s
		w.is("a", api.Trusted, 7*time.Second)
		w.run(t)
		pass(30 * time.Second)
		got := w.took()
		if slices.Contains(got, "a: "+inPool) || !slices.Contains(got, "b: "+inPool) {
			t.Errorf("written: %q", got)
		}
	})
}

func TestAllIsNotWellWhileAHostWaits(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.refuse("a", errors.New("500 Internal Server Error"))
		p := w.run(t)
		pass(11 * time.Second) // it was tried at 0 and 5, and will be at 15
		if err := p.Ready(); err == nil || !strings.Contains(err.Error(), "1 hosts are not as they should be") {
			t.Errorf("ready: %v", err)
		}
		if ok, last := w.metric(t, "reconciles_total", "ok"), w.metric(t, "last_success_timestamp_seconds", ""); ok != 0 || last != 0 {
			t.Errorf("%v reconciles were whole, the last at %v", ok, last)
		}
	})
}

func TestAReadingIsBegunAnewWhereSomethingLapses(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.slow = 3 * time.Second
		w.is("a", api.Trusted, 12*time.Second) // it is read from 10 on
		p := w.run(t)
		pass(12*time.Second - time.Millisecond)
		w.expect(t, "a", inPool)
		pass(2 * time.Millisecond)
		w.expect(t, "a", "")
		pass(4 * time.Second)
		if got := w.metric(t, "reconciles_total", "sink_unreadable"); got != 0 || w.said.Has("something is wrong") || p.Ready() != nil {
			t.Errorf("%v readings failed, ready: %v; %s", got, p.Ready(), w.said)
		}
		if got := w.metric(t, "reconciles_total", "ok"); got != 3 {
			t.Errorf("%v reconciles were whole, want 3", got)
		}
	})
}

func TestTheLongestIntervalLooksNeitherHungNorBehind(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.config.Server = publish.ServerConfig{URL: "https://trust.example", TokenFile: "/token"}
		w.config.MaxAge = time.Hour
		w.config.Interval = 30*time.Second + 1
		if err := w.config.Validate(); err == nil || !strings.Contains(err.Error(), "interval: ") {
			t.Errorf("a longer one: %v", err)
		}
		w.config.Interval = 30 * time.Second
		if err := w.config.Validate(); err != nil {
			t.Error(err)
		}
		p := w.run(t)
		for range 10 {
			pass(29 * time.Second)
			if err := p.Hung(); err != nil {
				t.Error(err)
			}
			if age := float64(time.Now().Unix()) - w.metric(t, "last_success_timestamp_seconds", ""); age > 60 {
				t.Errorf("all was well %v s ago", age)
			}
		}
	})
}
