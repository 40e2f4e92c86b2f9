package fleet

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/server/api"
)

func newAK(out *console.Output) *cobra.Command {
	cmd, a := group(out, "ak", "Refuse attestation keys",
		`ak keeps the list of attestation keys that are trusted no more, whoever enrolled them. A key is named by its TPM Name in hexadecimal digits, which node show tells. To
rotate a key does not destroy it in its TPM: what shall not count any more has to be refused here.`)
	cmd.AddCommand(newAKRefuse(a), newAKAllow(a), newAKList(a))
	return cmd
}

func newAKRefuse(a asker) *cobra.Command {
	var note string
	cmd := &cobra.Command{
		Use: "refuse NAME", Short: "Refuse an attestation key", Long: "refuse ends at once what was trusted by this key.\n\nIt takes the role operator.",
		Example: `  trustpoolctl ak refuse 000b4d1f... --note "rotated on 2026-11-23"`, ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().StringVar(&note, "note", "", "why, in `words`")
	return a.asks(cmd, cobra.ExactArgs(1), func(ctx context.Context, server *api.Client, args []string) error {
		if err := server.RefuseAK(ctx, args[0], note); err != nil {
			return err
		}
		return a.done(deed{"refuse", args[0]}, "Refused: nothing that %s signs is trusted.", console.Printable(args[0]))
	})
}

func newAKAllow(a asker) *cobra.Command {
	cmd := &cobra.Command{
		Use: "allow NAME", Short: "Take an attestation key off the list", Long: "allow has a key count again where it is enrolled.\n\nIt takes the role admin.",
		Example: `  trustpoolctl ak allow 000b4d1f...`, ValidArgsFunction: a.completeAKs,
	}
	return a.asks(cmd, cobra.ExactArgs(1), func(ctx context.Context, server *api.Client, args []string) error {
		if err := server.AllowAK(ctx, args[0]); err != nil {
			return err
		}
		return a.done(deed{"allow", args[0]}, "Allowed: %s counts where it is enrolled.", console.Printable(args[0]))
	})
}

func newAKList(a asker) *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List the attestation keys that are refused", Example: `  trustpoolctl ak list`}
	return a.asks(cmd, cobra.NoArgs, func(ctx context.Context, server *api.Client, _ []string) error {
		refused, err := server.RefusedAKs(ctx)
		if err != nil {
			return err
		}
		return a.out.Print(api.RefusedAKs{RefusedAKs: refused}, func(p *console.Page) {
			rows := make([][]console.Cell, 0, len(refused))
			for _, ak := range refused {
				rows = append(rows, console.Cells(ak.Name, ak.At.UTC().Format(time.RFC3339), ak.By, ak.Note))
			}
			p.Table([]string{"NAME", "REFUSED", "BY", "NOTE"}, rows)
		})
	})
}

func (a asker) completeAKs(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.complete(cmd, word, func(ctx context.Context, server *api.Client, yield func(string, error) bool) {
		refused, err := server.RefusedAKs(ctx)
		for i := 0; err == nil && i < len(refused); i++ {
			if !yield(refused[i].Name, nil) {
				return
			}
		}
	})
}
