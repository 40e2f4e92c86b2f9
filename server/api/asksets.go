package api

import (
	"context"
	"encoding/json"
)

// CaptureNode learns drafts of sets from the last evidence of a node. They decide nothing before they are approved.
func (c *Client) CaptureNode(ctx context.Context, node string, how Capture) (done Captured, err error) {
	return done, c.call(ctx, post("nodes", node, "capture").sending(how), &done)
}

// ImportSet makes a draft of a set from elsewhere.
func (c *Client) ImportSet(ctx context.Context, in SetImport) (done ImportedSet, err error) {
	return done, c.call(ctx, post("sets:import").sending(in), &done)
}

// ExportSet returns a set as a file of a format, all of which are JSON.
func (c *Client) ExportSet(ctx context.Context, name, format string) (raw json.RawMessage, err error) {
	return raw, c.call(ctx, get("sets", name, "export").with("format", format), &raw)
}

// CompareSets says how two sets differ.
func (c *Client) CompareSets(ctx context.Context, a, b string) ([]SetDifference, error) {
	var answer SetDifferences
	err := c.call(ctx, post("sets:compare").sending(Comparison{A: a, B: b}), &answer)
	return answer.Differences, err
}

// DryRun tells whom a change would condemn or pardon. It changes nothing.
func (c *Client) DryRun(ctx context.Context, change DryRun) (effect Effect, err error) {
	return effect, c.call(ctx, post("sets:dry-run").sending(change), &effect)
}
