// Package fleet has the commands of trustpoolctl that ask an attestation server: its nodes and their verdicts, pools, keys, alarms, tokens and logs.
package fleet

import (
	"github.com/spf13/cobra"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/connect"
	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
)

// Commands returns them.
func Commands(out *console.Output) []*cobra.Command {
	return []*cobra.Command{newSummary(out)}
}

// asker is what each of them has: a server to ask, and where the answers go.
type asker struct {
	*connect.Flags
	out *console.Output
}

// newAsker gives the flags of the connection to a command and all below it.
func newAsker(cmd *cobra.Command, out *console.Output) asker {
	flags := connect.New(out)
	flags.Register(cmd)
	return asker{flags, out}
}
