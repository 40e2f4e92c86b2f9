package api

import (
	"context"
	"io"
	"iter"
	"net/http"
)

// Node returns a node by its name or an alias.
func (c *Client) Node(ctx context.Context, name string) (n Node, err error) {
	return n, c.call(ctx, get("nodes", name), &n)
}

// Nodes lists nodes by name, without what only Node tells.
func (c *Client) Nodes(ctx context.Context, f NodeFilter) iter.Seq2[Node, error] {
	r := get("nodes").with("pool", f.Pool).with("state", f.State)
	return pages(ctx, c, r, "after", func(p *Nodes) ([]Node, string) { return p.Nodes, p.Next })
}

// AddNode adds a node.
func (c *Client) AddNode(ctx context.Context, spec NodeSpec) (n Node, err error) {
	return n, c.call(ctx, post("nodes").sending(spec), &n)
}

// ImportNodes adds many nodes, all or none.
func (c *Client) ImportNodes(ctx context.Context, nodes []NodeSpec) (done Imported, err error) {
	return done, c.call(ctx, post("nodes:import").sending(NodeImport{Nodes: nodes}), &done)
}

// ImportNodesCSV adds the nodes of a CSV file, all or none. docs/api.md tells its columns.
func (c *Client) ImportNodesCSV(ctx context.Context, csv io.Reader) (done Imported, err error) {
	r := post("nodes:import-csv").sending(csv)
	r.header = http.Header{"Content-Type": {"text/csv"}}
	return done, c.call(ctx, r, &done)
}

// UpdateNode replaces what an administrator says of the node of this revision. A new pool takes the verdict away until the next quote, a new binding or EK takes the enrolment away.
func (c *Client) UpdateNode(ctx context.Context, name string, spec NodeSpec, revision int64) (n Node, err error) {
	return n, c.call(ctx, put("nodes", name).at(revision).sending(spec), &n)
}

// SetLabels replaces the labels of the node of this revision. An operator may do that.
func (c *Client) SetLabels(ctx context.Context, name string, labels map[string]string, revision int64) (n Node, err error) {
	if labels == nil {
		labels = map[string]string{}
	}
	return n, c.call(ctx, put("nodes", name, "labels").at(revision).sending(Labels{Labels: labels}), &n)
}

// RemoveNode decommissions a node. Its names are free for others; its history stays. Revision 0 means whichever it has; so in the calls below.
func (c *Client) RemoveNode(ctx context.Context, name string, revision int64) error {
	return c.call(ctx, remove("nodes", name).at(revision), nil)
}

// HoldNode refuses a node until an administrator releases it.
func (c *Client) HoldNode(ctx context.Context, name, reason string, revision int64) (n Node, err error) {
	return n, c.call(ctx, post("nodes", name, "hold").at(revision).sending(Hold{Reason: reason}), &n)
}

// ReleaseNode ends a hold: the keys that were enrolled before count again.
func (c *Client) ReleaseNode(ctx context.Context, name string, revision int64) (n Node, err error) {
	return n, c.call(ctx, post("nodes", name, "release").at(revision), &n)
}

// ReenrollNode forgets the node's keys: it is enrolled anew as soon as it is reached.
func (c *Client) ReenrollNode(ctx context.Context, name string, revision int64) (n Node, err error) {
	return n, c.call(ctx, post("nodes", name, "reenroll").at(revision), &n)
}

// AttestNode has a node challenged at once. It does not wait for the answer: an event tells if the verdict changes.
func (c *Client) AttestNode(ctx context.Context, name string) error {
	return c.call(ctx, post("nodes", name, "attest"), nil)
}

// History lists the changes of a node's verdict, the newest first.
func (c *Client) History(ctx context.Context, name string) iter.Seq2[Change, error] {
	return pages(ctx, c, get("nodes", name, "history"), "before", func(p *Changes) ([]Change, string) { return p.Changes, number(p.Next) })
}

// Evidence returns evidence of a node as a tar of the folder that trustpoolctl verify reads: which is EvidenceLastGood, EvidenceLastBad or the number of a Verdict.EvidenceID. The caller closes it.
func (c *Client) Evidence(ctx context.Context, name, which string) (io.ReadCloser, error) {
	r := get("nodes", name, "evidence", which)
	r.header = http.Header{"Accept": {"application/x-tar, application/problem+json;q=0.9"}}
	response, err := c.send(ctx, r)
	if err != nil {
		return nil, err
	}
	return response.Body, nil
}
