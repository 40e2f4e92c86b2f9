package publish_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/server/publish"
)

func TestWithdrawTakesAllMarksWithoutAskingAnybody(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		bars bool
		want string
	}{{false, "no_new_guests"}, {true, ""}} {
		inWorld(t, func(t *testing.T, w *world) {
			w.states["a"] = publish.State{Marks: []string{inPool}}
			w.states["c"] = publish.State{Bar: publish.NoNewGuests}
			w.states["d"] = publish.State{Bar: publish.NoNewGuests, Held: true}
			tries := 0
			w.fail = func(_ context.Context, host string) error {
				if tries++; tries == 1 {
					return errors.New("502 Bad Gateway")
				}
				return nil
			}
			if _, err := publish.New(w.config, w.deps()).Withdraw(t.Context(), test.bars); err != nil {
				t.Fatal(err)
			}
			if w.shows("a") != "" || w.shows("c") != test.want || w.shows("d") != "no_new_guests" {
				t.Errorf("bars %v: a shows %q, c %q, d %q", test.bars, w.shows("a"), w.shows("c"), w.shows("d"))
			}
			if w.asked > 0 {
				t.Errorf("the server was asked %d times", w.asked)
			}
		})
	}
}

func TestWithdrawSaysWhatItCouldNotDo(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.set("a", inPool)
		w.set("b", inPool)
		w.refuse("a", errors.New("403 Forbidden"))
		report, err := publish.New(w.config, w.deps()).Withdraw(t.Context(), false)
		if err == nil || w.shows("b") != "" {
			t.Errorf("error %v, b shows %q", err, w.shows("b"))
		}
		want := []publish.Change{
			{Host: "b", Trust: api.Unknown, Reason: "withdrawn", MarksBefore: []string{inPool}, Marks: []string{}, BarBefore: "none", Bar: "none"},
			{Host: "a", Trust: api.Unknown, Reason: "withdrawn", MarksBefore: []string{inPool}, Marks: []string{}, BarBefore: "none", Bar: "none", Error: "403 Forbidden"},
		}
		if diff := cmp.Diff(want, report.Changes); diff != "" {
			t.Errorf("it does not tell what each try did (-want +got):\n%s", diff)
		}
		w.readErr = errors.New("401 Unauthorized")
		if report, err := publish.New(w.config, w.deps()).Withdraw(t.Context(), false); err == nil || !report.Unread {
			t.Errorf("of a sink that can't be read: %+v, error %v", report, err)
		}
	})
}

func TestTheLogHasAnEmptyListForNoMarks(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.set("a", inPool)
		deps := w.deps()
		deps.Logger = slog.New(slog.NewJSONHandler(w.said, nil))
		if _, err := publish.New(w.config, deps).Withdraw(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		if !w.said.Has(`"msg":"published"`) || !w.said.Has(`"marks":[],"bar":"none"`) {
			t.Errorf("it says: %s", w.said)
		}
	})
}

func TestWithdrawTellsOfEachHostTheLastThatItDid(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		meanwhile func(*world) // after the first try, which fails on a
		want      []string     // hosts, with the errors
		unread    bool
	}{
		"the sink can be read no more":     {func(w *world) { w.readErr = errors.New("401 Unauthorized") }, []string{"a 403 Forbidden", "b "}, true},
		"somebody else has taken the mark": {func(w *world) { w.states["a"] = publish.State{} }, []string{"b "}, false},
		"a mark was set again":             {func(w *world) { w.states["b"] = w.states["a"]; w.fail = nil }, []string{"a ", "b "}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, func(t *testing.T, w *world) {
				w.set("a", inPool)
				w.set("b", inPool)
				w.refuse("a", errors.New("403 Forbidden"))
				time.AfterFunc(time.Millisecond, func() { w.memory.do(func() { test.meanwhile(w) }) })
				report, err := publish.New(w.config, w.deps()).Withdraw(t.Context(), false)
				if report.Unread != test.unread || (err != nil) != test.unread || report.Hosts != 4 {
					t.Errorf("unread %v of %d hosts, error %v", report.Unread, report.Hosts, err)
				}
				var got []string
				for _, c := range report.Changes {
					got = append(got, c.Host+" "+c.Error)
				}
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Errorf("changes (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestOnceReconcilesAndTellsWhat(t *testing.T) {
	t.Parallel()
	for _, dry := range []bool{false, true} {
		inWorld(t, func(t *testing.T, w *world) {
			w.set("c", inPool)
			w.config.Marks[0].Pools = []string{"gold"}
			w.set("e")
			w.is("e", api.Trusted, time.Hour)
			w.oracle.do(func() { e := w.hosts["e"]; e.Pool = "silver"; w.hosts["e"] = e })
			deps := w.deps()
			deps.DryRun = dry
			report, err := publish.New(w.config, deps).Once(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			want := publish.Report{Hosts: 5, DryRun: dry, Changes: []publish.Change{
				{Host: "c", Node: "c.example", Trust: "untrusted", Reason: "pcr_mismatch", MarksBefore: []string{inPool}, Marks: []string{}, BarBefore: "none", Bar: "none"},
				{Host: "a", Node: "a.example", Trust: "trusted", Reason: "ok", MarksBefore: []string{}, Marks: []string{inPool}, BarBefore: "none", Bar: "none"},
				{Host: "b", Node: "b.example", Trust: "trusted", Reason: "ok", MarksBefore: []string{}, Marks: []string{inPool}, BarBefore: "none", Bar: "none"},
			}, Unmarked: []publish.Unmarked{
				{Host: "c", Node: "c.example", Pool: "gold", Trust: "untrusted", Reason: "pcr_mismatch"},
				{Host: "d", Trust: "unknown", Reason: "unknown_host"},
				{Host: "e", Node: "e.example", Pool: "silver", Trust: "trusted", Reason: "ok"},
			}}
			if diff := cmp.Diff(want, report, cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".err" || p.Last().String() == ".behind" }, cmp.Ignore())); diff != "" {
				t.Errorf("report (-want +got):\n%s", diff)
			}
			if written := len(w.took()) > 0; written == dry {
				t.Errorf("dry run: %v, written: %v", dry, written)
			}
		})
	}
}

func TestOnceWithoutAServerTakesMarksAndFails(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.set("a", inPool)
		w.err = errors.New("connection refused")
		began := time.Now()
		_, err := publish.New(w.config, w.deps()).Once(t.Context())
		if err == nil || w.shows("a") != "" {
			t.Errorf("error %v, a shows %q", err, w.shows("a"))
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}
