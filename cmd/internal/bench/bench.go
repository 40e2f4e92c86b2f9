package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// form says how long to measure.
type form struct {
	// rounds of calls each, one after the other, and of slowCalls on a TPM that takes slowQuote longer.
	rounds, calls, slowRounds, slowCalls int
	// crowds, each in its rounds for its window.
	crowds []crowdPlan
	// starts of the daemon, quotes to use it for, how long to watch it idle, and how long it may take to give memory back.
	starts, quotes int
	idle, after    time.Duration
}

// slowQuote is what makes a quote of a software TPM as slow as one of hardware.
const slowQuote = 250 * time.Millisecond

func fullForm() form {
	f := form{
		rounds: 40, calls: 20, slowRounds: 30, slowCalls: 2, starts: 25, quotes: 10_000, idle: time.Minute, after: 5 * time.Second,
		crowds: []crowdPlan{
			{kind: ecdsa, delay: slowQuote, callers: 1, rounds: 3, alone: 5 * time.Second, together: 5 * time.Second},
			{kind: ecdsa, delay: slowQuote, callers: 8, rounds: 3, alone: 8 * time.Second, together: 8 * time.Second},
			{kind: ecdsa, delay: slowQuote, callers: 64, rounds: 3, alone: 35 * time.Second, together: 10 * time.Second},
			{kind: ecdsa, delay: slowQuote, callers: 256, rounds: 2, alone: 135 * time.Second, together: 10 * time.Second},
		},
	}

	for _, kind := range []string{ecdsa, rsa} {
		for _, callers := range []int{1, 8, 64, 256} {
			f.crowds = append(f.crowds, crowdPlan{kind: kind, callers: callers, rounds: 7, alone: 2 * time.Second, together: 2 * time.Second})
		}
	}

	return f
}

func shortForm() form {
	return form{
		rounds: 8, calls: 6, slowRounds: 4, slowCalls: 1, starts: 5, quotes: 1000, idle: 5 * time.Second, after: time.Second,
		crowds: []crowdPlan{
			{kind: ecdsa, callers: 64, rounds: 3, alone: 500 * time.Millisecond, together: 500 * time.Millisecond},
			{kind: rsa, callers: 64, rounds: 3, alone: 500 * time.Millisecond, together: 500 * time.Millisecond},
			{kind: ecdsa, delay: slowQuote, callers: 256, rounds: 1, alone: 3 * time.Second, together: 3 * time.Second},
		},
	}
}

// bench is one run.
type bench struct {
	options
	form

	dir      string
	progress io.Writer
	results  *results
	// made are the folders of TPMs that have a key of a kind already.
	made map[string]string
	// folders is how many folders were made for nodes.
	folders int
}

func newBench(o options, dir string, progress io.Writer) *bench {
	f := fullForm()
	if o.short {
		f = shortForm()
	}

	return &bench{options: o, form: f, dir: dir, progress: progress, results: newResults(o.short), made: make(map[string]string)}
}

// run measures all parts, or the one that was asked for.
func (b *bench) run(ctx context.Context) (*results, error) {
	began := time.Now()

	for _, part := range []struct {
		name string
		run  func(context.Context, *stage) error
	}{
		{"contract", b.contract},
		{"latency", b.latency},
		{"slow", b.slow},
		{"crowd", b.crowd},
		{"footprint", b.footprint},
	} {
		if b.only != "" && b.only != part.name {
			continue
		}

		fmt.Fprintf(b.progress, "%s, after %s\n", part.name, time.Since(began).Round(time.Second))

		s := &stage{bench: b}
		if err := errors.Join(part.run(ctx, s), s.close()); err != nil {
			return nil, fmt.Errorf("%s: %w", part.name, err)
		}
	}

	if b.goBench != "" {
		if err := b.results.addGoBench(b.goBench); err != nil {
			return nil, err
		}
	}

	b.results.took(time.Since(began))

	return b.results, nil
}

// stage holds what a part started, to end it in the opposite order.
type stage struct {
	bench *bench
	undo  []func() error
}

func (s *stage) onClose(undo func() error) { s.undo = append(s.undo, undo) }

func (s *stage) close() error {
	var errs []error

	for i := range s.undo {
		errs = append(errs, s.undo[len(s.undo)-1-i]())
	}

	return errors.Join(errs...)
}

// node starts a node that lives as long as the stage. Its TPM is a copy of one that all nodes with this kind of key share: how long a signature takes depends on
// the key.
func (s *stage) node(ctx context.Context, kind string, tapped bool, delay time.Duration) (*node, error) {
	made, err := s.bench.provisioned(ctx, kind)
	if err != nil {
		return nil, err
	}

	dir, err := s.folder()
	if err != nil {
		return nil, err
	}

	for _, state := range []string{tpmState, daemonState} {
		if err := os.CopyFS(filepath.Join(dir, state), os.DirFS(filepath.Join(made, state))); err != nil {
			return nil, fmt.Errorf("copying a TPM: %w", err)
		}
	}

	n, err := newNode(ctx, nodeOptions{binary: s.bench.agent, dir: dir, kind: kind, tapped: tapped, delay: delay})
	if err != nil {
		return nil, err
	}

	s.onClose(n.close)

	return n, nil
}

// provisioned lets a daemon make a key of this kind in a new TPM, once, and returns the folder that both leave behind.
func (b *bench) provisioned(ctx context.Context, kind string) (string, error) {
	if dir, ok := b.made[kind]; ok {
		return dir, nil
	}

	dir, err := newDir(b.dir, kind)
	if err != nil {
		return "", err
	}

	n, err := newNode(ctx, nodeOptions{binary: b.agent, dir: dir, kind: kind})
	if err != nil {
		return "", err
	}

	b.made[kind] = dir

	return dir, n.close()
}

// folder makes a folder of its own for a node, whatever part it is of. Its name is short: the paths of sockets are limited.
func (s *stage) folder() (string, error) {
	s.bench.folders++

	return newDir(s.bench.dir, fmt.Sprintf("n%d", s.bench.folders))
}
