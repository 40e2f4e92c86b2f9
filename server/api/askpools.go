package api

import (
	"context"
	"iter"
)

// Pools returns all pools, by name.
func (c *Client) Pools(ctx context.Context) ([]Pool, error) {
	var all Pools
	err := c.call(ctx, get("pools"), &all)
	return all.Pools, err
}

// Pool returns one pool.
func (c *Client) Pool(ctx context.Context, name string) (p Pool, err error) {
	return p, c.call(ctx, get("pools", name), &p)
}

// PutPool makes a pool, if revision is 0, or replaces the one that has this revision. Its nodes are unknown until the next quote, which is due at once.
func (c *Client) PutPool(ctx context.Context, name string, spec PoolSpec, revision int64) (p Pool, err error) {
	if spec.Requires == nil {
		spec.Requires = []Requirement{}
	}
	return p, c.call(ctx, put("pools", name).made(revision).sending(spec), &p)
}

// RemovePool removes a pool without nodes.
func (c *Client) RemovePool(ctx context.Context, name string) error {
	return c.call(ctx, remove("pools", name), nil)
}

// Set returns a set of known-good values.
func (c *Client) Set(ctx context.Context, name string) (s Set, err error) {
	return s, c.call(ctx, get("sets", name), &s)
}

// Sets lists sets by name, without their values.
func (c *Client) Sets(ctx context.Context, f SetFilter) iter.Seq2[Set, error] {
	r := get("sets").with("state", f.State).with("pool", f.Pool)
	return pages(ctx, c, r, "after", func(p *Sets) ([]Set, string) { return p.Sets, p.Next })
}

// PutSet makes a draft, if revision is 0, or replaces the draft that has this revision. It decides nothing before it is approved.
func (c *Client) PutSet(ctx context.Context, name string, spec SetSpec, revision int64) (s Set, err error) {
	if spec.Pools == nil {
		spec.Pools = []string{}
	}
	return s, c.call(ctx, put("sets", name).made(revision).sending(spec), &s)
}

// ApproveSet puts the draft of this revision in force. Nodes of its pools are asked at once.
func (c *Client) ApproveSet(ctx context.Context, name string, revision int64) (s Set, err error) {
	return s, c.call(ctx, post("sets", name, "approve").at(revision), &s)
}

// RetireSet ends a set for good. Verdicts that rest on it are unknown from then on.
func (c *Client) RetireSet(ctx context.Context, name string, revision int64) (s Set, err error) {
	return s, c.call(ctx, post("sets", name, "retire").at(revision), &s)
}
