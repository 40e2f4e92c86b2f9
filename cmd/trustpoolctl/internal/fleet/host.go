package fleet

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/connect"
	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/server/api"
)

func newHost(out *console.Output) *cobra.Command {
	cmd, a := group(out, "host", "Ask an attestation server whether hosts are trusted",
		"host asks for verdicts, by any name that a host has: its own or an alias. The answer is what the server judged last; it asks no node for it.")
	cmd.AddCommand(newHostStatus(a), newHostJWT(a))
	return cmd
}

func newHostStatus(a asker) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status NAME...",
		Short: "Is this host trusted?",
		Long: `status tells of each name whether the host is trusted now, and why not. A name that no node has is unknown, and so is a host whose last verdict has expired.

` + exitExplanations + `

` + connect.Explanations,
		Example: `  trustpoolctl host status node1.example
  trustpoolctl host status --json node1 node2 node3
  if trustpoolctl host status node1 >/dev/null; then echo trusted; fi`,
		ValidArgsFunction: a.completeNodes,
	}
	return a.asks(cmd, cobra.MinimumNArgs(1), func(ctx context.Context, server *api.Client, names []string) error {
		hosts, err := server.QueryHosts(ctx, names)
		if err != nil {
			return err
		}
		view := &hostsView{Hosts: hosts}
		if err := a.out.Print(view, view.text); err != nil {
			return err
		}
		return console.ExitError{Code: view.exit()}
	})
}

// hostsView is what status prints.
type hostsView struct {
	Hosts []api.Host `json:"hosts"`
}

// exit is the code of the worst.
func (v *hostsView) exit() int {
	worst := console.ExitOK
	for i := range v.Hosts {
		worst = max(worst, verdictExit(v.Hosts[i].Trust))
	}
	return worst
}

func (v *hostsView) text(p *console.Page) {
	if len(v.Hosts) == 1 {
		h := &v.Hosts[0]
		p.Line("%s %s: %s", shout(p, h.Trust), console.Printable(h.Host), console.Printable(h.Reason))
		whyText(p, &h.Verdict)
		return
	}
	now := time.Now()
	rows := make([][]console.Cell, 0, len(v.Hosts))
	for i := range v.Hosts {
		h := &v.Hosts[i]
		row := console.Cells(h.Host, "", h.Reason, age(h.QuotedAt, now), h.Detail)
		row[1] = trustCell(p, h.Trust)
		rows = append(rows, row)
	}
	p.Table([]string{"HOST", "VERDICT", "REASON", "QUOTED", "DETAIL"}, rows)
}

// whyText says why a verdict is as it is, and what may be done about it.
func whyText(p *console.Page, v *api.Verdict) {
	if v.Detail != "" {
		p.Line("  %s", console.Printable(v.Detail))
	}
	if hint := advice(v.Reason); hint != "" {
		p.Line("  %s", hint)
	}
}
