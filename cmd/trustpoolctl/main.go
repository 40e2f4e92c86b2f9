// Command trustpoolctl is a person's tool: it enrols nodes, asks them for quotes, learns known-good values, verifies evidence, reads event logs, and asks an attestation server.
package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal lets the command clean up; the next one ends it.
	context.AfterFunc(ctx, stop)

	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run executes one command line and returns its exit code. Results go to stdout, errors to stderr.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root, out := newRoot(stdout, stderr)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)

	err := root.ExecuteContext(ctx)
	if _, done := errors.AsType[console.ExitError](err); err != nil && !done && ctx.Err() != nil {
		err = errInterrupted
	}
	return report(stderr, out.JSON, err)
}
