package fleet

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/server/api"
)

const (
	// completeFor is how long a shell waits for names.
	completeFor = 2 * time.Second
	// maxCompleted is how many names a shell is given.
	maxCompleted = 500
)

// complete returns the names that begin with a word. Without a server that answers soon there are none, and no error: a person is still typing.
func (a asker) complete(cmd *cobra.Command, word string, names func(ctx context.Context, server *api.Client, yield func(string, error) bool)) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), completeFor)
	defer cancel()

	var found []string
	_ = a.Stay(ctx, func(ctx context.Context, server *api.Client) error {
		names(ctx, server, func(name string, err error) bool {
			if err != nil {
				return false
			}
			if strings.HasPrefix(name, word) && name == console.Printable(name) {
				found = append(found, name)
			}
			return len(found) < maxCompleted
		})
		return nil
	})
	return found, cobra.ShellCompDirectiveNoFileComp
}

// completeNodes completes names of nodes.
func (a asker) completeNodes(cmd *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
	return a.complete(cmd, word, func(ctx context.Context, server *api.Client, yield func(string, error) bool) {
		for node, err := range server.Nodes(ctx, api.NodeFilter{}) {
			if !yield(node.Name, err) {
				return
			}
		}
	})
}

// completeNode completes the name of one node.
func (a asker) completeNode(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.completeNodes(cmd, args, word)
}

// completePools completes the name of one pool.
func (a asker) completePools(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.completePoolFlag(cmd, args, word)
}

// completePoolFlag completes the value of --pool.
func (a asker) completePoolFlag(cmd *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
	return a.complete(cmd, word, func(ctx context.Context, server *api.Client, yield func(string, error) bool) {
		pools, err := server.Pools(ctx)
		for i := 0; err == nil && i < len(pools); i++ {
			if !yield(pools[i].Name, nil) {
				return
			}
		}
	})
}
