package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/trustpool/trustpool/cmd/internal/daemon"
	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/client"
)

// Exit codes. Scripts branch on them, so they never change their meaning.
const (
	exitOK       = daemon.ExitOK
	exitFailed   = daemon.ExitError
	exitUsage    = daemon.ExitUsage
	exitNotFresh = 3
	exitRefused  = 4
)

const exitExplanations = `Exit codes:
  0  done; verify: trusted
  1  failed; verify: could not judge
  2  wrong usage
  3  verify: authentic, freshness not checked
  4  refused: the evidence does not prove what it should`

func usagef(format string, args ...any) error {
	return daemon.UsageError{Err: fmt.Errorf(format, args...)}
}

// hintError is an error and what a person can do about it.
type hintError struct {
	error
	hint string
}

func (e hintError) Unwrap() error { return e.error }

func withHint(err error, format string, args ...any) error {
	return hintError{error: err, hint: fmt.Sprintf(format, args...)}
}

// verdictError ends a command whose output has said all there is to say.
type verdictError struct{ verdict verifier.Verdict }

func (e verdictError) Error() string { return e.verdict.String() }

func (e verdictError) exitCode() int {
	switch e.verdict {
	case verifier.Trusted:
		return exitOK
	case verifier.FreshnessNotChecked:
		return exitNotFresh
	case verifier.CouldNotJudge:
		return exitFailed
	default:
		return exitRefused
	}
}

// refusedError is evidence that was refused, told as an error because there is nothing else to show.
type refusedError struct{ error }

func (e refusedError) Unwrap() error { return e.error }

// report tells of err on stderr, if there is anything to tell, and returns the exit code for it.
func report(stderr io.Writer, asJSON bool, err error) int {
	if err == nil {
		return exitOK
	}
	if verdict, ok := errors.AsType[verdictError](err); ok {
		return verdict.exitCode()
	}

	tell := tellText
	if asJSON {
		tell = tellJSON
	}
	tell(stderr, err)

	if _, ok := errors.AsType[daemon.UsageError](err); ok {
		return exitUsage
	}
	if _, ok := errors.AsType[refusedError](err); ok {
		return exitRefused
	}
	return exitFailed
}

func tellText(stderr io.Writer, err error) {
	// There is nowhere left to report a stderr that can't be written.
	_, _ = fmt.Fprintf(stderr, "trustpoolctl: %s\n", printableLines(err.Error()))
	if hint := hintFor(err); hint != "" {
		_, _ = fmt.Fprintf(stderr, "  %s\n", hint)
	}
}

// errorView is what --json prints to stderr.
type errorView struct {
	Error  string `json:"error"`
	Reason string `json:"reason,omitempty"`
	Hint   string `json:"hint,omitempty"`
}

func tellJSON(stderr io.Writer, err error) {
	view := errorView{Error: err.Error(), Hint: hintFor(err)}
	if reason := client.Reason(err); reason != agentv1.ErrorReason_ERROR_REASON_UNSPECIFIED {
		view.Reason = strings.TrimPrefix(reason.String(), "ERROR_REASON_")
	}
	_ = json.NewEncoder(stderr).Encode(view)
}

// hintFor returns what to do about err, empty if its own words say so already, as those of an agent's refusal do.
func hintFor(err error) string {
	if hinted, ok := errors.AsType[hintError](err); ok {
		return hinted.hint
	}
	if _, ok := errors.AsType[daemon.UsageError](err); ok {
		return "See the command's --help."
	}
	if client.Reason(err) != agentv1.ErrorReason_ERROR_REASON_UNSPECIFIED {
		return ""
	}
	return connectionHint(status.Code(err), err.Error())
}

// connectionHint reads what gRPC says when no agent answered; it has no type for it.
func connectionHint(code codes.Code, message string) string {
	switch {
	case code == codes.DeadlineExceeded:
		return "The node did not answer in time. Give it longer with --timeout, or look at its trustpool-agent."
	case code == codes.Unimplemented:
		return "Something answers there, but not a trustpool-agent that knows this call. Check --address and the agent's version."
	case code != codes.Unavailable:
		return ""
	case strings.Contains(message, "failed to verify certificate"):
		return "The node's certificate is not what --ca and --server-name (by default the host in --address) ask for."
	case strings.Contains(message, "remote error: tls:"):
		return "The agent does not know this client certificate. Check --cert and --key, and tls.client_ca in the agent's configuration."
	case strings.Contains(message, "broken pipe"), strings.Contains(message, "connection reset"), strings.Contains(message, "EOF"):
		// In TLS 1.3 the refusal of a client certificate comes after the handshake, and the hang-up may overtake it.
		return "The agent hung up, perhaps since it does not know this client certificate. Check --cert and --key, and tls.client_ca in the agent's configuration."
	case strings.Contains(message, "no such file"), strings.Contains(message, "permission denied"):
		return "Check the path of the socket, and that you may open it."
	case strings.Contains(message, "connection refused"), strings.Contains(message, "no such host"):
		return "Nothing listens there. Check --address, and that trustpool-agent runs on the node."
	}
	return ""
}
