package fleet

import (
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/server/api"
)

func newNode(out *console.Output) *cobra.Command {
	cmd, a := group(out, "node", "Keep the nodes that an attestation server watches",
		`node adds hosts to an attestation server, shows why one is trusted or not, and decides about those whose keys changed.

A node is known by its name and its aliases, each of which belongs to one node. The server enrols it as soon as it reaches its agent, if its endorsement
key is the one that was said of it (--ek-name, or --ek-serial and --ek-issuer), and challenges it from then on.`)
	cmd.AddCommand(newNodeAdd(a), newNodeImport(a), newNodeSet(a), newNodeList(a), newNodeShow(a), newNodeHistory(a), newNodeEvidence(a), newNodeAttest(a))
	cmd.AddCommand(newNodeHold(a), newNodeRelease(a), newNodeReenroll(a), newNodeRemove(a))
	return cmd
}

func newNodeList(a asker) *cobra.Command {
	var (
		filter  api.NodeFilter
		verdict string
	)
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List nodes with their verdicts",
		Example: `  trustpoolctl node list
  trustpoolctl node list --pool gold --verdict untrusted
  trustpoolctl node list --state held --json`,
	}
	flags := cmd.Flags()
	flags.StringVar(&filter.Pool, "pool", "", "only those of this `pool`")
	flags.StringVar(&filter.State, "state", "", "only those in this `state`: pending, active, held or decommissioned (default: all but decommissioned)")
	flags.StringVar(&verdict, "verdict", "", "only those that are trusted, untrusted or unknown")
	a.completeFlag(cmd, "pool", a.completePoolFlag)
	a.completeFlag(cmd, "state", cobra.FixedCompletions([]string{"pending", "active", "held", "decommissioned"}, cobra.ShellCompDirectiveNoFileComp))
	a.completeFlag(cmd, "verdict", cobra.FixedCompletions([]string{"trusted", "untrusted", "unknown"}, cobra.ShellCompDirectiveNoFileComp))
	return a.asks(cmd, cobra.NoArgs, func(ctx context.Context, server *api.Client, _ []string) error {
		if verdict != "" && !slices.Contains([]api.Trust{api.Trusted, api.Untrusted, api.Unknown}, api.Trust(verdict)) {
			return console.Usagef("--verdict: %q is none, write trusted, untrusted or unknown", verdict)
		}
		nodes, err := collect(server.Nodes(ctx, filter))
		if err != nil {
			return err
		}
		if verdict != "" {
			nodes = slices.DeleteFunc(nodes, func(n api.Node) bool { return n.Verdict.Trust != api.Trust(verdict) })
		}
		view := &nodesView{Nodes: nodes}
		return a.out.Print(view, view.text)
	})
}

// nodesView is what list prints.
type nodesView struct {
	Nodes []api.Node `json:"nodes"`
}

func (v *nodesView) text(p *console.Page) {
	now := time.Now()
	rows := make([][]console.Cell, 0, len(v.Nodes))
	for i := range v.Nodes {
		n := &v.Nodes[i]
		row := console.Cells(n.Name, n.Pool, n.State, "", n.Verdict.Reason, age(n.Verdict.ChangedAt, now), age(n.Verdict.QuotedAt, now), n.Address)
		row[3] = trustCell(p, n.Verdict.Trust)
		rows = append(rows, row)
	}
	p.Table([]string{"NAME", "POOL", "STATE", "VERDICT", "REASON", "SINCE", "QUOTED", "ADDRESS"}, rows)
}

// completeFlag has a shell complete a flag's value.
func (a asker) completeFlag(cmd *cobra.Command, flag string, complete cobra.CompletionFunc) {
	cobra.CheckErr(cmd.RegisterFlagCompletionFunc(flag, complete)) // there is such a flag
}
