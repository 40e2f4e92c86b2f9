package main

import (
	"fmt"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/verifier/client"
)

// progress tells a person at a terminal how much of a large log has come. For anybody else it does nothing.
type progress struct {
	out   *console.Output // nil: nobody looks
	shown int             // percent of the log
}

func newProgress(out *console.Output) *progress {
	if !out.Watched() {
		return &progress{}
	}
	return &progress{out: out}
}

// show is called after each piece.
func (p *progress) show(log client.LogReference, done int) {
	const mebibyte = 1 << 20

	percent := 100 * done / max(log.Size, 1)
	if p.out == nil || percent == p.shown {
		return
	}
	p.shown = percent
	// CR and ECMA-48 EL: each line replaces the one before.
	_, _ = fmt.Fprintf(p.out.Stderr, "\r\x1b[Kfetching log %s: %.1f of %.1f MiB", log.Source, float64(done)/mebibyte, float64(log.Size)/mebibyte)
}

// clear removes the line.
func (p *progress) clear() {
	if p.out != nil && p.shown > 0 {
		_, _ = fmt.Fprint(p.out.Stderr, "\r\x1b[K")
	}
}
