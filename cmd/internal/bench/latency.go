package main

import (
	"context"
	"crypto/tls"
	"slices"
	"time"

	"github.com/trustpool/trustpool/verifier/client"
)

// The names of cases that figures are made of.
const (
	caseRaw     = "raw TPM2_Quote"
	caseUnix    = "unix socket"
	caseMTLS    = "mTLS, kept"
	caseBare    = "mTLS, kept, bare nonce"
	caseNew     = "mTLS, new connection"
	caseResumed = "mTLS, resumed"
	caseNoTPM   = "mTLS, kept, no TPM command"
	caseMinimal = "bare gRPC server, mTLS, kept"
)

// latency measures callers who come one after the other.
func (b *bench) latency(ctx context.Context, s *stage) error {
	sets := make(map[string][]*series)

	for _, kind := range []string{ecdsa, rsa} {
		set, err := s.latencyCases(ctx, kind)
		if err != nil {
			return err
		}

		peers, err := s.peerCases(ctx, kind)
		if err != nil {
			return err
		}

		sets[kind] = slices.Concat(set, peers)
	}

	if err := interleave(ctx, b.progress, slices.Concat(sets[ecdsa], sets[rsa]), b.rounds); err != nil {
		return err
	}

	for _, kind := range []string{ecdsa, rsa} {
		b.results.addSeries(kind, 0, sets[kind])
	}

	return nil
}

// slow measures the same on a TPM that is as slow as hardware.
func (b *bench) slow(ctx context.Context, s *stage) error {
	raw, err := s.rawSeries(ctx, ecdsa, slowQuote)
	if err != nil {
		return err
	}

	n, err := s.node(ctx, ecdsa, true, slowQuote)
	if err != nil {
		return err
	}

	c, err := s.caller(n, 0)
	if err != nil {
		return err
	}

	set := []*series{raw, {name: caseMTLS, run: kept(c, client.QuoteOptions{})}}
	for _, one := range set {
		one.calls = b.slowCalls
	}

	if err := interleave(ctx, b.progress, set, b.slowRounds); err != nil {
		return err
	}

	b.results.addSeries(ecdsa, slowQuote, set)

	return nil
}

// rawSeries prepares the reference: a TPM in which the daemon made its key, and from which it then went away.
func (s *stage) rawSeries(ctx context.Context, kind string, delay time.Duration) (*series, error) {
	n, err := s.node(ctx, kind, delay > 0, delay)
	if err != nil {
		return nil, err
	}

	if err := n.halt(); err != nil {
		return nil, err
	}

	socket := n.tpm.socket
	if n.tap != nil {
		socket = n.tap.socket
	}

	quoter, err := newRawQuoter(socket)
	if err != nil {
		return nil, err
	}

	s.onClose(quoter.conn.Close)

	return &series{name: caseRaw, run: quoter.run, calls: s.bench.calls}, nil
}

// latencyCases prepares all cases of a kind of key, the reference first, each on a node of its own.
func (s *stage) latencyCases(ctx context.Context, kind string) ([]*series, error) {
	raw, err := s.rawSeries(ctx, kind, 0)
	if err != nil {
		return nil, err
	}

	set := []*series{raw}

	for _, one := range []struct {
		name string
		run  func(*node) (timed, error)
	}{
		{caseUnix, s.overUnix},
		{caseMTLS, func(n *node) (timed, error) { return s.overTLS(n, client.QuoteOptions{}) }},
		{caseBare, func(n *node) (timed, error) { return s.overTLS(n, client.QuoteOptions{Raw: true}) }},
		{caseNew, func(n *node) (timed, error) { return overNewConnections(n, nil) }},
		{caseResumed, func(n *node) (timed, error) { return overNewConnections(n, tls.NewLRUClientSessionCache(1)) }},
		{caseMinimal, func(n *node) (timed, error) {
			if err := s.startBare(ctx, n); err != nil {
				return nil, err
			}

			return s.overTLS(n, client.QuoteOptions{Raw: true})
		}},
		{caseNoTPM, func(n *node) (timed, error) {
			c, err := s.caller(n, 0)

			return noTPM(c), err
		}},
	} {
		n, err := s.node(ctx, kind, false, 0)
		if err != nil {
			return nil, err
		}

		run, err := one.run(n)
		if err != nil {
			return nil, err
		}

		set = append(set, &series{name: one.name, run: run, calls: s.bench.calls})
	}

	return set, nil
}

func (s *stage) overUnix(n *node) (timed, error) {
	c, err := client.Dial(client.Options{Address: n.unix})
	if err != nil {
		return nil, err
	}

	s.onClose(c.Close)

	return kept(c, client.QuoteOptions{Raw: true}), nil
}

func (s *stage) overTLS(n *node, o client.QuoteOptions) (timed, error) {
	c, err := s.caller(n, 0)

	return kept(c, o), err
}

func overNewConnections(n *node, cache tls.ClientSessionCache) (timed, error) {
	config, err := n.callerTLS(0)
	if err != nil {
		return nil, err
	}

	config.ClientSessionCache = cache

	return each(n.address, config), nil
}

// caller is a client over mutual TLS that lives as long as the stage.
func (s *stage) caller(n *node, number int) (*client.Client, error) {
	c, err := n.dial(number)
	if err != nil {
		return nil, err
	}

	s.onClose(c.Close)

	return c, nil
}
