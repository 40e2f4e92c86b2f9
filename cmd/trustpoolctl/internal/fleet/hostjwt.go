package fleet

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/connect"
	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/server/api"
)

func newHostJWT(a asker) *cobra.Command {
	var options api.SignOptions
	cmd := &cobra.Command{
		Use:   "jwt NAME",
		Short: "Print the signed verdict on a host",
		Long: `jwt prints the verdict on a host as a JWT that can be handed on: an EAT Attestation Result, signed by the server. It is signed whatever the verdict is: only
its claims say whether the host is trusted (docs/verdicts.md). The exit code says that it was got, and nothing of the host.

` + connect.Explanations,
		Example: `  trustpoolctl host jwt node1.example --audience https://broker.example.org
  trustpoolctl host jwt node1.example --nonce "$(openssl rand -base64 18 | tr +/ -_)" >verdict.jwt`,
		ValidArgsFunction: a.completeNode,
	}
	cmd.Flags().StringVar(&options.Audience, "audience", "", "`whom` it is for: the claim aud (default: nobody is named)")
	cmd.Flags().StringVar(&options.Nonce, "nonce", "", "8 to 64 bytes in `base64url` to be repeated in the claim eat_nonce (default: none)")
	return a.asks(cmd, cobra.ExactArgs(1), func(ctx context.Context, server *api.Client, names []string) error {
		if names[0] == "" {
			return errors.New("write the name of a host")
		}
		jwt, err := server.SignedVerdict(ctx, names[0], options)
		if err != nil {
			return fmt.Errorf("getting the signed verdict: %w", err)
		}
		return a.out.Print(api.SignedHost{Host: names[0], JWT: jwt}, func(p *console.Page) { p.Line("%s", console.Printable(jwt)) })
	})
}
