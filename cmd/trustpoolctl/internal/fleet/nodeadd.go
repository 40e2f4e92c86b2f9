package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/server/api"
)

// nodeFlags are what an administrator says of one node.
type nodeFlags struct {
	spec   api.NodeSpec
	ek     api.ExpectedEK
	labels map[string]string
}

// register has the flags that add and set share.
func (f *nodeFlags) register(a asker, cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.spec.Address, "address", "", "its agent: `host:port`")
	flags.StringVar(&f.spec.ServerName, "agent-name", "", "`name` in its agent's server certificate (default: its own name)")
	flags.StringVar(&f.spec.Pool, "pool", "", "the `pool` whose demands it has to meet")
	flags.StringVar(&f.spec.Binding, "binding", "", "`level` that its enrolment has to reach: inventory (default), chain or first_use")
	flags.StringVar(&f.ek.Name, "ek-name", "", "for inventory: its endorsement key's TPM Name, in `hex`")
	flags.StringVar(&f.ek.Serial, "ek-serial", "", "for inventory: the serial number of its endorsement key's certificate, in `hex`")
	flags.StringVar(&f.ek.Issuer, "ek-issuer", "", "for inventory: the `name` of that certificate's issuer, as RFC 2253 writes it")
	flags.StringToStringVar(&f.labels, "label", nil, "a label of your own, `KEY=VALUE`; repeat it for each")
	a.completeFlag(cmd, "pool", a.completePoolFlag)
	a.completeFlag(cmd, "binding", cobra.FixedCompletions([]string{"inventory", "chain", "first_use"}, cobra.ShellCompDirectiveNoFileComp))
}

// expected is the EK that the flags name; nil if none.
func (f *nodeFlags) expected() *api.ExpectedEK {
	if f.ek == (api.ExpectedEK{}) {
		return nil
	}
	return &f.ek
}

func newNodeAdd(a asker) *cobra.Command {
	var (
		flags  nodeFlags
		record string
	)
	cmd := &cobra.Command{
		Use:   "add NAME --address HOST:PORT --pool POOL",
		Short: "Add a node",
		Long: `add has the server watch a node. It enrols it as soon as it reaches its agent; with --record, the file that trustpoolctl enroll wrote, it is enrolled already.

How sure the server is to speak with the right machine is said by --binding: inventory, the default, wants its endorsement key to be the one that --ek-name, or
--ek-serial and --ek-issuer name; chain takes any genuine TPM that is reached under the node's name; first_use takes whatever answers first, which proves
nothing about hardware, and which a pool takes only if it says so.`,
		Example: `  trustpoolctl node add node1.example --address node1.example:9443 --pool gold --ek-name 000b4d1f...
  trustpoolctl node add node2.example --address node2.example:9443 --pool gold --binding chain --alias node2 --label rack=7
  trustpoolctl node add node3.example --address node3.example:9443 --pool gold --record node3.json`,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags.register(a, cmd)
	cmd.Flags().StringSliceVar(&flags.spec.Aliases, "alias", nil, "another `name` of it, as a scheduler may ask for; repeat it for each")
	cmd.Flags().StringVar(&record, "record", "", "`file` that trustpoolctl enroll wrote: it is enrolled already")
	return a.asks(cmd, cobra.ExactArgs(1), func(ctx context.Context, server *api.Client, args []string) error {
		spec := flags.spec
		spec.Name, spec.EK, spec.Labels = args[0], flags.expected(), flags.labels
		if spec.Address == "" || spec.Pool == "" {
			return console.Usagef("--address and --pool have to be given")
		}
		if record != "" {
			raw, err := os.ReadFile(record) // #nosec G304 -- the operator names the file
			if err != nil {
				return fmt.Errorf("reading the node's record: %w", err)
			}
			if !json.Valid(raw) {
				return fmt.Errorf("reading the node's record: %s is no JSON, give the file that trustpoolctl enroll wrote", record)
			}
			spec.Record = raw
		}
		node, err := server.AddNode(ctx, spec)
		if err != nil {
			return err
		}
		return a.done(node, "Added %s to the pool %s: %s.", console.Printable(node.Name), console.Printable(node.Pool), stateWords(&node))
	})
}

// stateWords says what a node's state means.
func stateWords(n *api.Node) string {
	switch n.State {
	case "pending":
		return "it is pending, until the server has reached and enrolled it"
	case "active":
		return "it is active, and challenged"
	case "held":
		return "it is held, until an administrator decides"
	default:
		return "it is " + console.Printable(n.State)
	}
}
