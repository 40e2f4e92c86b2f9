package publish_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/server/publish"
)

func TestTrustedHostsAreMarkedAndNoOthers(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.run(t)
		synctest.Wait()
		for host, want := range map[string]string{"a": inPool, "b": inPool, "c": "", "d": ""} {
			w.expect(t, host, want)
		}
	})
}

func TestWhatTakesTrustAwayIsWrittenFirst(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.config.Concurrency = 1
		w.set("c", inPool)
		w.set("d", inPool)
		w.run(t)
		synctest.Wait()
		if diff := cmp.Diff([]string{"c: ", "d: ", "a: " + inPool, "b: " + inPool}, w.took()); diff != "" {
			t.Errorf("writes (-want +got):\n%s", diff)
		}
	})
}

func TestWhatIsAsItShouldBeIsNotWritten(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.run(t)
		synctest.Wait()
		w.took()
		pass(time.Minute)
		if got := w.took(); len(got) > 0 {
			t.Errorf("written: %q", got)
		}
		if w.reads != 13 {
			t.Errorf("the sink was read %d times in a minute, want 13", w.reads)
		}
	})
}

func TestAVerdictThatExpiresIsTakenAwayThen(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.is("a", api.Trusted, 12*time.Second+500*time.Millisecond) // between two full reconciles
		w.run(t)
		pass(12*time.Second + 400*time.Millisecond)
		w.expect(t, "a", inPool)
		pass(101 * time.Millisecond)
		w.expect(t, "a", "")
		w.expect(t, "b", inPool)
	})
}

// The ways in which the server, or the sink, may not answer. None of them may prolong trust.
func TestWithoutAnAnswerForMaxAgeNobodyIsTrusted(t *testing.T) {
	t.Parallel()
	silent := errors.New("no route to host")
	for name, break_ := range map[string]func(*world){
		"the server refuses":                  func(w *world) { w.oracle.do(func() { w.err = silent }) },
		"the server hangs":                    func(w *world) { w.oracle.do(func() { w.hang = true }) },
		"the server gives no answers":         func(w *world) { w.oracle.do(func() { w.garble = func([]api.Host) []api.Host { return nil } }) },
		"the server refuses, no sink to read": func(w *world) { w.oracle.do(func() { w.err = silent }); w.memory.do(func() { w.readErr = silent }) },
		"the server hangs, no sink to read":   func(w *world) { w.oracle.do(func() { w.hang = true }); w.memory.do(func() { w.readErr = silent }) },
		"the server gives one answer too few": func(w *world) { w.oracle.do(func() { w.garble = func(h []api.Host) []api.Host { return h[1:] } }) },
		"the server gives one answer too many": func(w *world) {
			w.oracle.do(func() { w.garble = func(h []api.Host) []api.Host { return append(h, h[0]) } })
		},
		"the server's answers are for nobody": func(w *world) {
			w.oracle.do(func() { w.garble = func(h []api.Host) []api.Host { return make([]api.Host, len(h)) } })
		},
		"the server's answers change the hosts": func(w *world) { w.oracle.do(func() { w.garble = reversed }) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, func(t *testing.T, w *world) {
				w.run(t)
				pass(31 * time.Second) // the last answer is of the second 30
				if w.shows("a") != inPool || w.shows("b") != inPool {
					t.Fatal("the trusted hosts are not marked")
				}
				break_(w)
				pass(59*time.Second + time.Millisecond)
				w.expect(t, "a", "")
				w.expect(t, "b", "")
			})
		})
	}
}

func reversed(h []api.Host) []api.Host {
	slices.Reverse(h)
	return h
}

func TestAShortOutageOfTheServerTakesNothingAway(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.run(t)
		synctest.Wait()
		w.took()
		w.oracle.do(func() { w.err = errors.New("restarting") })
		pass(54 * time.Second)
		w.oracle.do(func() { w.err = nil })
		pass(time.Minute)
		if got := w.took(); len(got) > 0 {
			t.Errorf("written: %q", got)
		}
	})
}

func TestAPublisherThatBeginsWithoutAServerLeavesMarksForMoments(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.set("a", inPool)
		w.err = errors.New("restarting")
		w.run(t)
		pass(4 * time.Second)
		w.expect(t, "a", inPool)
		pass(time.Second + time.Millisecond)
		w.expect(t, "a", "")
	})
}

func TestAChangeIsPublishedAtOnce(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.run(t)
		pass(time.Second)
		w.took()
		w.tell(w.is("a", api.Untrusted, time.Hour))
		w.tell(w.is("c", api.Trusted, time.Hour))
		if got := w.took(); !slices.Contains(got, "a: ") || !slices.Contains(got, "c: "+inPool) || len(got) != 2 {
			t.Errorf("written: %q", got)
		}
		if w.reads != 1 {
			t.Errorf("the whole sink was read %d times, want 1", w.reads)
		}
	})
}

func TestAnEventTakesTrustAwayThoughTheServerCanNotBeAskedAndGivesNone(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.run(t)
		pass(time.Second)
		w.oracle.do(func() { w.err = errors.New("busy") })
		w.tell(w.is("a", api.Untrusted, time.Hour))
		w.tell(w.is("c", api.Trusted, time.Hour))
		w.expect(t, "a", "")
		w.expect(t, "c", "")
	})
}

