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
