package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/saved"
)

// verifyFlags are those of one verify command.
type verifyFlags struct {
	connection
	knownGood string
	nonce     string
}

func newVerify(out *output) *cobra.Command {
	var flags verifyFlags
	cmd := &cobra.Command{
		Use:   "verify {--address ADDRESS | DIR} --known-good FILE",
		Short: "Judge a node, or saved evidence, against known-good values",
		Long: `verify judges evidence against known-good values, and says of each check what became of it.

With --address it challenges the node with a fresh nonce. With a folder that quote --out made it judges what is in there;
then only --nonce, the nonce that you asked with and kept yourself, shows that the quote is fresh. Without it the verdict is "authentic,
freshness not checked" at best, because the nonce in the folder is only what somebody says.

The PCRs to be signed are those of the known-good file.

` + exitExplanations,
		Example: `  trustpoolctl verify --address node1.example:9443 --tls-dir /etc/trustpool --known-good known-good.json
  trustpoolctl verify evidence --known-good known-good.json --nonce 5bd1...07
  trustpoolctl verify evidence --known-good known-good.json --json`,
		Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return verifySaved(flags, args[0], cmd.Flags().Changed("nonce"), out)
			}
			return verifyLive(cmd.Context(), flags, out)
		},
	}
	flags.register(cmd)
	cmd.Flags().StringVar(&flags.knownGood, "known-good", "", "`file` with known-good values, see learn")
	cmd.Flags().StringVar(&flags.nonce, "nonce", "", "the nonce, in `hex`, that you asked the saved evidence with")
	return cmd
}

// verifyLive challenges the node that the flags name.
func verifyLive(ctx context.Context, flags verifyFlags, out *output) error {
	if flags.address == "" {
		return withHint(usagef("there is nothing to verify"), "Give --address, or a folder that quote --out made.")
	}
	if flags.nonce != "" {
		return usagef("--nonce belongs to a saved folder: a live node is challenged with a fresh one")
	}
	policy, err := flags.policy()
	if err != nil {
		return err
	}
	if policy.Nonce, err = freshNonce(); err != nil {
		return err
	}

	reply, err := flags.challenge(ctx, policy.Nonce, policy.Selection)
	if err != nil {
		return fmt.Errorf("could not judge: %w", err)
	}
	return judge(flags.address, reply.Evidence, policy, out)
}

// verifySaved judges the evidence in dir. The nonce in there is never the caller's own.
func verifySaved(flags verifyFlags, dir string, ownNonce bool, out *output) error {
	if flags.address != "" {
		return usagef("give --address or a folder, not both")
	}
	policy, err := flags.policy()
	if err != nil {
		return err
	}
	if ownNonce {
		if policy.Nonce, err = parseOwnNonce(flags.nonce); err != nil {
			return err
		}
	}

	evidence, err := saved.Read(dir)
	if err != nil {
		return withHint(fmt.Errorf("could not judge: %w", err), "Give a folder that trustpoolctl quote --out made.")
	}
	return judge(dir, evidence, policy, out)
}

// policy reads the known-good file and demands its PCRs.
func (f *verifyFlags) policy() (verifier.Policy, error) {
	if f.knownGood == "" {
		return verifier.Policy{}, withHint(usagef("--known-good is missing: without known-good values nothing is trusted"),
			"trustpoolctl learn writes them from a node that you know to be good.")
	}

	raw, err := os.ReadFile(f.knownGood)
	if err != nil {
		return verifier.Policy{}, fmt.Errorf("could not judge: reading known-good values: %w", err)
	}
	knownGood, err := verifier.ParseKnownGood(raw)
	if err != nil {
		return verifier.Policy{}, fmt.Errorf("could not judge by %s: %w", f.knownGood, err)
	}
	return verifier.Policy{BindMode: verifier.BindRaw, KnownGood: knownGood, Selection: knownGood.Selection()}, nil
}

// judge prints the result, and returns the verdict's exit code as an error.
func judge(subject string, evidence verifier.Evidence, policy verifier.Policy, out *output) error {
	view := &resultView{Subject: subject, Result: verifier.Verify(evidence, policy)}
	if err := out.print(view, view.text); err != nil {
		return err
	}
	return exitError{verdictExit(view.Verdict)}
}
