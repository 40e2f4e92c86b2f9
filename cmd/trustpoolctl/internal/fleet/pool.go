package fleet

import (
	"context"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/server/api"
)

func newPool(out *console.Output) *cobra.Command {
	cmd, a := group(out, "pool", "Keep the pools of an attestation server",
		`pool says what nodes have to meet to be trusted together: parts of the launch that have to be known good, and how well their keys have to be bound to hardware.
A pool that requires no part trusts nobody.`)
	cmd.AddCommand(newPoolList(a), newPoolShow(a), newPoolPut(a), newPoolDelete(a))
	return cmd
}

func newPoolList(a asker) *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List pools", Example: `  trustpoolctl pool list`}
	return a.asks(cmd, cobra.NoArgs, func(ctx context.Context, server *api.Client, _ []string) error {
		pools, err := server.Pools(ctx)
		if err != nil {
			return err
		}
		return a.out.Print(api.Pools{Pools: pools}, func(p *console.Page) {
			rows := make([][]console.Cell, 0, len(pools))
			for i := range pools {
				rows = append(rows, console.Cells(pools[i].Name, requireWords(pools[i].Requires), strings.Join(bindings(&pools[i].PoolSpec), " "), pools[i].Description))
			}
			p.Table([]string{"NAME", "REQUIRES", "BINDINGS", "DESCRIPTION"}, rows)
		})
	})
}

func newPoolShow(a asker) *cobra.Command {
	cmd := &cobra.Command{Use: "show NAME", Short: "Show a pool", Example: `  trustpoolctl pool show gold`, ValidArgsFunction: a.completePools}
	return a.asks(cmd, cobra.ExactArgs(1), func(ctx context.Context, server *api.Client, args []string) error {
		pool, err := server.Pool(ctx, args[0])
		if err != nil {
			return err
		}
		return a.out.Print(pool, func(p *console.Page) { poolText(p, &pool) })
	})
}

func poolText(p *console.Page, pool *api.Pool) {
	p.Line("%s", p.Head(console.Printable(pool.Name)))
	field(p, "description", pool.Description)
	if len(pool.Requires) == 0 {
		p.Field("requires", "%s", p.Warn("nothing, and so it trusts nobody"))
	}
	for _, r := range pool.Requires {
		p.Field("requires", "%s: %s", console.Printable(r.Part), matchWords(r.Match))
	}
	p.Field("bindings", "%s", console.Printable(strings.Join(bindings(&pool.PoolSpec), ", ")))
	if pool.AllowSimulatedNodes {
		p.Field("simulated", "%s", p.Warn("nodes that say that their TPM is simulated are taken"))
	}
	p.Field("revision", "%d", pool.Revision)
}

// matchWords says how many sets have to hold.
func matchWords(match string) string {
	switch match {
	case "any_of":
		return "one of its sets that are in force has to hold"
	case "all_of":
		return "all of its sets that are in force have to hold"
	default:
		return console.Printable(match)
	}
}

// bindings are the levels that a pool takes; none means those that prove something about hardware.
func bindings(pool *api.PoolSpec) []string {
	if len(pool.Bindings) == 0 {
		return []string{"inventory", "chain"}
	}
	return pool.Bindings
}

func requireWords(requires []api.Requirement) string {
	words := make([]string, 0, len(requires))
	for _, r := range requires {
		words = append(words, r.Part+"="+r.Match)
	}
	return strings.Join(words, " ")
}

func newPoolPut(a asker) *cobra.Command {
	var (
		spec     api.PoolSpec
		requires []string
	)
	cmd := &cobra.Command{
		Use:   "put NAME --require PART=MATCH",
		Short: "Make a pool, or replace what it demands",
		Long: `put makes a pool. If there is one of this name, it is replaced as a whole: what the flags do not say is not demanded. Its nodes are unknown until the next quote, which
is due at once.

PART is platform (firmware, SINIT, launch control policy), hypervisor (what is launched) or host_specific (what differs from host to host). MATCH is any_of, if
one of the part's sets in force has to hold, or all_of.

It takes the role admin.`,
		Example: `  trustpoolctl pool put gold --require platform=any_of --require hypervisor=any_of
  trustpoolctl pool put lab --require hypervisor=any_of --binding first_use --allow-simulated-nodes`,
		ValidArgsFunction: a.completePools,
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&requires, "require", nil, "a part that has to be known good, `PART=MATCH`; repeat it for each")
	flags.StringSliceVar(&spec.Bindings, "binding", nil, "a `level` of enrolment that is taken: inventory, chain, first_use; repeat it for each (default inventory,chain)")
	flags.BoolVar(&spec.AllowSimulatedNodes, "allow-simulated-nodes", false, "WEAKER: take nodes that say that their TPM is simulated, for trying things out")
	flags.StringVar(&spec.Description, "description", "", "what it is for, in `words`")
	return a.asks(cmd, cobra.ExactArgs(1), func(ctx context.Context, server *api.Client, args []string) error {
		var err error
		if spec.Requires, err = parseRequires(requires); err != nil {
			return err
		}
		there, err := server.Pool(ctx, args[0])
		if err != nil && !api.IsNotFound(err) {
			return err
		}
		pool, err := server.PutPool(ctx, args[0], spec, there.Revision) // 0 if there is none
		if err != nil {
			return err
		}
		return a.out.Print(pool, func(p *console.Page) { poolText(p, &pool) })
	})
}

// parseRequires reads PART=MATCH. The server knows which there are.
func parseRequires(words []string) ([]api.Requirement, error) {
	requires := []api.Requirement{}
	for _, word := range words {
		part, match, found := strings.Cut(word, "=")
		if !found || part == "" || match == "" {
			return nil, console.Usagef("--require: %s is no PART=MATCH, write platform=any_of", strconv.Quote(word))
		}
		requires = append(requires, api.Requirement{Part: part, Match: match})
	}
	return requires, nil
}

func newPoolDelete(a asker) *cobra.Command {
	cmd := &cobra.Command{
		Use: "delete NAME", Short: "Delete a pool without nodes", Long: "delete ends a pool that no node is in.\n\nIt takes the role admin.",
		Example: `  trustpoolctl pool delete lab`, ValidArgsFunction: a.completePools,
	}
	return a.asks(cmd, cobra.ExactArgs(1), func(ctx context.Context, server *api.Client, args []string) error {
		if err := server.RemovePool(ctx, args[0]); err != nil {
			return err
		}
		return a.done(deed{"delete", args[0]}, "Deleted the pool %s.", console.Printable(args[0]))
	})
}
