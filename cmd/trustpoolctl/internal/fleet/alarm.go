package fleet

import (
	"context"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/server/api"
)

func newAlarm(out *console.Output) *cobra.Command {
	cmd, a := group(out, "alarm", "Look at what an administrator has to look at",
		`alarm tells of what somebody has to look at: name_taken, a name was claimed that belongs to another node; key_changed, a key signed for a node that is not enrolled
for it; key_shared, a node has the EK of another one. An alarm is open until somebody acknowledges it.`)
	cmd.AddCommand(newAlarmList(a), newAlarmAck(a))
	return cmd
}

func newAlarmList(a asker) *cobra.Command {
	var all bool
	cmd := &cobra.Command{Use: "list", Short: "List alarms, the oldest first", Example: "  trustpoolctl alarm list\n  trustpoolctl alarm list --all"}
	cmd.Flags().BoolVar(&all, "all", false, "also those that somebody acknowledged")
	return a.asks(cmd, cobra.NoArgs, func(ctx context.Context, server *api.Client, _ []string) error {
		alarms, err := collect(server.Alarms(ctx, !all))
		if err != nil {
			return err
		}
		return a.out.Print(api.Alarms{Alarms: alarms}, func(p *console.Page) {
			rows := make([][]console.Cell, 0, len(alarms))
			for i := range alarms {
				alarm := &alarms[i]
				rows = append(rows, console.Cells(strconv.FormatInt(alarm.ID, 10), alarm.At.UTC().Format(time.RFC3339), alarm.Kind, alarm.Node, alarm.AcknowledgedBy, alarm.Detail))
			}
			p.Table([]string{"ID", "AT", "KIND", "NODE", "ACKNOWLEDGED BY", "DETAIL"}, rows)
		})
	})
}

func newAlarmAck(a asker) *cobra.Command {
	cmd := &cobra.Command{
		Use: "ack ID...", Short: "Acknowledge alarms", Long: "ack notes that somebody has looked at an alarm.\n\nIt takes the role operator.",
		Example: `  trustpoolctl alarm ack 17`, ValidArgsFunction: cobra.NoFileCompletions,
	}
	return a.asks(cmd, cobra.MinimumNArgs(1), func(ctx context.Context, server *api.Client, args []string) error {
		var ids []int64
		for _, text := range args {
			id, err := strconv.ParseInt(text, 10, 64)
			if err != nil || id < 1 {
				return console.Usagef("%q is no alarm, write the number that trustpoolctl alarm list tells", text)
			}
			ids = append(ids, id)
		}
		for i, id := range ids {
			if err := server.AcknowledgeAlarm(ctx, id); err != nil {
				return err
			}
			if err := a.done(deed{"acknowledge", args[i]}, "Acknowledged %d.", id); err != nil {
				return err
			}
		}
		return nil
	})
}
