package webhook_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trustpool/trustpool/server/internal/store"
	"github.com/trustpool/trustpool/server/internal/webhook"
)

func TestAServerThatDoesNotTellAHookDoesNotAskForItAtEachChange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		claim := func(holder string) error {
			_, err := c.Store.ClaimWebhook(t.Context(), "pager", holder, time.Now(), time.Now().Add(time.Hour))
			return err
		}
		giveUp := func(holder string) {
			if err := c.Store.AdvanceWebhook(t.Context(), "pager", holder, 1000, time.UnixMilli(1)); err != nil {
				t.Fatal(err)
			}
		}
		if err := claim("one"); err != nil {
			t.Fatal(err)
		}
		waiting := c.run("two", webhook.Target{Name: "pager", URL: "https://127.0.0.1:1", MaxAge: time.Hour})
		synctest.Wait()

		giveUp("one") // a change, and what it would get if it asked
		synctest.Wait()
		if err := claim("three"); err != nil {
			t.Errorf("it asked for the claim when something changed: %v", err)
		}
		giveUp("three")
		<-time.After(6 * time.Second)
		synctest.Wait()
		if err := claim("four"); !errors.Is(err, store.ErrConflict) {
			t.Errorf("it did not look for claims that end: %v", err)
		}
		waiting.stop()
	})
}

// TestAServerThatWaitsForAReceiverKeepsItsClaim has nobody else tell the hook meanwhile, and somebody soon after the server has died.
func TestAServerThatWaitsForAReceiverKeepsItsClaim(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		waits := c.run("one", webhook.Target{Name: "pager", URL: "https://127.0.0.1:1", SecretFile: "/missing", MaxAge: time.Hour}) // each attempt fails
		synctest.Wait()
		c.change("a.example")
		claim := func(now time.Time) error {
			_, err := c.Store.ClaimWebhook(t.Context(), "pager", "two", now, now.Add(time.Minute))
			return err
		}
		for range 120 { // the pauses have grown to a minute by then
			<-time.After(5 * time.Second)
			synctest.Wait()
			if err := claim(time.Now()); !errors.Is(err, store.ErrConflict) {
				t.Fatalf("%s after the first attempt another one may tell it: %v", time.Since(c.at), err)
			}
		}
		if n := waits.count(t, "failed"); n < 10 || n > 40 {
			t.Errorf("%v attempts failed", n)
		}
		if err := claim(time.Now().Add(time.Minute)); err != nil {
			t.Errorf("a minute after its death: %v", err)
		}
		waits.stop()
	})
}
