package page

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/trustpool/trustpool/server/internal/store"
	"github.com/trustpool/trustpool/server/internal/trust"
	"github.com/trustpool/trustpool/verifier"
)

// why is a node's last evidence, judged again by what is in force now: the verdict keeps only the first of what was wrong. It is shown, and decides nothing.
type why struct {
	EvidenceID int64
	QuotedAt   time.Time
	// Kind is how the API calls this evidence.
	Kind store.EvidenceKind
	// Verdict is today's on it, Same tells whether it is what the node's own says.
	Verdict trust.Verdict
	Same    bool
	// Result is nil if the evidence was not looked at: the verdict says why.
	Result *verifier.Result
	// Passed counts the checks that passed, Of all.
	Passed, Of int
}

// why explains a verdict that rests on evidence; nil if there is none.
func (p *Page) why(ctx context.Context, node *trust.Node, v *trust.Verdict, now time.Time) (*why, error) {
	kind := store.LastBad
	switch {
	case v.Level == trust.Trusted:
		kind = store.LastGood
	case v.Level == trust.Unknown || v.Reason == trust.OnHold:
		return nil, nil // it is not evidence that speaks against it
	}
	ev, err := p.config.Store.LastEvidence(ctx, node.Name, kind)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	policy, err := p.config.Store.Policy(ctx, node.Pool)
	if err != nil {
		return nil, err
	}

	select {
	case p.judging <- struct{}{}:
		defer func() { <-p.judging }()
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting to judge evidence: %w", ctx.Err())
	}
	judged := policy.Judge(node, trust.Answer{Evidence: ev.Evidence, Nonce: ev.Nonce, QuotedAt: ev.QuotedAt}, v.Sets, now)
	w := &why{EvidenceID: ev.ID, QuotedAt: ev.QuotedAt, Kind: kind, Verdict: judged.Verdict, Result: judged.Result}
	w.Same = judged.Verdict.Level == v.Level && judged.Verdict.Reason == v.Reason
	if w.Result != nil {
		w.Of = len(w.Result.Checks)
		for _, c := range w.Result.Checks {
			if c.Outcome == verifier.Passed {
				w.Passed++
			}
		}
	}
	return w, nil
}
