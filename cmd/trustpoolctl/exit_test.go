package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/verifier"
)

func TestExitCodes(t *testing.T) {
	t.Parallel()

	for name, test := range map[string]struct {
		err    error
		want   int
		silent bool
	}{
		"no error":                {nil, 0, true},
		"trusted":                 {console.ExitError{Code: verdictExit(verifier.Trusted)}, 0, true},
		"could not judge":         {console.ExitError{Code: verdictExit(verifier.CouldNotJudge)}, 1, true},
		"freshness not checked":   {console.ExitError{Code: verdictExit(verifier.FreshnessNotChecked)}, 3, true},
		"refused":                 {console.ExitError{Code: verdictExit(verifier.Refused)}, 4, true},
		"the zero verdict":        {console.ExitError{Code: verdictExit(0)}, 4, true},
		"a verdict of the future": {console.ExitError{Code: verdictExit(verifier.Trusted + 1)}, 4, true},
		"an error":                {errors.New("disk full"), 1, false},
		"wrong usage":             {fmt.Errorf("wrapped: %w", console.Usagef("no such flag")), 2, false},
		"wrong usage with a hint": {console.WithHint(console.Usagef("no such flag"), "write another"), 2, false},
		"interrupted":             {errInterrupted, 130, false},
		"nothing to learn":        {refusedError{errors.New("no launch")}, 4, false},
	} {
		for _, asJSON := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/json=%t", name, asJSON), func(t *testing.T) {
				t.Parallel()

				var stderr strings.Builder
				if got := report(&stderr, asJSON, test.err); got != test.want {
					t.Errorf("exit code %d, want %d", got, test.want)
				}
				if (stderr.Len() == 0) != test.silent {
					t.Errorf("stderr: %q", stderr.String())
				}
			})
		}
	}
}

func TestACommandThatIsInterruptedSaysSoAndNothingElse(t *testing.T) {
	t.Parallel()

	ctx, interrupt := context.WithCancel(t.Context())
	interrupt()

	var stdout, stderr strings.Builder
	code := run(ctx, []string{"quote", "--address", "unix:///nowhere", "--raw"}, &stdout, &stderr)
	if code != 130 || stderr.String() != "trustpoolctl: interrupted\n" || stdout.Len() > 0 {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout.String(), stderr.String())
	}
	// What was done before it was noticed stays done.
	if code := run(ctx, []string{"--version"}, &stdout, &stderr); code != 0 {
		t.Errorf("exit code %d of what needs no time", code)
	}
}
