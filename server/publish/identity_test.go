package publish_test

import (
	"testing"
	"time"

	"github.com/trustpool/trustpool/server/publish"
)

func TestANameThatChangesItsOwnerIsNotTrustedUntilItIsBack(t *testing.T) {
	t.Parallel()
	for name, absent := range map[string]bool{"at once": false, "by way of nobody": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, func(t *testing.T, w *world) {
				w.states["a"] = publish.State{ID: "uuid-1"}
				w.run(t)
				pass(6 * time.Second)
				if got := w.shows("a"); got != inPool {
					t.Fatalf("a shows %q", got)
				}
				if absent {
					w.memory.do(func() { delete(w.states, "a") })
					pass(5 * time.Second)
				}
				w.memory.do(func() { w.states["a"] = publish.State{Marks: []string{inPool}, ID: "uuid-2"} })
				pass(time.Minute)
				w.expect(t, "a", "")
				if got := w.metric(t, "alarms_total", "identity_changed"); got != 1 || !w.said.Has("alarm=identity_changed") {
					t.Errorf("%v alarms, want 1: %s", got, w.said)
				}
				if !w.said.Has("reason=identity_changed") {
					t.Errorf("the log has no reason: %s", w.said)
				}
				w.memory.do(func() { w.states["a"] = publish.State{ID: "uuid-1"} })
				pass(5 * time.Second)
				w.expect(t, "a", inPool)
			})
		})
	}
}

func TestAPublisherThatBeginsTakesNamesAsItFindsThem(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		for _, id := range []string{"uuid-1", "uuid-2"} { // re-installed between the two
			w.states["a"] = publish.State{ID: id}
			if _, err := publish.New(w.config, w.deps()).Once(t.Context()); err != nil {
				t.Fatal(err)
			}
			w.expect(t, "a", inPool)
		}
	})
}
