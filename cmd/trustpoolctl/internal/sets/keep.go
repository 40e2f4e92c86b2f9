package sets

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/verifier"
)

func newList(out *console.Output) *cobra.Command {
	var filter api.SetFilter
	cmd := &cobra.Command{Use: "list", Short: "List sets", Example: "  trustpoolctl knowngood list --state draft"}
	cmd.Flags().StringVar(&filter.State, "state", "", "only those in this `state`: draft, active or retired")
	cmd.Flags().StringVar(&filter.Pool, "pool", "", "only those that count in this `pool`")
	return asks(out, cmd, cobra.NoArgs, func(ctx context.Context, a asker, server *api.Client, _ []string) error {
		all := api.Sets{Sets: []api.Set{}}
		for set, err := range server.Sets(ctx, filter) {
			if err != nil {
				return err
			}
			all.Sets = append(all.Sets, set)
		}
		return a.out.Print(all, func(p *console.Page) {
			rows := make([][]console.Cell, 0, len(all.Sets))
			for i := range all.Sets {
				s := &all.Sets[i]
				rows = append(rows, console.Cells(s.Name, s.State, s.Part, strings.Join(s.Pools, " "), s.Source))
			}
			p.Table([]string{"NAME", "STATE", "PART", "POOLS", "SOURCE"}, rows)
		})
	})
}

func newShow(out *console.Output) *cobra.Command {
	cmd := &cobra.Command{Use: "show NAME", Short: "Show a set with its values", Example: "  trustpoolctl knowngood show xen-4.17-hypervisor"}
	return asks(out, cmd, cobra.ExactArgs(1), func(ctx context.Context, a asker, server *api.Client, args []string) error {
		set, err := server.Set(ctx, args[0])
		if err != nil {
			return err
		}
		known, err := verifier.ParseKnownGood(set.KnownGood)
		if err != nil {
			return err
		}
		return a.out.Print(set, func(p *console.Page) {
			setText(p, &set)
			for i := range known.PCRs {
				pcrText(p, &known.PCRs[i])
			}
		})
	})
}

// setText tells of a set without its values.
func setText(p *console.Page, s *api.Set) {
	p.Line("%s", p.Head(console.Printable(s.Name)))
	state := console.Printable(s.State)
	switch s.State {
	case api.SetDraft:
		state += ": it decides nothing before it is approved"
	case api.SetRetired:
		state += ", by " + console.Printable(s.RetiredBy) + ", " + s.RetiredAt.Format(time.RFC3339)
	default:
		state += ", approved by " + console.Printable(s.ApprovedBy) + ", " + s.ApprovedAt.Format(time.RFC3339)
	}
	p.Field("state", "%s", state)
	p.Field("part", "%s", console.Printable(cmp.Or(s.Part+strings.TrimSuffix(" of "+s.Node, " of "), "-")))
	p.Field("pools", "%s", console.Printable(cmp.Or(strings.Join(s.Pools, ", "), "none: it counts nowhere")))
	p.Field("source", "%s", console.Printable(cmp.Or(s.Source, "-")))
	if s.Description != "" {
		p.Field("description", "%s", console.Printable(s.Description))
	}
	for _, bound := range []struct {
		name string
		at   time.Time
	}{{"valid from", s.ValidFrom}, {"valid until", s.ValidUntil}} {
		if !bound.at.IsZero() {
			p.Field(bound.name, "%s", bound.at.Format(time.RFC3339))
		}
	}
	p.Field("written", "by %s, %s, revision %d", console.Printable(s.Author), s.CreatedAt.Format(time.RFC3339), s.Revision)
}

func pcrText(p *console.Page, known *verifier.KnownPCR) {
	p.Line("  %s PCR %d", known.Bank, known.PCR)
	for _, value := range known.Values {
		p.Line("    %s", value)
	}
	for i, slot := range known.Events {
		name := cmp.Or(slot.Description, slot.Type.String())
		for _, digest := range slot.Digests {
			p.Line("    %2d  %s  %s", i+1, digest, console.Printable(name))
		}
	}
}

func newApprove(out *console.Output) *cobra.Command {
	var revision int64
	cmd := &cobra.Command{
		Use: "approve NAME", Short: "Put a draft in force",
		Long: `approve has a draft decide from now on; the nodes of its pools are asked at once. Look at it first (show), and at whom it would condemn or pardon (dry-run).

It takes the role admin. --revision makes sure that what is approved is what you saw: show tells it.`,
		Example: "  trustpoolctl knowngood approve xen-4.17-hypervisor --revision 1",
	}
	cmd.Flags().Int64Var(&revision, "revision", 0, "the `revision` that you saw (default: whichever there is)")
	return asks(out, cmd, cobra.ExactArgs(1), func(ctx context.Context, a asker, server *api.Client, args []string) error {
		return a.move(ctx, server, args[0], revision, server.ApproveSet)
	})
}

func newRetire(out *console.Output) *cobra.Command {
	var (
		revision int64
		force    bool
	)
	cmd := &cobra.Command{
		Use: "retire NAME", Short: "End a set for good",
		Long: `retire ends a set for good. Verdicts that rest on it are unknown from this moment on, and the nodes of its pools are asked at once.

If a dry run says that nodes would be condemned, it does not happen without --force.

It takes the role admin.

Exit codes:
  0  retired
  1  failed
  2  wrong usage
  4  nodes would be condemned: nothing was changed`,
		Example: "  trustpoolctl knowngood retire xen-4.16-hypervisor",
	}
	cmd.Flags().Int64Var(&revision, "revision", 0, "the `revision` that you saw (default: whichever there is)")
	cmd.Flags().BoolVar(&force, "force", false, "retire it even if nodes are condemned by that")
	return asks(out, cmd, cobra.ExactArgs(1), func(ctx context.Context, a asker, server *api.Client, args []string) error {
		set, err := server.Set(ctx, args[0])
		if err != nil {
			return err
		}
		if set.State == api.SetActive && len(set.Pools) > 0 && !force {
			effect, err := server.DryRun(ctx, api.DryRun{Retire: args})
			if err != nil {
				return err
			}
			if effect.Condemned+effect.Undecided > 0 {
				a.out.Warn("nothing was changed: say --force to retire it all the same")
				return a.tell(&effect)
			}
		}
		return a.move(ctx, server, args[0], cmp.Or(revision, set.Revision), server.RetireSet)
	})
}

// move takes a set to its next state.
func (a asker) move(ctx context.Context, server *api.Client, name string, revision int64, to func(context.Context, string, int64) (api.Set, error)) error {
	if revision == 0 {
		set, err := server.Set(ctx, name)
		if err != nil {
			return err
		}
		revision = set.Revision
	}
	set, err := to(ctx, name, revision)
	if err != nil {
		return err
	}
	set.KnownGood = nil
	return a.out.Print(set, func(p *console.Page) { setText(p, &set) })
}
