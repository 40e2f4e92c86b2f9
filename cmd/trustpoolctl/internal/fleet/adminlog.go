package fleet

import (
	"context"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/connect"
	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/server/api"
)

func newAdminLog(out *console.Output) *cobra.Command {
	var (
		after int64
		check bool
	)
	cmd := &cobra.Command{
		Use:   "admin-log",
		Short: "Show what administrators did, or check that the log is whole",
		Long: `admin-log lists what administrators did to the server's nodes, pools, known-good sets, keys and tokens. Each entry is bound to the one before by a hash: --check has the
server follow the chain, and ends with exit code 4 if it is broken. That the end was cut off shows only to whoever has noted a later number and hash: keep
what --check prints somewhere else. Of long details the table shows the beginning, --json the whole.

It takes the role admin.

` + connect.Explanations,
		Example: `  trustpoolctl admin-log
  trustpoolctl admin-log --after 100 --json
  trustpoolctl admin-log --check`,
	}
	a := newAsker(cmd, out)
	cmd.Flags().Int64Var(&after, "after", 0, "only entries after the one of this `number`")
	cmd.Flags().BoolVar(&check, "check", false, "check that no entry was altered or removed")
	return a.asks(cmd, cobra.NoArgs, func(ctx context.Context, server *api.Client, _ []string) error {
		if check {
			return a.checkAdminLog(ctx, server)
		}
		if after < 0 {
			return console.Usagef("--after has to be 0 or more")
		}
		entries, err := collect(server.AdminLog(ctx, after))
		if err != nil {
			return err
		}
		return out.Print(api.AdminLog{Entries: entries}, func(p *console.Page) { adminLogText(p, entries) })
	})
}

func adminLogText(p *console.Page, entries []api.AdminEntry) {
	rows := make([][]console.Cell, 0, len(entries))
	for i := range entries {
		e := &entries[i]
		rows = append(rows, console.Cells(strconv.FormatInt(e.Seq, 10), e.At.UTC().Format(time.RFC3339), e.By, e.Action, e.Subject, short(string(e.Detail))))
	}
	p.Table([]string{"NUMBER", "AT", "BY", "ACTION", "SUBJECT", "DETAIL"}, rows)
}

// short cuts what would break a table; --json has the whole.
func short(text string) string {
	const most = 100
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most]) + "..."
	}
	return text
}

func (a asker) checkAdminLog(ctx context.Context, server *api.Client) error {
	result, err := server.CheckAdminLog(ctx)
	if err != nil {
		return err
	}
	text := func(p *console.Page) {
		if result.Intact {
			p.Line("%s: each of its %d entries is bound to the one before.", p.Good("INTACT"), result.Last)
		} else {
			p.Line("%s after entry %d: %s", p.Bad("BROKEN"), result.Last, console.Printable(result.Problem))
		}
		p.Field("last", "%d", result.Last)
		field(p, "hash", result.Hash)
	}
	if !result.Intact {
		return a.out.Refuse(result, text)
	}
	return a.out.Print(result, text)
}
