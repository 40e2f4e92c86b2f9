package console

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/trustpool/trustpool/cmd/internal/daemon"
)

// Exit codes. Scripts branch on them, so they never change their meaning.
const (
	ExitOK       = daemon.ExitOK
	ExitFailed   = daemon.ExitError
	ExitUsage    = daemon.ExitUsage
	ExitNotFresh = 3
	ExitRefused  = 4
	// ExitInterrupted is 128 and the number of SIGINT, as of a shell's command that the signal killed.
	ExitInterrupted = 130
)

// ExitError ends a command whose output has said all there is to say.
type ExitError struct{ Code int }

// Error gives the code.
func (e ExitError) Error() string { return fmt.Sprintf("exit code %d", e.Code) }

// Usagef makes an error of wrong usage.
func Usagef(format string, args ...any) error {
	return daemon.UsageError{Err: fmt.Errorf(format, args...)}
}

// hintError is an error and what a person can do about it.
type hintError struct {
	error
	hint string
}

func (e hintError) Unwrap() error { return e.error }

// WithHint adds to an error what a person can do about it.
func WithHint(err error, format string, args ...any) error {
	return hintError{error: err, hint: fmt.Sprintf(format, args...)}
}

// Hint returns what WithHint added; empty if nothing.
func Hint(err error) string {
	hinted, _ := errors.AsType[hintError](err)
	return hinted.hint
}

// Args makes a wrong number of arguments a usage error.
func Args(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return daemon.UsageError{Err: err}
		}
		return nil
	}
}

// SubcommandOnly refuses words that are no command, with the one that was perhaps meant.
func SubcommandOnly(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	err := Usagef("there is no command %q", args[0])
	if like := cmd.SuggestionsFor(args[0]); len(like) > 0 {
		return WithHint(err, "Did you mean %q?", like[0])
	}
	return err
}
