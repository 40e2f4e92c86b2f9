package fleet

import (
	"context"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/server/api"
)

func newNodeHistory(a asker) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use:   "history NAME",
		Short: "List the changes of a node's verdict, the newest first",
		Long:  `history tells how a node's verdict became what it is: each change, why, whether the node had booted anew, and the number of the evidence.`,
		Example: `  trustpoolctl node history node1.example
  trustpoolctl node history node1.example --limit 1 --json`,
		ValidArgsFunction: a.completeNode,
	}
	cmd.Flags().IntVar(&limit, "limit", 50, "how many at most; 0: all")
	return a.asks(cmd, cobra.ExactArgs(1), func(ctx context.Context, server *api.Client, args []string) error {
		if limit < 0 {
			return console.Usagef("--limit has to be 0 or more")
		}
		view := &historyView{Changes: []api.Change{}}
		for change, err := range server.History(ctx, args[0]) {
			if err != nil {
				return err
			}
			view.Changes = append(view.Changes, change)
			if len(view.Changes) == limit {
				break
			}
		}
		return a.out.Print(view, view.text)
	})
}

// historyView is what history prints.
type historyView struct {
	Changes []api.Change `json:"changes"`
}

func (v *historyView) text(p *console.Page) {
	rows := make([][]console.Cell, 0, len(v.Changes))
	for i := range v.Changes {
		rows = append(rows, changeRow(p, &v.Changes[i])[1:])
	}
	p.Table(changeHead()[1:], rows)
}

func changeHead() []string {
	return []string{"NODE", "AT", "VERDICT", "REASON", "BOOT", "EVIDENCE", "DETAIL"}
}

func changeRow(p *console.Page, c *api.Change) []console.Cell {
	boot, evidence := "", ""
	if c.Boot != nil {
		boot = strconv.FormatUint(uint64(c.Boot.ResetCount), 10) + "." + strconv.FormatUint(uint64(c.Boot.RestartCount), 10)
	}
	if c.Rebooted {
		boot += " rebooted"
	}
	if c.EvidenceID != 0 {
		evidence = strconv.FormatInt(c.EvidenceID, 10)
	}
	row := console.Cells(c.Node, c.ChangedAt.UTC().Format(time.RFC3339), "", c.Reason, boot, evidence, c.Detail)
	row[2] = trustCell(p, c.Trust)
	return row
}
