package webhook

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/server/internal/store"
)

const (
	// leaseTime is how long a server tells a hook without saying so again, and the longest that a hook waits when its server dies.
	leaseTime = 45 * time.Second
	// renewAt is how much of that has to be left when an attempt begins. It is above attemptTime by more than the clocks of two servers may differ.
	renewAt = 30 * time.Second
	// keepEvery is how often the claim is looked after in a pause; leaseTime less that is renewAt and something.
	keepEvery = 10 * time.Second
	// lookEvery is how often it is looked for changes that other servers made, and for claims that ended.
	lookEvery = 5 * time.Second
	// maxPause is the longest pause between two attempts.
	maxPause = time.Minute
	// page is how many changes are read at a time.
	page = 64
)

// Target says who is told of what.
type Target struct {
	// Name is that of the hook; how far it was told goes with it.
	Name string
	URL  string
	// Pools are those whose nodes' changes are told; none: all.
	Pools []string
	// SecretFile and CA name files; an empty CA stands for the authorities of the system.
	SecretFile, CA string
	// MaxAge is how old a change may be that is still told.
	MaxAge time.Duration
}

// Config is what hooks work with.
type Config struct {
	Store *store.Store
	// Holder names this server among those that share the database. It has to be another one at each start.
	Holder string
	// ReadFile reads files that a Target names.
	ReadFile func(string) ([]byte, error)
	// ChangeOf gives a change as the events of the REST API do.
	ChangeOf func(*store.Change) api.Change
	// Pause is that after the first failure; each that follows doubles it, up to a minute. Default: 1s.
	Pause  time.Duration
	Logger *slog.Logger
}

// Hook tells one Target.
type Hook struct {
	config  Config
	target  Target
	metrics *hookMetrics
	sender  sender

	position int64 // the last change that the target knows of
	noted    int64 // the same, as the database has it
	leased   time.Time
	failures int    // in a row
	told     string // the last problem that was logged

	mu      sync.Mutex
	waiting time.Time // when the change was made that waits to be told; zero if none does; guarded by mu
}

// Run tells the target until ctx ends.
func (h *Hook) Run(ctx context.Context) {
	defer h.sender.close()
	for {
		changed := h.config.Store.Changed() // before looking, or what comes in between is missed
		err := h.tellAll(ctx)
		if ctx.Err() != nil {
			h.giveUp(context.WithoutCancel(ctx))
			return
		}
		pause := lookEvery
		switch {
		case errors.Is(err, store.ErrConflict): // another server tells the hook
			h.leased = time.Time{}
			h.waitFor(time.Time{})
			changed = nil // or the servers that don't tell it would ask for the claim, and so for the turn to write, at each change of anything
		case err != nil:
			changed = nil // a change is no reason not to wait
			pause = h.fail(err)
		default:
			h.recovered()
		}
		h.rest(ctx, changed, pause)
	}
}

// rest waits until a pause is over, or something changed, and keeps the claim meanwhile: whoever waits for a receiver is not dead.
func (h *Hook) rest(ctx context.Context, changed <-chan struct{}, pause time.Duration) {
	for ; pause > 0; pause -= keepEvery {
		timer := time.NewTimer(min(pause, keepEvery))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-changed:
			timer.Stop()
			return
		case <-timer.C:
		}
		if pause > keepEvery && h.claim(ctx) != nil {
			return // the next attempt tells why
		}
	}
}

// tellAll tells what there is to tell. ErrConflict: another server does.
func (h *Hook) tellAll(ctx context.Context) error {
	if err := h.claim(ctx); err != nil {
		return err
	}
	for {
		changes, err := h.config.Store.Events(ctx, h.position, page)
		if err != nil {
			return err
		}
		for i := range changes {
			if err := h.tell(ctx, &changes[i]); err != nil {
				return err
			}
		}
		h.waitFor(time.Time{})
		if err := h.note(ctx); err != nil || len(changes) < page {
			return err
		}
	}
}

// claim sees to it that no other server tells the hook.
func (h *Hook) claim(ctx context.Context) error {
	now := time.Now()
	if h.leased.Sub(now) >= renewAt {
		return nil
	}
	until := now.Add(leaseTime)
	position, err := h.config.Store.ClaimWebhook(ctx, h.target.Name, h.config.Holder, now, until)
	if err != nil {
		return err
	}
	if h.leased.IsZero() || position > h.position { // others may have told the hook meanwhile
		h.position = position
	}
	h.noted, h.leased = position, until
	if time.Until(until) < attemptTime { // its end was reckoned before the database was asked
		return errors.New("the database took too long to answer")
	}
	return nil
}

