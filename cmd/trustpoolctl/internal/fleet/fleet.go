// Package fleet has the commands of trustpoolctl that ask an attestation server: its nodes and their verdicts, pools, keys, alarms, tokens and logs.
package fleet

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/connect"
	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/server/api"
)

// Commands returns them.
func Commands(out *console.Output) []*cobra.Command {
	return []*cobra.Command{newSummary(out), newNode(out), newHost(out), newWatch(out), newPool(out), newAK(out), newAlarm(out), newToken(out), newAdminLog(out)}
}

// asker is what each of them has: a server to ask, and where the answers go.
type asker struct {
	*connect.Flags
	out *console.Output
}

// group makes a command that only has others below it, all with the flags of the connection.
func group(out *console.Output, use, short, long string) (*cobra.Command, asker) {
	cmd := &cobra.Command{
		Use: use, Short: short, Long: long + "\n\n" + connect.Explanations,
		Args: console.SubcommandOnly, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SuggestionsMinimumDistance: 2,
	}
	return cmd, newAsker(cmd, out)
}

// newAsker gives the flags of the connection to a command and all below it.
func newAsker(cmd *cobra.Command, out *console.Output) asker {
	flags := connect.New(out)
	flags.Register(cmd)
	return asker{flags, out}
}

// asks has a command ask the server. A wrong number of arguments is a usage error.
func (a asker) asks(cmd *cobra.Command, args cobra.PositionalArgs, ask func(context.Context, *api.Client, []string) error) *cobra.Command {
	cmd.Args = console.Args(args)
	cmd.RunE = func(cmd *cobra.Command, words []string) error {
		return a.Do(cmd.Context(), func(ctx context.Context, server *api.Client) error { return ask(ctx, server, words) })
	}
	return cmd
}

// done tells of what was done: a person by a line, a program by an object.
func (a asker) done(view any, format string, args ...any) error {
	return a.out.Print(view, func(p *console.Page) { p.Line(format, args...) })
}

// deed is what --json prints of a change that has no answer of its own.
type deed struct {
	Action  string `json:"action"`
	Subject string `json:"subject"`
}

// collect reads a list to its end.
func collect[T any](list func(func(T, error) bool)) ([]T, error) {
	all := []T{}
	for item, err := range list {
		if err != nil {
			return nil, err
		}
		all = append(all, item)
	}
	return all, nil
}

// stamp is a moment with how long ago it was, or how soon it will be; a dash if there was none.
func stamp(t, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	words := age(t, now) + " ago"
	if t.After(now) {
		words = "in " + age(t, now)
	}
	return t.UTC().Format(time.RFC3339) + " (" + words + ")"
}

// age is the time between two moments, in its largest unit.
func age(t, now time.Time) string {
	if t.IsZero() {
		return ""
	}
	d := now.Sub(t).Abs()
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	default:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	}
}
