package fleet

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/server/api"
)

// each has something done with nodes one after the other, and says what became of each. It ends with the first that fails.
func (a asker) each(names []string, do func(name string) (api.Node, error)) error {
	done := &nodesView{Nodes: []api.Node{}}
	for _, name := range names {
		node, err := do(name)
		if err != nil {
			return fmt.Errorf("node %s: %w", name, err)
		}
		done.Nodes = append(done.Nodes, node)
		if !a.out.JSON {
			if err := a.done(nil, "%s: %s.", console.Printable(node.Name), stateWords(&node)); err != nil {
				return err
			}
		}
	}
	if !a.out.JSON {
		return nil
	}
	return a.out.Print(done, nil)
}

func newNodeHold(a asker) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "hold NAME... --reason TEXT",
		Short: "Refuse nodes until an administrator releases them",
		Long: `hold makes nodes untrusted, whatever they answer, until somebody releases them or has them enrolled anew. The server holds a node by itself when its keys change.

It takes the role operator: it can make no node trusted.`,
		Example:           `  trustpoolctl node hold node1.example --reason "disk swapped, see ticket 4711"`,
		ValidArgsFunction: a.completeNodes,
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, in `words` for those who come after you")
	return a.asks(cmd, cobra.MinimumNArgs(1), func(ctx context.Context, server *api.Client, names []string) error {
		if reason == "" {
			return console.WithHint(console.Usagef("--reason is missing"), "Say why, for whoever has to decide about the node later.")
		}
		return a.each(names, func(name string) (api.Node, error) { return server.HoldNode(ctx, name, reason, 0) })
	})
}

func newNodeRelease(a asker) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "release NAME...",
		Short: "End a hold: the keys that were enrolled before count again",
		Long: `release ends a hold. The node's keys are those of before: if it was held since they changed, and shall be trusted with its new ones, reenroll is what it needs.

It takes the role admin.`,
		Example:           `  trustpoolctl node release node1.example`,
		ValidArgsFunction: a.completeNodes,
	}
	return a.asks(cmd, cobra.MinimumNArgs(1), func(ctx context.Context, server *api.Client, names []string) error {
		return a.each(names, func(name string) (api.Node, error) { return server.ReleaseNode(ctx, name, 0) })
	})
}

func newNodeReenroll(a asker) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reenroll NAME...",
		Short: "Forget nodes' keys, and enrol them anew",
		Long: `reenroll forgets the keys of a node, which the server enrols anew as soon as it reaches it: after its attestation key was rotated or its TPM replaced. With the binding
inventory, a new TPM has to be named first: trustpoolctl node set --ek-name.

It takes the role admin.`,
		Example:           `  trustpoolctl node reenroll node1.example`,
		ValidArgsFunction: a.completeNodes,
	}
	return a.asks(cmd, cobra.MinimumNArgs(1), func(ctx context.Context, server *api.Client, names []string) error {
		return a.each(names, func(name string) (api.Node, error) { return server.ReenrollNode(ctx, name, 0) })
	})
}

func newNodeRemove(a asker) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "remove NAME...",
		Short: "Decommission nodes",
		Long: `remove ends a node for good: it is asked no more, its names are unknown to whoever asks, and free for others. Its history and evidence stay until their time is over.

It takes the role admin.`,
		Example:           `  trustpoolctl node remove node1.example`,
		ValidArgsFunction: a.completeNodes,
	}
	return a.asks(cmd, cobra.MinimumNArgs(1), func(ctx context.Context, server *api.Client, names []string) error {
		for _, name := range names {
			if err := server.RemoveNode(ctx, name, 0); err != nil {
				return fmt.Errorf("node %s: %w", name, err)
			}
			if err := a.done(deed{"remove", name}, "Removed %s.", console.Printable(name)); err != nil {
				return err
			}
		}
		return nil
	})
}

func newNodeAttest(a asker) *cobra.Command {
	var wait bool
	cmd := &cobra.Command{
		Use:   "attest NAME",
		Short: "Have a node challenged at once",
		Long: `attest puts a node at the head of the queue. With --wait it waits until the node has been asked, and tells the verdict.

It takes the role operator. ` + exitExplanations,
		Example: `  trustpoolctl node attest node1.example
  trustpoolctl node attest node1.example --wait --timeout 30s`,
		ValidArgsFunction: a.completeNode,
	}
	cmd.Flags().BoolVar(&wait, "wait", false, "wait for the answer, at most --timeout; the exit code is the verdict's")
	return a.asks(cmd, cobra.ExactArgs(1), func(ctx context.Context, server *api.Client, args []string) error {
		before, err := server.Node(ctx, args[0])
		if err != nil {
			return err
		}
		if err := server.AttestNode(ctx, args[0]); err != nil {
			return err
		}
		if !wait {
			return a.done(deed{"attest", before.Name}, "%s is asked as soon as there is room.", console.Printable(before.Name))
		}
		after, err := awaitAnswer(ctx, server, &before)
		if err != nil {
			return err
		}
		if err := a.out.Print(after, newNodeView(&after, time.Now()).text); err != nil {
			return err
		}
		return console.ExitError{Code: verdictExit(after.Verdict.Trust)}
	})
}

// pollPause is how long attest --wait lets the server be between two looks.
const pollPause = 250 * time.Millisecond

// awaitAnswer looks at a node until it was asked once more than before.
func awaitAnswer(ctx context.Context, server *api.Client, before *api.Node) (api.Node, error) {
	for {
		node, err := server.Node(ctx, before.Name)
		if err != nil || asked(&node) > asked(before) || node.Verdict.Generation != before.Verdict.Generation {
			return node, err
		}
		select {
		case <-ctx.Done():
			return api.Node{}, console.WithHint(fmt.Errorf("waiting for %s to be asked: %w", before.Name, context.Cause(ctx)),
				"Give it longer with --timeout; trustpoolctl node show tells when it is asked next.")
		case <-time.After(pollPause):
		}
	}
}

// asked counts the challenges of a node.
func asked(n *api.Node) int64 {
	if n.Contact == nil {
		return 0
	}
	return n.Contact.GoodQuotes + n.Contact.BadQuotes + n.Contact.Unanswered
}
