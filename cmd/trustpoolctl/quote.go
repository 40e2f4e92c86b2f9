package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/client"
	"github.com/trustpool/trustpool/verifier/saved"
)

// quoteFlags are those of one quote command.
type quoteFlags struct {
	connection
	nonce string
	pcrs  string
	out   string
}

func newQuote(out *console.Output) *cobra.Command {
	var flags quoteFlags
	cmd := &cobra.Command{
		Use:   "quote --address ADDRESS",
		Short: "Show a node's evidence, and keep it with --out",
		Long: `quote challenges a node with a fresh nonce and shows what it answered.

It looks whether the evidence is whole: made by a TPM, signed by the key that came with it, over this nonce and these PCRs. It
judges nothing against known-good values: a whole quote may come from any TPM with any software. verify judges.

--out keeps the evidence in a folder that other tools can read (quote.msg, quote.sig, quote.pcrs, ak.pem) and that verify
judges later. Keep the nonce somewhere else: only with a nonce of your own does verify know that a quote is fresh.

Of callers who ask at the same time a node may sign all the quotes together, which proves the same to each of them; the output says so. --no-aggregation asks for
a quote of one's own.

The quote is bound to the TLS connection, and the folder tells to which. Tools that look for the bare nonce in it, such as tpm2_checkquote, need
--raw; so does a unix socket.

Exit codes:
  0  the quote is whole
  1  failed: the node could not be asked, or the quote could not be checked
  2  wrong usage
  4  refused: the quote is not whole, or what the node answered is none`,
		Example: `  trustpoolctl quote --address node1.example:9443 --tls-dir /etc/trustpool
  trustpoolctl quote --address unix:///run/trustpool-agent/agent.sock --raw --pcrs sha256:17,18,19+sha384:17
  trustpoolctl quote --address node1.example:9443 --tls-dir /etc/trustpool --out evidence --json`,
		Args: console.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return quote(cmd.Context(), flags, cmd.Flags().Changed("nonce"), out)
		},
	}
	flags.register(cmd)
	flags.registerQuote(cmd)
	cmd.Flags().StringVar(&flags.nonce, "nonce", "", "ask with this nonce, in `hex` (default: 32 random bytes)")
	cmd.Flags().StringVar(&flags.pcrs, "pcrs", "sha256:17,18,19", "the `PCRs` to sign, banks joined by +")
	cmd.Flags().StringVar(&flags.out, "out", "", "keep the evidence in this new `folder`")
	return cmd
}

func quote(ctx context.Context, flags quoteFlags, ownNonce bool, out *console.Output) error {
	selection, err := parseSelection(flags.pcrs)
	if err != nil {
		return console.Usagef("--pcrs: %w", err)
	}
	nonce, err := freshNonce()
	if ownNonce {
		nonce, err = parseNonce(flags.nonce)
	}
	if err != nil {
		return err
	}

	reply, err := flags.challenge(ctx, nonce, selection, out)
	if errors.Is(err, client.ErrMalformed) {
		view := newUnreadQuoteView(flags.address, nonce, err)
		return out.Refuse(view, view.text)
	}
	if err != nil {
		return err
	}
	if flags.out != "" {
		if err := saved.Write(flags.out, reply.Evidence); err != nil {
			return fmt.Errorf("keeping the evidence: %w", err)
		}
	}

	view := newQuoteView(reply, verifier.Policy{BindMode: flags.bindMode(), ForbidAggregation: flags.alone, Selection: selection})
	view.Address, view.SavedTo = flags.address, flags.out
	if err := out.Print(view, view.text); err != nil {
		return err
	}
	return console.ExitError{Code: view.exitCode()}
}
