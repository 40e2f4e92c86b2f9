package api

import (
	"context"
	"iter"
	"net/http"
	"slices"
)

// Host asks for one host, by its name or an alias. A name that no node has is no error: the host is unknown, and the reason is unknown_host.
func (c *Client) Host(ctx context.Context, name string) (h Host, err error) {
	return h, c.call(ctx, get("hosts", name), &h)
}

// QueryHosts asks for many hosts, and returns an answer for each in their order. More than MaxQuery are asked for in several calls.
func (c *Client) QueryHosts(ctx context.Context, names []string) ([]Host, error) {
	hosts := make([]Host, 0, len(names))
	for chunk := range slices.Chunk(names, MaxQuery) {
		var answer Hosts
		if err := c.call(ctx, post("hosts:query").sending(HostQuery{Hosts: chunk}), &answer); err != nil {
			return nil, err
		}
		hosts = append(hosts, answer.Hosts...)
	}
	return hosts, nil
}

// Hosts lists nodes by name, with their verdicts as they stand now.
func (c *Client) Hosts(ctx context.Context, f HostFilter) iter.Seq2[Host, error] {
	r := get("hosts").with("pool", f.Pool).with("trust", string(f.Trust))
	return pages(ctx, c, r, "after", func(p *Hosts) ([]Host, string) { return p.Hosts, p.Next })
}

// Summary counts what the server knows.
func (c *Client) Summary(ctx context.Context) (s Summary, err error) {
	return s, c.call(ctx, get("summary"), &s)
}

// Caller tells who the server takes the caller for.
func (c *Client) Caller(ctx context.Context) (who Caller, err error) {
	return who, c.call(ctx, get("caller"), &who)
}

// SignedVerdict asks for the verdict on a host as a JWT whose claims are an EAR. The server signs those of hosts that are not trusted as well: only the claims tell.
func (c *Client) SignedVerdict(ctx context.Context, name string, o SignOptions) (jwt string, err error) {
	r := get("hosts", name, "verdict.jwt").with("aud", o.Audience).with("nonce", o.Nonce)
	r.header = http.Header{"Accept": {EARMediaType + ", application/problem+json;q=0.9"}}
	raw, err := c.raw(ctx, r)
	return string(raw), err
}

// SignedVerdicts asks for signed verdicts on many hosts, and returns one for each in their order. More than MaxSignQuery are asked for in several calls.
func (c *Client) SignedVerdicts(ctx context.Context, names []string, o SignOptions) ([]SignedHost, error) {
	hosts := make([]SignedHost, 0, len(names))
	for chunk := range slices.Chunk(names, MaxSignQuery) {
		var answer SignedHosts
		if err := c.call(ctx, post("hosts:sign").sending(SignQuery{Hosts: chunk, SignOptions: o}), &answer); err != nil {
			return nil, err
		}
		hosts = append(hosts, answer.Hosts...)
	}
	return hosts, nil
}

// KeySet asks for the public keys by which signed verdicts are verified: a JWK Set (RFC 7517, 5).
func (c *Client) KeySet(ctx context.Context) (jwks []byte, err error) {
	r := request{method: http.MethodGet, path: []string{".well-known", "jwks.json"}}
	r.header = http.Header{"Accept": {"application/jwk-set+json, application/problem+json;q=0.9"}}
	return c.raw(ctx, r)
}