// tell makes one attempt to tell of a change, if the target is to know of it.
func (h *Hook) tell(ctx context.Context, c *store.Change) error {
	made := c.Verdict.ChangedAt
	switch {
	case len(h.target.Pools) > 0 && !slices.Contains(h.target.Pools, c.Pool):
		h.position = c.Verdict.Generation
		return nil
	case time.Since(made) > h.target.MaxAge:
		h.metrics.dropped.Inc()
		h.config.Logger.Error("a webhook is not told of a change, which is too old by now", "webhook", h.target.Name, "node", c.Node, "generation", c.Verdict.Generation, "changed_at", made)
		h.position = c.Verdict.Generation
		return nil
	}
	h.waitFor(made)
	d, err := newDelivery(h.config.ChangeOf(c))
	if err != nil {
		return err
	}
	if err := h.claim(ctx); err != nil { // telling the others may have taken long
		return err
	}
	if err := h.sender.send(ctx, d); err != nil {
		if ctx.Err() == nil {
			h.metrics.failed.Inc()
		}
		return fmt.Errorf("telling of generation %d: %w", c.Verdict.Generation, err)
	}
	h.metrics.delivered.Inc()
	h.recovered()
	h.position = c.Verdict.Generation
	return h.note(ctx)
}

// newDelivery makes the message of a change. Its id is the same at each attempt, and no other change has it, also not one that gets the same generation after a restore.
func newDelivery(c api.Change) (delivery, error) {
	body, err := json.Marshal(api.Delivery{Type: api.EventVerdict, Timestamp: c.ChangedAt, Data: c})
	if err != nil {
		return delivery{}, fmt.Errorf("writing the change of generation %d: %w", c.Generation, err)
	}
	return delivery{id: fmt.Sprintf("verdict_%d_%d", c.Generation, c.ChangedAt.UnixMilli()), body: body}, nil
}

// note has the database know how far the target was told.
func (h *Hook) note(ctx context.Context) error {
	if h.position == h.noted {
		return nil
	}
	until := time.Now().Add(leaseTime)
	err := h.config.Store.AdvanceWebhook(ctx, h.target.Name, h.config.Holder, h.position, until)
	if err == nil {
		h.noted, h.leased = h.position, until
	}
	return err
}

// giveUp lets another server go on at once.
func (h *Hook) giveUp(ctx context.Context) {
	if h.leased.IsZero() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lookEvery)
	defer cancel()
	err := h.config.Store.AdvanceWebhook(ctx, h.target.Name, h.config.Holder, h.position, time.UnixMilli(1))
	if err != nil && !errors.Is(err, store.ErrConflict) {
		h.config.Logger.Warn("a webhook waits until this server's claim ends", "webhook", h.target.Name, "error", err)
	}
}

// fail logs each problem once, and returns the pause before the next attempt: it doubles, give or take a quarter, so that hooks and servers do not come all at once.
func (h *Hook) fail(err error) time.Duration {
	h.failures++
	if h.told != err.Error() {
		h.told = err.Error()
		h.config.Logger.Warn("a webhook can't be told of changes; it is tried again", "webhook", h.target.Name, "error", err)
	}
	pause := min(cmp.Or(h.config.Pause, time.Second)<<min(h.failures-1, 16), maxPause)
	pause = max(pause, min(wantsPause(err), maxPause))
	return pause*3/4 + rand.N(pause/2+1) //nolint:gosec // spreads load, guards nothing
}

// recovered forgets former failures.
func (h *Hook) recovered() {
	if h.failures > 0 {
		h.config.Logger.Info("a webhook is told of changes again", "webhook", h.target.Name, "failures", h.failures)
	}
	h.failures, h.told = 0, ""
}

// waitFor notes since when the oldest change has waited.
func (h *Hook) waitFor(made time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.waiting = made
}

// lag is how long the oldest change has waited.
func (h *Hook) lag(now time.Time) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.waiting.IsZero() {
		return 0
	}
	return max(0, now.Sub(h.waiting))
}
