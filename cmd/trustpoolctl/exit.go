package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/trustpool/trustpool/cmd/internal/daemon"
	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
	"github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/client"
)

const exitExplanations = `Exit codes:
  0  done; verify: trusted
  1  failed; verify: could not judge
  2  wrong usage
  3  verify: authentic, freshness not checked
  4  refused: the evidence does not prove what it should
  130  interrupted`

// errInterrupted is what ends a command that was told to end.
var errInterrupted = errors.New("interrupted")

// verdictExit returns the exit code of a verdict. Those that are not known refuse.
func verdictExit(verdict verifier.Verdict) int {
	switch verdict {
	case verifier.Trusted:
		return console.ExitOK
	case verifier.FreshnessNotChecked:
		return console.ExitNotFresh
	case verifier.CouldNotJudge:
		return console.ExitFailed
	default:
		return console.ExitRefused
	}
}

// refusedError is evidence that was refused, told as an error because there is nothing else to show.
type refusedError struct{ error }

func (e refusedError) Unwrap() error { return e.error }

// report tells of err on stderr, if there is anything to tell, and returns the exit code for it.
func report(stderr io.Writer, asJSON bool, err error) int {
	if err == nil {
		return console.ExitOK
	}
	if exit, ok := errors.AsType[console.ExitError](err); ok {
		return exit.Code
	}

	tell := tellText
	if asJSON {
		tell = tellJSON
	}
	tell(stderr, err)

	if errors.Is(err, errInterrupted) {
		return console.ExitInterrupted
	}
	if _, ok := errors.AsType[daemon.UsageError](err); ok {
		return console.ExitUsage
	}
	if _, ok := errors.AsType[refusedError](err); ok {
		return console.ExitRefused
	}
	return console.ExitFailed
}

func tellText(stderr io.Writer, err error) {
	// There is nowhere left to report a stderr that can't be written.
	_, _ = fmt.Fprintf(stderr, "trustpoolctl: %s\n", console.PrintableLines(err.Error()))
	if hint := hintFor(err); hint != "" {
		_, _ = fmt.Fprintf(stderr, "  %s\n", hint)
	}
}

// errorView is what --json prints to stderr.
type errorView struct {
	Error  string `json:"error"`
	Reason string `json:"reason,omitempty"`
	// Status is the HTTP status with which an attestation server answered, Errors what it says of single fields.
	Status int              `json:"status,omitempty"`
	Errors []api.FieldError `json:"errors,omitempty"`
	// Details are what the agent says of its reason: max_nonce_size, active_banks.
	Details map[string]string `json:"details,omitempty"`
	Hint    string            `json:"hint,omitempty"`
}

func tellJSON(stderr io.Writer, err error) {
	view := errorView{Error: err.Error(), Details: client.Details(err), Hint: hintFor(err)}
	if reason := client.Reason(err); reason != agentv1.ErrorReason_ERROR_REASON_UNSPECIFIED {
		view.Reason = strings.TrimPrefix(reason.String(), "ERROR_REASON_")
	}
	if problem, ok := errors.AsType[*api.Problem](err); ok {
		view.Status, view.Errors = problem.Status, problem.Errors
	}
	text, err := console.JSON(view, "")
	if err != nil {
		text = `{"error": "an error that can't be told"}` + "\n"
	}
	_, _ = io.WriteString(stderr, text)
}
