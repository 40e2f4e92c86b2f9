package fleet

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/server/api"
)

// setFlags are those of node set.
type setFlags struct {
	nodeFlags
	addAliases, removeAliases []string
	removeLabels              []string
}

func newNodeSet(a asker) *cobra.Command {
	var flags setFlags
	cmd := &cobra.Command{
		Use:   "set NAME",
		Short: "Change what is said of a node",
		Long: `set changes what its flags name, and leaves the rest as it is. Another pool takes the verdict away until the next quote, which is due at once. Another binding or
endorsement key takes the enrolment away.

What a node calls itself, which show tells, is a suggestion: --add-alias takes a name over. One that another node has is refused, and raises an alarm.`,
		Example: `  trustpoolctl node set node1.example --add-alias compute-1 --add-alias 4c4c4544-0042-3510-8034-b4c04f4a3132
  trustpoolctl node set node1.example --pool silver
  trustpoolctl node set node1.example --label rack=8 --remove-label row`,
		ValidArgsFunction: a.completeNode,
	}
	flags.register(a, cmd)
	cmd.Flags().StringSliceVar(&flags.addAliases, "add-alias", nil, "another `name` of it; repeat it for each")
	cmd.Flags().StringSliceVar(&flags.removeAliases, "remove-alias", nil, "a `name` that is no longer its; repeat it for each")
	cmd.Flags().StringSliceVar(&flags.removeLabels, "remove-label", nil, "a label's `key`; repeat it for each")
	return a.asks(cmd, cobra.ExactArgs(1), func(ctx context.Context, server *api.Client, args []string) error {
		given := givenFlags(cmd.Flags())
		if len(given) == 0 {
			return console.Usagef("there is nothing to change: see the flags in --help")
		}
		node, err := server.Node(ctx, args[0])
		if err != nil {
			return err
		}
		spec, err := flags.change(node.NodeSpec, given)
		if err != nil {
			return err
		}
		if slices.Equal(given, []string{"label"}) || slices.Equal(given, []string{"remove-label"}) || slices.Equal(given, []string{"label", "remove-label"}) {
			node, err = server.SetLabels(ctx, node.Name, spec.Labels, node.Revision) // for which an operator's role is enough
		} else {
			node, err = server.UpdateNode(ctx, node.Name, spec, node.Revision)
		}
		if err != nil {
			return err
		}
		return a.done(node, "Changed %s: %s.", console.Printable(node.Name), stateWords(&node))
	})
}

// givenFlags are the names of the command's own flags that were given, sorted.
func givenFlags(flags *pflag.FlagSet) []string {
	own := []string{"address", "agent-name", "pool", "binding", "ek-name", "ek-serial", "ek-issuer", "label", "add-alias", "remove-alias", "remove-label"}
	own = slices.DeleteFunc(own, func(name string) bool { return !flags.Changed(name) })
	slices.Sort(own)
	return own
}

// change returns a node's description with what was given in place of what was there.
func (f *setFlags) change(spec api.NodeSpec, given []string) (api.NodeSpec, error) {
	for _, name := range given {
		switch name {
		case "address":
			spec.Address = f.spec.Address
		case "agent-name":
			spec.ServerName = f.spec.ServerName
		case "pool":
			spec.Pool = f.spec.Pool
		case "binding":
			spec.Binding = f.spec.Binding
			if spec.Binding != "inventory" {
				spec.EK = nil // which no other level looks at
			}
		case "ek-name", "ek-serial", "ek-issuer":
			spec.EK = f.expected()
		}
	}
	for _, alias := range f.removeAliases {
		i := slices.Index(spec.Aliases, strings.ToLower(alias))
		if i < 0 {
			return spec, console.Usagef("--remove-alias: %q is no alias of the node", alias)
		}
		spec.Aliases = slices.Delete(slices.Clone(spec.Aliases), i, i+1)
	}
	spec.Aliases = append(slices.Clone(spec.Aliases), f.addAliases...)

	spec.Labels = maps.Clone(spec.Labels)
	if spec.Labels == nil {
		spec.Labels = make(map[string]string)
	}
	for _, key := range f.removeLabels {
		delete(spec.Labels, key)
	}
	maps.Copy(spec.Labels, f.labels)
	return spec, nil
}