func TestANodeThatTheSinkDidNotHaveIsFoundAtItsFirstEvent(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.run(t)
		pass(time.Second)
		w.set("e")
		w.tell(w.is("e", api.Trusted, time.Hour))
		w.expect(t, "e", inPool)
		for range 100 { // a node that lives elsewhere costs one reading of the sink, not one for each of its changes
			w.tell(api.Change{Node: "elsewhere.example"})
		}
		if w.reads > 3 {
			t.Errorf("the sink was read %d times, want 3", w.reads)
		}
	})
}

func TestTheEndOfAStreamIsNoEnd(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.run(t)
		pass(time.Second)
		w.events <- api.Event{Kind: api.EventReady, Generation: 7} // whoever hears this may have missed something: all is looked at
		synctest.Wait()
		if w.reads != 2 {
			t.Errorf("the sink was read %d times, want 2", w.reads)
		}
		if got := w.metric(t, "event_stream_up", ""); got != 1 {
			t.Errorf("event_stream_up %v", got)
		}
	})
}

func TestOneBadHostDoesNotStopTheRest(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.set("c", inPool)
		tries := map[string]int{}
		w.fail = func(_ context.Context, host string) error {
			if host == "a" || host == "c" {
				w.memory.do(func() { tries[host]++ })
				return errors.New("500 Internal Server Error")
			}
			return nil
		}
		p := w.run(t)
		pass(2*time.Minute + time.Second)
		w.expect(t, "b", inPool)
		if err := p.Ready(); err == nil {
			t.Error("all is well, it says")
		}
		if tries["c"] != 25 { // each round
			t.Errorf("a mark that has to go was tried to remove %d times in 2 minutes, want 25", tries["c"])
		}
		if tries["a"] > 7 { // 0, 5, 15, 35, 75 s
			t.Errorf("a mark was tried to set %d times in 2 minutes", tries["a"])
		}
		w.memory.do(func() { w.fail = nil })
		pass(time.Minute + 5*time.Second)
		if w.shows("a") != inPool || w.shows("c") != "" || p.Ready() != nil {
			t.Errorf("a shows %q, c %q, ready: %v", w.shows("a"), w.shows("c"), p.Ready())
		}
	})
}

func TestAWriteOfUnknownOutcomeIsTakenBackWhenTrustEnds(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.fail = func(_ context.Context, host string) error {
			if host != "a" {
				return nil
			}
			w.set("a", inPool) // it is written, but nobody hears of it
			return context.DeadlineExceeded
		}
		w.run(t)
		synctest.Wait()
		w.memory.do(func() { w.fail = nil })
		w.tell(w.is("a", api.Untrusted, time.Hour))
		w.expect(t, "a", "")
	})
}

func TestASinkThatHangsKeepsNobodyTrustedForLonger(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		for _, host := range []string{"e", "f", "g", "h", "i", "j", "k", "l"} {
			w.set(host)
			w.is(host, api.Trusted, time.Hour)
		}
		w.is("a", api.Trusted, 7*time.Second)
		w.fail = func(ctx context.Context, host string) error {
			if host > "d" { // more than can be written at a time
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
		w.run(t)
		pass(7*time.Second + time.Millisecond)
		w.expect(t, "a", "")
	})
}

func TestAHostThatIsGoneIsNoError(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.refuse("a", publish.ErrNoHost)
		p := w.run(t)
		synctest.Wait()
		if err := p.Ready(); err != nil {
			t.Error(err)
		}
		if got := w.metric(t, "writes_total", "no_host"); got != 1 {
			t.Errorf("writes_total{no_host} %v", got)
		}
	})
}

func TestALoopThatHangsIsToldToTheWatchdog(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		release := make(chan struct{})
		w.fail = func(context.Context, string) error { // does not even listen to its context
			<-release
			return nil
		}
		p := w.run(t)
		pass(59 * time.Second)
		if err := p.Hung(); err != nil {
			t.Errorf("too early: %v", err)
		}
		pass(2 * time.Second)
		if p.Hung() == nil {
			t.Error("nobody is told")
		}
		close(release)
		pass(10 * time.Second)
		if err := p.Hung(); err != nil {
			t.Errorf("after it went on: %v", err)
		}
	})
}

func TestNewsOfAHostThatIsGoneIsNoNews(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.refuse("a", publish.ErrNoHost)
		w.run(t)
		synctest.Wait()
		w.tell(w.is("a", api.Untrusted, time.Hour))
		w.expect(t, "b", inPool)
	})
}

func TestNewsOfAHostThatTheSinkDroppedWhileTheServerIsSilentIsNoNews(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.run(t)
		synctest.Wait()
		w.memory.do(func() { delete(w.states, "a") })
		w.oracle.do(func() { w.err = errors.New("busy") })
		pass(6 * time.Second)
		w.tell(w.is("a", api.Untrusted, time.Hour))
		w.expect(t, "b", inPool)
	})
}
