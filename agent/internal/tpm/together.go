package tpm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/trustpool/trustpool/agent/internal/aggregate"
)

// Together asks for a quote that answers others as well.
type Together struct {
	// AKName chooses the AK. It is never empty: the leaf holds it.
	AKName []byte
	// Selections are as in a Request.
	Selections []Selection
	// Bound is the caller's BIND_MODE_BOUND value.
	Bound [aggregate.BoundSize]byte
}

// Share is one caller's part of such a quote.
type Share struct {
	// Quote is the same for all, and belongs to all.
	*Quote
	// Leaf is the caller's, Tree has it at Index. The salt is for this caller alone.
	Leaf  aggregate.Leaf
	Tree  *aggregate.Tree
	Index int
}

// QuoteTogether is Quote for callers who can do with a leaf of a Merkle tree whose root is signed. Those who wait for the same AK and selections at the same time are answered by one
// quote, at most aggregate.MaxLeaves of them, and at most half as many of one caller as long as others are left waiting. A lone caller does not wait for others. One who gives up
// before the quote is begun has no part in it; later it leaves a leaf that nobody asks for.
func (t *TPM) QuoteTogether(ctx context.Context, request Together) (*Share, error) {
	m := &member{caller: callerOf(ctx), leaf: aggregate.NewLeaf(request.Bound), asked: time.Now(), wake: make(chan struct{}, 1)}
	m.deadline, _ = ctx.Deadline()

	err := t.await(ctx, m, request)
	t.ended(ctx, Turn{Class: ClassQuote, Asked: m.asked, began: m.began}, err)

	if err != nil {
		return nil, fmt.Errorf("quoting: %w", err)
	}

	return &m.share, nil
}

// await joins the group and waits until its quote is there. Whoever is woken to lead makes it for all.
func (t *TPM) await(ctx context.Context, m *member, request Together) error {
	var (
		g   *group
		err error
	)

	t.queued(func(q *queue) {
		g = t.groups.find(request.AKName, request.Selections)
		err = g.join(q, m)
	})

	if err != nil {
		return err
	}

	for {
		select {
		case <-m.wake:
		case <-ctx.Done():
			if t.leave(g, m) {
				return context.Cause(ctx)
			}

			<-m.wake // it is over just now
		}

		if t.isOver(m) {
			return m.err
		}

		t.lead(g, request)
	}
}

// isOver says whether the member has its answer. If not, it was woken to lead.
func (t *TPM) isOver(m *member) bool {
	t.mu.Lock()
	defer t.mu.Unlock()

	return m.state == memberDone
}

// leave takes a member out of its group. It is false if the answer is there already.
func (t *TPM) leave(g *group, m *member) (left bool) {
	t.queued(func(q *queue) { left = g.leave(q, m, time.Now()) })

	return left
}

// errLeader is what those get whose leader failed in a way that nobody thought of.
var errLeader = errors.New("the quote was not finished")

// lead makes one quote for all who wait now. It does not look at the leader's context: others wait for it, too.
func (t *TPM) lead(g *group, request Together) {
	var (
		batch []*member
		share Share
	)

	began, err := time.Now(), errLeader
	t.queued(func(q *queue) { batch = g.seal(q, began) })

	defer func() {
		t.queued(func(q *queue) {
			now := time.Now()
			g.linger(q, now, batch, func() { t.lingerOn(g) })
			q.end(now, err == nil)

			for i, m := range batch {
				share.Leaf, share.Index = m.leaf, i
				m.finish(began, share, err)
			}
		})
	}()

	t.options.OnBatch(len(batch))

	share.Tree, share.Quote, err = t.quoteAll(batch, request)
}

// lingerOn looks whether a group waits on for those who were answered.
func (t *TPM) lingerOn(g *group) {
	t.queued(func(q *queue) { g.lingerOn(q, time.Now(), func() { t.lingerOn(g) }) })
}

// quoteAll makes the quote; the caller has the turn.
func (t *TPM) quoteAll(batch []*member, request Together) (tree *aggregate.Tree, quote *Quote, err error) {
	tree, err = aggregate.New(leavesOf(batch))
	if err != nil {
		return nil, nil, err
	}

	extraData := tree.ExtraData()
	err = t.work(func(s *tpmSession) error {
		ak, err := s.akNamed(request.AKName)
		if err != nil {
			return err
		}

		quote, err = s.quote(ak, extraData, request.Selections)

		return err
	})

	return tree, quote, err
}

func leavesOf(batch []*member) []aggregate.Leaf {
	leaves := make([]aggregate.Leaf, 0, len(batch))
	for _, m := range batch {
		leaves = append(leaves, m.leaf)
	}

	return leaves
}
