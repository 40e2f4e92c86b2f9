package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/trustpool/trustpool/server/internal/store"
	"github.com/trustpool/trustpool/server/internal/store/storetest"
)

func TestAWebhookIsToldByOneServerAtATime(t *testing.T) {
	t.Parallel()
	storetest.OnBoth(t, func(t *testing.T, on storetest.Engine) {
		s, _ := newStore(t, on)
		ctx, now := t.Context(), time.Now()
		position, err := s.ClaimWebhook(ctx, "pager", "one", now, now.Add(time.Minute))
		if err != nil || position != 0 {
			t.Fatal(position, err)
		}
		if _, err := s.ClaimWebhook(ctx, "pager", "two", now, now.Add(time.Minute)); !errors.Is(err, store.ErrConflict) {
			t.Errorf("claimed twice: %v", err)
		}
		if err := s.AdvanceWebhook(ctx, "pager", "two", 5, now.Add(time.Minute)); !errors.Is(err, store.ErrConflict) {
			t.Errorf("advanced by another: %v", err)
		}
		if err := s.AdvanceWebhook(ctx, "pager", "one", 7, now.Add(2*time.Minute)); err != nil {
			t.Fatal(err)
		}
		if position, err := s.ClaimWebhook(ctx, "pager", "one", now.Add(time.Second), now.Add(time.Minute)); err != nil || position != 7 {
			t.Errorf("claimed again by the same: %d, %v", position, err)
		}
		if position, err := s.ClaimWebhook(ctx, "other", "two", now, now.Add(time.Minute)); err != nil || position != 0 {
			t.Errorf("another webhook: %d, %v", position, err)
		}

		late := now.Add(time.Minute)
		if position, err := s.ClaimWebhook(ctx, "pager", "two", late, late.Add(time.Minute)); err != nil || position != 7 {
			t.Errorf("after the end of the claim: %d, %v", position, err)
		}
		if err := s.AdvanceWebhook(ctx, "pager", "one", 9, late.Add(time.Hour)); !errors.Is(err, store.ErrConflict) {
			t.Errorf("advanced by whoever lost the claim: %v", err)
		}
		if err := s.AdvanceWebhook(ctx, "pager", "two", 8, time.UnixMilli(1)); err != nil {
			t.Fatal(err)
		}
		if position, err := s.ClaimWebhook(ctx, "pager", "one", late, late.Add(time.Minute)); err != nil || position != 8 {
			t.Errorf("given up: %d, %v", position, err)
		}
	})
}
