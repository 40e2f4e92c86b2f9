package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

// Exit codes of all commands; trustpoolctl verify has more.
const (
	ExitOK    = 0
	ExitError = 1 // failed at run time
	ExitUsage = 2 // bad flags or config
)

// UsageError is a mistake in flags or config: what the program was told, not what it met.
type UsageError struct {
	Err error
}

// Error implements error.
func (e UsageError) Error() string { return e.Err.Error() }

// Unwrap gives the mistake itself.
func (e UsageError) Unwrap() error { return e.Err }

// Run runs a command until it ends by itself or by SIGINT or SIGTERM, and returns its exit code. A second signal ends it at once.
func Run(run func(ctx context.Context, args []string, stdout, stderr io.Writer) error) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()

	context.AfterFunc(ctx, stop)

	return ExitCode(run(ctx, os.Args[1:], os.Stdout, os.Stderr), os.Stderr)
}

// CrashBySignal has a panic, and a SIGABRT such as that of systemd's watchdog, end the process by a signal, after it has told where each goroutine was. Go would else exit
// with 2, which is ExitUsage, and who looks after a daemon does not start it again after that.
func CrashBySignal() {
	debug.SetTraceback("crash")
}

// ExitCode writes an error to stderr and returns the exit code for it.
func ExitCode(err error, stderr io.Writer) int {
	if err == nil {
		return ExitOK
	}

	fmt.Fprintln(stderr, "error:", err)

	if errors.As(err, new(UsageError)) {
		return ExitUsage
	}

	return ExitError
}
