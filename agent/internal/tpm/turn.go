package tpm

import (
	"context"
	"time"
)

type callerKey struct{}

// WithCaller returns a context whose calls wait in the name of that caller: an identity that was verified. Those without one are all the same caller.
func WithCaller(ctx context.Context, identity string) context.Context {
	return context.WithValue(ctx, callerKey{}, identity)
}

func callerOf(ctx context.Context) string {
	caller, _ := ctx.Value(callerKey{}).(string)

	return caller
}

// enter waits for a turn at the TPM, for as long as ctx allows. The error is ctx's own, or a *QueueError. After it is nil, release has to be called.
func (t *TPM) enter(ctx context.Context, class Class) error {
	deadline, _ := ctx.Deadline()

	return t.wait(ctx, &ticket{caller: callerOf(ctx), class: class, deadline: deadline, exempt: class == ClassHandshake}) // handshakes have a door of their own
}

// enterOwn is enter for the agent itself, which is always let in.
func (t *TPM) enterOwn(ctx context.Context, class Class) error {
	return t.wait(ctx, &ticket{class: class, exempt: true})
}

func (t *TPM) wait(ctx context.Context, place *ticket) error {
	turn := make(chan struct{}, 1)
	place.asked, place.turn = time.Now(), turn

	var err error

	t.queued(func(q *queue) { err = q.enter(place.asked, place) })

	if err != nil {
		return err
	}

	select {
	case <-turn:
		return nil
	case <-ctx.Done():
		t.queued(func(q *queue) { q.withdraw(time.Now(), place) })

		return context.Cause(ctx)
	}
}

// release ends a turn. One that did what it was for tells how long such turns last.
func (t *TPM) release(isDone bool) {
	t.queued(func(q *queue) { q.end(time.Now(), isDone) })
}

// queued lets do use the queue, and tells if as many wait no longer.
func (t *TPM) queued(do func(*queue)) {
	t.mu.Lock()
	defer t.mu.Unlock()

	before := t.queue.waiting
	do(&t.queue)

	if t.queue.waiting != before {
		t.options.OnQueue(t.queue.waiting)
	}
}
