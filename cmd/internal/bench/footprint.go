package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/trustpool/trustpool/verifier/client"
)

const mib = 1 << 20

// footprint measures what the daemon takes of a node.
func (b *bench) footprint(ctx context.Context, s *stage) error {
	info, err := os.Stat(b.agent)
	if err != nil {
		return fmt.Errorf("looking at the daemon: %w", err)
	}

	b.results.set("binary_mib", float64(info.Size())/mib)

	// Another node than the one whose memory is looked at: this one ends again and again.
	n, err := s.node(ctx, ecdsa, true, 0)
	if err != nil {
		return err
	}

	if err := b.measureStarts(ctx, n); err != nil {
		return err
	}

	if n, err = s.node(ctx, ecdsa, false, 0); err != nil {
		return err
	}

	return b.measureMemory(ctx, s, n)
}

// measureStarts takes the time from exec to the first quote, with the key in the TPM already.
func (b *bench) measureStarts(ctx context.Context, n *node) error {
	var whole, above []time.Duration

	for range b.starts {
		if err := n.halt(); err != nil {
			return err
		}

		inTPM, began := n.tap.busy.Load(), time.Now()

		if err := errors.Join(n.start(ctx), n.ask(ctx)); err != nil {
			return err
		}

		took := time.Since(began)
		whole = append(whole, took)
		above = append(above, took-time.Duration(n.tap.busy.Load()-inTPM))
	}

	b.results.set("start_ms", milliseconds(quantile(whole, 0.5)))
	b.results.set("start_max_ms", milliseconds(quantile(whole, 1)))
	b.results.set("start_above_tpm_ms", milliseconds(quantile(above, 0.5)))

	return nil
}

// measureMemory watches one daemon in its first minutes.
func (b *bench) measureMemory(ctx context.Context, s *stage, n *node) error {
	if err := b.measureIdle(ctx, n.cmd.Process.Pid); err != nil {
		return err
	}

	c, err := s.caller(n, 0)
	if err != nil {
		return err
	}

	for range b.quotes {
		if _, err := c.Quote(ctx, client.QuoteOptions{Nonce: newNonce()}); err != nil {
			return err
		}
	}

	if err := b.setRSS("rss_after_quotes_mib", n.cmd.Process.Pid); err != nil {
		return err
	}

	b.results.set("rss_after_quotes", float64(b.quotes))

	if err := comeAndGo(ctx, n, 64); err != nil {
		return err
	}

	if err := pause(ctx, b.after); err != nil {
		return err
	}

	return b.setRSS("rss_after_64_connections_mib", n.cmd.Process.Pid)
}

// measureIdle watches a daemon that has answered once and is now left alone.
func (b *bench) measureIdle(ctx context.Context, pid int) error {
	before, err := cpuTime(pid)
	if err != nil {
		return err
	}

	if err := pause(ctx, b.idle); err != nil {
		return err
	}

	after, err := cpuTime(pid)
	if err != nil {
		return err
	}

	b.results.set("idle_cpu_percent", 100*float64(after-before)/float64(b.idle))
	b.results.set("idle_seconds", b.idle.Seconds())

	return b.setRSS("idle_rss_mib", pid)
}

// comeAndGo makes so many connections at a time, asks for a quote on each, and closes them all.
func comeAndGo(ctx context.Context, n *node, connections int) error {
	var clients []*client.Client

	group, groupCtx := errgroup.WithContext(ctx)

	for i := range connections {
		c, err := n.dial(i)
		if err != nil {
			return err
		}

		clients = append(clients, c)
		group.Go(func() error {
			_, err := c.Quote(groupCtx, client.QuoteOptions{Nonce: newNonce()})

			return err
		})
	}

	errs := []error{group.Wait()}
	for _, c := range clients {
		errs = append(errs, c.Close())
	}

	return errors.Join(errs...)
}

func (b *bench) setRSS(key string, pid int) error {
	rss, err := residentSize(pid)
	if err != nil {
		return err
	}

	b.results.set(key, float64(rss)/mib)

	return nil
}

// pause waits.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
