package fleet

import (
	"context"
	"maps"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/connect"
	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/server/api"
)

func newSummary(out *console.Output) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "summary",
		Short: "Count an attestation server's nodes by verdict, and tell who you are to it",
		Long: `summary counts the nodes of each pool by their verdict now, and the alarms that nobody acknowledged. It also tells for whom the server takes you, and
which role you have there: a first question to a server that shows whether the connection is set up.

` + connect.Explanations,
		Example: `  trustpoolctl summary --server https://attest.example:8443 --token-file ~/.config/trustpool/token`,
		Args:    console.Args(cobra.NoArgs),
	}
	a := newAsker(cmd, out)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return a.Do(cmd.Context(), func(ctx context.Context, server *api.Client) error {
			caller, err := server.Caller(ctx)
			if err != nil {
				return err
			}
			summary, err := server.Summary(ctx)
			if err != nil {
				return err
			}
			view := &summaryView{Summary: summary, Caller: caller}
			return out.Print(view, view.text)
		})
	}
	return cmd
}

// summaryView is what summary prints.
type summaryView struct {
	api.Summary
	Caller api.Caller `json:"caller"`
}

func (v *summaryView) text(p *console.Page) {
	var rows [][]console.Cell
	for _, pool := range slices.Sorted(maps.Keys(v.Pools)) {
		rows = append(rows, countRow(p, pool, v.Pools[pool]))
	}
	p.Table([]string{"POOL", "TRUSTED", "UNTRUSTED", "UNKNOWN"}, append(rows, countRow(p, "all", v.Total)))
	p.Line("")
	if v.OpenAlarms > 0 {
		p.Line("%s", p.Bad("Alarms that nobody acknowledged: "+strconv.Itoa(v.OpenAlarms)+", see trustpoolctl alarm list"))
	}
	p.Line("You are %s there, with the role %s.", console.Printable(v.Caller.Name), console.Printable(v.Caller.Role))
}

func countRow(p *console.Page, name string, n api.Count) []console.Cell {
	row := console.Cells(name, strconv.Itoa(n.Trusted), strconv.Itoa(n.Untrusted), strconv.Itoa(n.Unknown))
	if n.Untrusted > 0 {
		row[2].Paint = p.Bad
	}
	return row
}
