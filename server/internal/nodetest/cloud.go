package nodetest

import (
	"context"
	"fmt"
	"time"

	"github.com/trustpool/trustpool/server/internal/challenge"
	"github.com/trustpool/trustpool/server/internal/store"
	"github.com/trustpool/trustpool/server/internal/trust"
	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/client"
)

// Cloud is a database with the pool "pool", which demands a known hypervisor, the set "xen", which is in force in it, and nodes of that pool. Whoever asks about it has something to be told.
type Cloud struct {
	Store *store.Store
	fleet *Fleet
	at    time.Time
}

// NewCloud fills an empty database. Everything is done at that time.
func NewCloud(ctx context.Context, s *store.Store, at time.Time) (*Cloud, error) {
	c := &Cloud{Store: s, fleet: NewFleet(), at: at}
	pool := trust.Pool{Name: "pool", Requires: []trust.Requirement{{Part: trust.Hypervisor, Match: trust.AnyOf}}}
	if _, err := s.PutPool(ctx, c.act(), pool, 0); err != nil {
		return nil, err
	}
	soft, err := NewSoft("learned.example", "xen")
	if err != nil {
		return nil, err
	}
	known, err := soft.KnownGood()
	if err != nil {
		return nil, err
	}
	set, err := s.PutSet(ctx, c.act(), trust.Set{Name: "xen", Part: trust.Hypervisor, Pools: []string{"pool"}, KnownGood: known}, 0)
	if err != nil {
		return nil, err
	}
	_, err = s.ApproveSet(ctx, c.act(), set.Name, set.Revision)
	return c, err
}

func (c *Cloud) act() store.Act { return store.Act{By: "setup", At: c.at} }

// Add adds an enrolled node that booted a hypervisor: "xen" is known good, others are not.
func (c *Cloud) Add(ctx context.Context, hypervisor, name string, aliases ...string) (*Soft, error) {
	soft, err := NewSoft(name, hypervisor)
	if err != nil {
		return nil, err
	}
	c.fleet.nodes[name] = soft
	_, err = c.Store.AddNodes(ctx, c.act(), []trust.Node{{
		Name: name, Aliases: aliases, Address: name + ":9443", Pool: "pool", Binding: verifier.BindingInventory, Record: soft.Record(),
	}})
	return soft, err
}

// Populate adds a node of each kind: good.example, which has these aliases too, is trusted for validity; bad.example is not; silent.example was never asked.
func (c *Cloud) Populate(ctx context.Context, validity time.Duration, aliases ...string) error {
	if _, err := c.Add(ctx, "xen", "good.example", aliases...); err != nil {
		return err
	}
	if _, err := c.Add(ctx, "other", "bad.example"); err != nil {
		return err
	}
	if err := c.Attest(ctx, c.at, validity); err != nil {
		return err
	}
	_, err := c.Add(ctx, "xen", "silent.example")
	return err
}

// Node returns a node that was added, or nil.
func (c *Cloud) Node(name string) *Soft { return c.fleet.nodes[name] }

// Attest challenges all nodes that are due at a time. Their verdicts hold for validity from then on.
func (c *Cloud) Attest(ctx context.Context, at time.Time, validity time.Duration) error {
	policy, err := c.Store.Policy(ctx, "pool")
	if err != nil {
		return err
	}
	policy.Validity = validity
	nodes, err := c.Store.Claim(ctx, at, 1000, time.Minute)
	if err != nil {
		return err
	}
	var outcomes []store.Outcome
	for i := range nodes {
		o, err := c.attest(ctx, &nodes[i], &policy, at)
		if err != nil {
			return fmt.Errorf("attesting %s: %w", nodes[i].Name, err)
		}
		outcomes = append(outcomes, o)
	}
	return c.Store.Record(ctx, outcomes)
}

func (c *Cloud) attest(ctx context.Context, node *trust.Node, policy *trust.Policy, at time.Time) (store.Outcome, error) {
	nonce, err := client.NewNonce()
	if err != nil {
		return store.Outcome{}, err
	}
	ev, err := c.fleet.Challenge(ctx, node, challenge.Request{Nonce: nonce, Selection: policy.Selection(node, at)})
	if err != nil {
		return store.Outcome{}, err
	}
	judged := policy.Judge(node, trust.Answer{Evidence: ev, Nonce: nonce, QuotedAt: at}, nil, at)
	return store.Outcome{
		Node: *node, PolicyRevision: policy.Revision, Lease: at.Add(time.Minute), At: at, Due: at.Add(time.Minute), Verdict: &judged.Verdict,
		Evidence: &store.Evidence{QuotedAt: at, Nonce: nonce, Evidence: ev},
	}, nil
}
