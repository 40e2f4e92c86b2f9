package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/connect"
	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/server/api"
)

func newWatch(out *console.Output) *cobra.Command {
	w := &watcher{out: out}
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Tell of each change of a verdict as it happens",
		Long: `watch prints a line for each change of a verdict, until it is interrupted. Where the connection breaks it opens another, which goes on where the last one ended, so that
no change is missed. It has no end by itself, unless --limit or --timeout is given. With --json each line is one JSON object, as history has them.

` + connect.Explanations,
		Example: `  trustpoolctl watch
  trustpoolctl watch --pool gold --verdict untrusted
  trustpoolctl watch --since 0 --json | jq -r .node`,
	}
	a := newAsker(cmd, out)
	flags := cmd.Flags()
	flags.StringVar(&w.pool, "pool", "", "only nodes of this `pool`")
	flags.StringVar(&w.node, "node", "", "only the node of this `name`")
	flags.StringVar(&w.verdict, "verdict", "", "only changes to trusted, untrusted or unknown")
	flags.Int64Var(&w.since, "since", api.FromNow, "begin after this `generation`, which summary and node show tell; -1: from now on")
	flags.IntVar(&w.limit, "limit", 0, "end after so many changes; 0: never")
	a.completeFlag(cmd, "pool", a.completePoolFlag)
	a.completeFlag(cmd, "node", a.completeNodes)
	a.completeFlag(cmd, "verdict", cobra.FixedCompletions([]string{"trusted", "untrusted", "unknown"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.Args = console.Args(cobra.NoArgs)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if flags.Changed("timeout") {
			err := a.Do(cmd.Context(), w.watch)
			if errors.Is(err, context.DeadlineExceeded) {
				return errors.New("--timeout is over")
			}
			return err
		}
		return a.Stay(cmd.Context(), w.watch)
	}
	return cmd
}

// watcher prints changes.
type watcher struct {
	out                 *console.Output
	pool, node, verdict string
	since               int64
	limit               int
}

// watch ends with an error, unless there is a limit.
func (w *watcher) watch(ctx context.Context, server *api.Client) error {
	last, begun, told := error(nil), false, 0
	for event, err := range server.Follow(ctx, w.since) {
		if err != nil && !begun {
			return err // there never was a connection that could have been lost
		}
		if err != nil {
			last = err
			if api.StatusOf(err)/100 != 4 && ctx.Err() == nil {
				w.out.Warn("%s; going on", console.PrintableLines(err.Error()))
			}
			continue
		}
		begun = true
		if event.Kind != api.EventVerdict || !w.wants(&event.Change) {
			continue
		}
		if err := w.tell(&event.Change); err != nil {
			return err
		}
		if told++; told == w.limit {
			return nil
		}
	}
	return last
}

func (w *watcher) wants(c *api.Change) bool {
	return (w.pool == "" || c.Pool == w.pool) && (w.node == "" || strings.EqualFold(c.Node, w.node)) && (w.verdict == "" || c.Trust == api.Trust(w.verdict))
}

// tell prints one line, at once.
func (w *watcher) tell(c *api.Change) error {
	p := &console.Page{Colour: w.out.Colour}
	if w.out.JSON {
		text, err := console.JSON(c, "")
		if err != nil {
			return fmt.Errorf("printing: %w", err)
		}
		p.WriteString(text)
	} else {
		rebooted := ""
		if c.Rebooted {
			rebooted = " (rebooted)"
		}
		p.Line("%s %s %s%s %s %s", c.ChangedAt.UTC().Format(time.RFC3339), console.Printable(c.Node), shout(p, c.Trust), rebooted,
			console.Printable(c.Reason), console.Printable(c.Detail))
	}
	if _, err := io.WriteString(w.out.Stdout, strings.TrimRight(p.String(), " \n")+"\n"); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	return nil
}
