package store

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ClaimWebhook has a webhook told of changes by holder alone until a time. It returns the generation of the last change that the hook knows of; a hook that is new knows of all there are. ErrConflict:
// another holder's claim lasts.
func (s *Store) ClaimWebhook(ctx context.Context, name, holder string, now, until time.Time) (position int64, err error) {
	err = s.change(ctx, func(t tx) error {
		var last int64
		if err := t.row("SELECT coalesce(max(generation), 0) FROM history", nil, &last); err != nil {
			return err
		}
		if _, err := t.exec("INSERT INTO webhooks (name, position, holder, leased_until) VALUES ($1, $2, '', 0) ON CONFLICT (name) DO NOTHING", name, last); err != nil {
			return err
		}
		err := t.row("UPDATE webhooks SET holder = $2, leased_until = $3 WHERE name = $1 AND (holder = $2 OR leased_until <= $4) RETURNING position",
			[]any{name, holder, millis(until), millis(now)}, &position)
		if errors.Is(err, ErrNotFound) {
			return fmt.Errorf("%w: another server tells it", ErrConflict)
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("claiming the webhook %s: %w", name, err)
	}
	return position, nil
}

// AdvanceWebhook notes that a webhook knows of all changes up to position, and has holder's claim last until a time; one that is past gives it up. ErrConflict: the claim is another's by now, and
// nothing was noted.
func (s *Store) AdvanceWebhook(ctx context.Context, name, holder string, position int64, until time.Time) error {
	err := s.change(ctx, func(t tx) error {
		n, err := t.exec("UPDATE webhooks SET position = $3, leased_until = $4 WHERE name = $1 AND holder = $2", name, holder, position, millis(until))
		if err == nil && n == 0 {
			return fmt.Errorf("%w: another server tells it", ErrConflict)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("noting how far the webhook %s was told: %w", name, err)
	}
	return nil
}
