package api

import (
	"context"
	"iter"
	"strconv"
)

// RefusedAKs returns the attestation keys that are trusted no more.
func (c *Client) RefusedAKs(ctx context.Context) ([]RefusedAK, error) {
	var all RefusedAKs
	err := c.call(ctx, get("refused-aks"), &all)
	return all.RefusedAKs, err
}

// RefuseAK refuses an attestation key by its Name (hexadecimal), whoever enrolled it.
func (c *Client) RefuseAK(ctx context.Context, name, note string) error {
	return c.call(ctx, put("refused-aks", name).sending(Refusal{Note: note}), nil)
}

// AllowAK takes an attestation key off the list.
func (c *Client) AllowAK(ctx context.Context, name string) error {
	return c.call(ctx, remove("refused-aks", name), nil)
}

// Alarms lists alarms, the oldest first; only those that nobody acknowledged if open is set.
func (c *Client) Alarms(ctx context.Context, open bool) iter.Seq2[Alarm, error] {
	r := get("alarms").with("open", strconv.FormatBool(open))
	return pages(ctx, c, r, "after", func(p *Alarms) ([]Alarm, string) { return p.Alarms, number(p.Next) })
}

// AcknowledgeAlarm notes that somebody has looked.
func (c *Client) AcknowledgeAlarm(ctx context.Context, id int64) error {
	return c.call(ctx, post("alarms", strconv.FormatInt(id, 10), "acknowledge"), nil)
}

// AdminLog lists what administrators did, after the entry of that number; 0: all.
func (c *Client) AdminLog(ctx context.Context, after int64) iter.Seq2[AdminEntry, error] {
	return pages(ctx, c, get("admin-log").with("after", number(after)), "after", func(p *AdminLog) ([]AdminEntry, string) { return p.Entries, number(p.Next) })
}

// CheckAdminLog has the server follow the chain of the log.
func (c *Client) CheckAdminLog(ctx context.Context) (check AdminLogCheck, err error) {
	return check, c.call(ctx, get("admin-log", "check"), &check)
}

// Tokens returns what the server keeps of the bearer tokens.
func (c *Client) Tokens(ctx context.Context) ([]Token, error) {
	var all Tokens
	err := c.call(ctx, get("tokens"), &all)
	return all.Tokens, err
}

// AddToken makes a token. Its text is told this once.
func (c *Client) AddToken(ctx context.Context, spec TokenSpec) (token NewToken, err error) {
	return token, c.call(ctx, post("tokens").sending(spec), &token)
}

// RemoveToken ends a token.
func (c *Client) RemoveToken(ctx context.Context, name string) error {
	return c.call(ctx, remove("tokens", name), nil)
}
