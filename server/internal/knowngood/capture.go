package knowngood

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/trustpool/trustpool/server/internal/store"
	"github.com/trustpool/trustpool/server/internal/trust"
	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/client"
	"github.com/trustpool/trustpool/verifier/eventlog"
)

// Request says what is to be learned from a node, and how it is called.
type Request struct {
	// Node is the node's name or an alias.
	Node string
	// Prefix begins the names of the sets: PREFIX-platform, PREFIX-hypervisor, PREFIX-host.
	Prefix string
	// Pools are those in which they are to count. None: the node's.
	Pools []string
	// Parts moves PCRs from the part that they are split into by themselves to another one.
	Parts map[int]trust.Part
}

// Captured are the drafts that were learned.
type Captured struct {
	Sets []trust.Set
	// QuotedAt is when the nonce of the evidence was made, and EvidenceID its number.
	QuotedAt   time.Time
	EvidenceID int64
	// Notes say what to look at before approving.
	Notes []string
}

// Capture learns drafts from the last evidence of an enrolled node, whether it was trusted or not, one for each part. The evidence has to pass every check but those against known-good values: fresh when it was
// recorded, signed by an enrolled key, bound to the server's connection, after a measured launch, and explained by its logs. Learned does not mean good: that is for who approves.
func (t *Tools) Capture(ctx context.Context, a store.Act, r Request) (Captured, error) {
	captured, err := t.capture(ctx, r)
	if err == nil {
		captured.Sets, err = t.putAll(ctx, a, captured.Sets)
	}
	if err != nil {
		return Captured{}, fmt.Errorf("learning from the node %.64s: %w", r.Node, err)
	}
	return captured, nil
}

func (t *Tools) capture(ctx context.Context, r Request) (Captured, error) {
	node, err := t.store.Node(ctx, r.Node)
	if err != nil {
		return Captured{}, err
	}
	policy, err := t.store.Policy(ctx, node.Pool)
	if err != nil {
		return Captured{}, err
	}
	ev, err := t.newest(ctx, node.Name)
	if err != nil {
		return Captured{}, err
	}
	if err := mayTeach(&node, &policy.Pool, &ev.Evidence); err != nil {
		return Captured{}, fmt.Errorf("%w: %w", store.ErrConflict, err)
	}
	known, err := verifier.Learn(ev.Evidence, verifier.Policy{
		Nonce: ev.Nonce, BindMode: verifier.BindBound, Node: node.Record, RefusedAKs: policy.RefusedAKs,
		Selection: judgeable(&ev.Evidence), AllowMorePCRs: true, // of banks that can't be known good
	})
	if err != nil {
		return Captured{}, fmt.Errorf("%w: %w", store.ErrConflict, err)
	}

	if len(r.Pools) == 0 {
		r.Pools = []string{node.Pool}
	}
	sets, notes, err := split(known, r, &node, ev.QuotedAt)
	return Captured{Sets: sets, QuotedAt: ev.QuotedAt, EvidenceID: ev.ID, Notes: notes}, err
}

// mayTeach holds back nodes that their pool would not trust whatever they measured.
func mayTeach(node *trust.Node, pool *trust.Pool, ev *verifier.Evidence) error {
	switch {
	case node.State != trust.Active || node.Record == nil || node.Record.Name != node.Name:
		return fmt.Errorf("the node is %s: only an enrolled and active node can be learned from", node.State)
	case !pool.Takes(node.Record.Binding):
		return fmt.Errorf("the node was enrolled by %s, which the pool %s does not take", node.Record.Binding, pool.Name)
	case !pool.AllowSimulatedNodes && ev.Hints[client.HintSimulated] == "true":
		return fmt.Errorf("the node says that its TPM is simulated, which the pool %s does not allow", pool.Name)
	default:
		return nil
	}
}

// newest returns the last evidence of a node.
func (t *Tools) newest(ctx context.Context, name string) (store.Evidence, error) {
	var newest store.Evidence
	for _, kind := range []store.EvidenceKind{store.LastGood, store.LastBad} {
		ev, err := t.store.LastEvidence(ctx, name, kind)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return store.Evidence{}, err
		}
		if err == nil && ev.QuotedAt.After(newest.QuotedAt) {
			newest = ev
		}
	}
	if newest.QuotedAt.IsZero() {
		return store.Evidence{}, fmt.Errorf("%w: there is no evidence of the node yet: have it challenged first", store.ErrConflict)
	}
	return newest, nil
}

// judgeable lists the quoted PCRs of the banks that can be known good.
func judgeable(ev *verifier.Evidence) []verifier.Selection {
	var all []verifier.Selection
	for _, bank := range ev.PCRs {
		if !slices.Contains([]eventlog.Alg{eventlog.AlgSHA256, eventlog.AlgSHA384, eventlog.AlgSHA512}, bank.Alg) || len(bank.Values) == 0 {
			continue
		}
		s := verifier.Selection{Alg: bank.Alg}
		for _, v := range bank.Values {
			s.PCRs = append(s.PCRs, v.Index)
		}
		all = append(all, s)
	}
	return all
}

// putAll makes drafts. It looks first whether the names are free, so that it rarely stops in the middle.
func (t *Tools) putAll(ctx context.Context, a store.Act, sets []trust.Set) ([]trust.Set, error) {
	for _, set := range sets {
		switch _, err := t.store.Set(ctx, set.Name); {
		case err == nil:
			return nil, fmt.Errorf("%w: there is a set %s already: choose another name", store.ErrConflict, set.Name)
		case !errors.Is(err, store.ErrNotFound):
			return nil, err
		}
	}
	drafts := make([]trust.Set, 0, len(sets))
	for _, set := range sets {
		draft, err := t.store.PutSet(ctx, a, set, 0)
		if err != nil {
			return nil, err
		}
		drafts = append(drafts, draft)
	}
	return drafts, nil
}
