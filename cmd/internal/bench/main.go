// Command bench measures what quotes cost, side by side in one run, and writes a table and build/bench.json. `make bench` runs it; docs/performance.md explains
// the figures.
//
// It starts the real daemon on software TPMs: each case has a swtpm of its own, of the same binary and with a key of the same kind, to which the daemon is connected
// as to a TPM's device. A round measures all cases in random order, and a ratio is the median over the rounds of what two cases took in the same round, so that what
// else the machine does falls on both.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/trustpool/trustpool/cmd/internal/daemon"
)

func main() {
	os.Exit(daemon.Run(run))
}

// options are the command line.
type options struct {
	agent    string // the daemon
	peers    string // the program of docs/bench; empty: without peers
	goBench  string // what `go test -bench` printed; empty: nothing of it
	json     string // where the results go, or come from
	pictures string // where to draw pictures of the results; nothing is measured then
	page     string // the page to write the results into, with the pictures
	short    bool
	only     string // names one part

	// bare is the folder of a node to be served by the least that can; we start ourselves with it.
	bare, bareAddress string
}

// run carries out one command line.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var o options

	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.agent, "agent", "build/trustpool-agent", "the daemon's `binary`, as make build makes it")
	flags.StringVar(&o.peers, "peers", "", "the `binary` of docs/bench, to measure other libraries beside it")
	flags.StringVar(&o.goBench, "go-bench", "", "a `file` with the output of go test -bench, to add its figures")
	flags.StringVar(&o.json, "json", "build/bench.json", "the `file` for the results")
	flags.StringVar(&o.pictures, "pictures", "", "draw the results of the -json file as SVG into this `folder`, and measure nothing")
	flags.StringVar(&o.page, "page", "", "with -pictures, write the results into this Markdown `file` as well, between its marks")
	flags.BoolVar(&o.short, "short", false, "take fewer rounds: figures to look at, good enough for the hard gates only")
	flags.StringVar(&o.only, "only", "", "measure one `part`: latency, slow, crowd, footprint or contract")

	flags.StringVar(&o.bare, "bare", "", "serve the TPM in this `folder` by a bare gRPC server: the benchmark starts itself so")
	flags.StringVar(&o.bareAddress, "bare-address", "127.0.0.1:0", "its `host:port`")

	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return daemon.UsageError{Err: err}
	}

	if flags.NArg() > 0 {
		return daemon.UsageError{Err: fmt.Errorf("unexpected %q", flags.Arg(0))}
	}

	switch {
	case o.bare != "":
		return serveBare(ctx, o.bare, o.bareAddress)
	case o.pictures != "":
		return publish(o.json, o.pictures, o.page)
	default:
		return measure(ctx, o, stdout, stderr)
	}
}

// measure takes all figures, prints them, and fails if a hard gate is not met: those that no busy machine can excuse.
func measure(ctx context.Context, o options, stdout, stderr io.Writer) error {
	dir, err := os.MkdirTemp("", "trustpool-bench-")
	if err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()

	results, err := newBench(o, dir, stderr).run(ctx)
	if err != nil {
		return err
	}

	if err := results.write(o.json); err != nil {
		return err
	}

	results.print(stdout)

	if o.only != "" {
		return results.hardGates()
	}

	return errors.Join(results.complete(), results.hardGates())
}
