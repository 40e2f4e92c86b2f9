// Package sets has the commands of trustpoolctl for known-good sets: those that work on files alone, and those that ask an attestation server.
package sets

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/connect"
	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/server/api"
)

// New returns the command knowngood, with all of them below it.
func New(out *console.Output) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "knowngood",
		Short: "Keep known-good sets: compute them before a boot, learn, compare, try, approve, retire them",
		Long: `knowngood keeps what nodes are judged by. A set says what the PCRs of one part of the launch may hold: platform, hypervisor, or host_specific. It begins as a draft,
decides once it is approved, and ends when it is retired.

precompute works on files, and compare does if it is given files. The others ask an attestation server.

` + connect.Explanations,
		Args: console.SubcommandOnly, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SuggestionsMinimumDistance: 2,
	}
	cmd.AddCommand(
		newPrecompute(out), newCompare(out), newCapture(out), newImport(out), newExport(out), newDryRun(out),
		newList(out), newShow(out), newApprove(out), newRetire(out),
	)
	return cmd
}

// asker asks a server, and says where the answers go.
type asker struct {
	*connect.Flags
	out *console.Output
}

// asks gives a command the flags of the connection, and has it ask. A wrong number of arguments is a usage error.
func asks(out *console.Output, cmd *cobra.Command, args cobra.PositionalArgs, ask func(context.Context, asker, *api.Client, []string) error) *cobra.Command {
	a := asker{connect.New(out), out}
	a.Register(cmd)
	cmd.Args = console.Args(args)
	cmd.RunE = func(cmd *cobra.Command, words []string) error {
		return a.Do(cmd.Context(), func(ctx context.Context, server *api.Client) error { return ask(ctx, a, server, words) })
	}
	return cmd
}
