package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/client"
)

// verifyFlags are those of one verify command.
type verifyFlags struct {
	connection
	folder
	knownGood string
	node      string
	refuse    string
}

func newVerify(out *console.Output) *cobra.Command {
	var flags verifyFlags
	cmd := &cobra.Command{
		Use:   "verify {--address ADDRESS | --node FILE | DIR | MESSAGE} --known-good FILE",
		Short: "Judge a node, or saved evidence, against known-good values",
		Long: `verify judges evidence against known-good values, and says of each check what became of it.

With --address it challenges the node with a fresh nonce, and wants a quote that is bound to this very TLS connection, so that one that was
relayed is refused. --raw has the bare nonce signed instead: over a unix socket, where there is no TLS, and at the price that anybody may have relayed it.

Of callers who ask at the same time a node may sign all the quotes together, which proves the same to each of them; the check "nonce" says so. With
--no-aggregation such a quote is refused, also one in a folder, and a live node is asked for one of its own.

With a folder that quote --out made it judges what is in there; then only --nonce, the nonce that you asked with and kept yourself, shows that
the quote was signed after you made it. When it was, and whether the node has rebooted since, a folder does not show. Without --nonce the verdict is
"authentic, freshness not checked" at best, because the nonce in the folder is only what somebody says. A folder that was altered since is refused.
The message that evidence export wrote is judged like its folder.

The PCRs to be judged are those of the known-good file. A live node signs just these; in a folder more may be signed, which are named
and not judged. With --node, the record that enroll wrote, the quote has to be signed by an
attestation key of that node, and keys in the known-good file do not count; without --address the node is asked where it was enrolled. After a
rotation the record knows the new key, a known-good file does not.

` + folderExplanations + `

` + exitExplanations,
		Example: `  trustpoolctl verify --address node1.example:9443 --tls-dir /etc/trustpool --known-good known-good.json
  trustpoolctl verify --node node1.json --tls-dir /etc/trustpool --known-good known-good.json
  trustpoolctl verify evidence --known-good known-good.json --nonce 5bd1...07
  trustpoolctl verify evidence --known-good known-good.json --json
  trustpoolctl verify from-tpm2-tools --known-good known-good.json --nonce 5bd1...07 --log txt=eventlog`,
		Args: console.Args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return verifySaved(flags, args[0], out)
			}
			return verifyLive(cmd.Context(), flags, out)
		},
	}
	flags.connection.register(cmd)
	flags.registerQuote(cmd)
	flags.folder.register(cmd)
	cmd.Flags().StringVar(&flags.knownGood, "known-good", "", "`file` with known-good values, see learn")
	cmd.Flags().StringVar(&flags.node, "node", "", "the node's record, a `file` that enroll wrote")
	cmd.Flags().StringVar(&flags.refuse, "refuse", "", "`file` with the Names of attestation keys that are refused, one a line")
	return cmd
}

// verifyLive challenges the node that the flags name.
func verifyLive(ctx context.Context, flags verifyFlags, out *console.Output) error {
	if flags.address == "" && flags.node == "" {
		return console.WithHint(console.Usagef("there is nothing to verify"), "Give --address, --node, or a folder that quote --out made.")
	}
	if err := flags.unused(); err != nil {
		return err
	}
	policy, err := flags.policy()
	if err != nil {
		return err
	}
	if policy.Nonce, err = freshNonce(); err != nil {
		return err
	}
	if flags.address == "" {
		flags.address = policy.Node.Address
	}

	reply, err := flags.challenge(ctx, policy.Nonce, policy.Selection, out)
	if errors.Is(err, client.ErrMalformed) {
		return refuseUnread(flags.address, err, out)
	}
	if err != nil {
		return fmt.Errorf("could not judge: %w", err)
	}
	return judge(newResultView(flags.address, reply.Evidence, policy), out)
}

// policy reads the known-good file and demands its PCRs.
func (f *verifyFlags) policy() (verifier.Policy, error) {
	if f.knownGood == "" {
		return verifier.Policy{}, console.WithHint(console.Usagef("--known-good is missing: without known-good values nothing is trusted"),
			"trustpoolctl learn writes them from a node that you know to be good.")
	}

	raw, err := os.ReadFile(f.knownGood)
	if errors.Is(err, fs.ErrNotExist) {
		return verifier.Policy{}, console.WithHint(fmt.Errorf("could not judge: reading known-good values: %w", err), "Make one with trustpoolctl learn.")
	}
	if err != nil {
		return verifier.Policy{}, fmt.Errorf("could not judge: reading known-good values: %w", err)
	}
	knownGood, err := verifier.ParseKnownGood(raw)
	if err != nil {
		return verifier.Policy{}, fmt.Errorf("could not judge by %s: %w", f.knownGood, err)
	}
	policy := verifier.Policy{BindMode: f.bindMode(), ForbidAggregation: f.alone, KnownGood: knownGood, Selection: knownGood.Selection()}
	return policy, f.readKeys(&policy)
}

// readKeys reads which keys may sign, and which may not.
func (f *verifyFlags) readKeys(policy *verifier.Policy) error {
	if f.node != "" {
		record, err := parseFile(f.node, verifier.ParseNodeRecord)
		if err != nil {
			return fmt.Errorf("could not judge: %w", err)
		}
		policy.Node = &record
	}
	refused, err := readRefuseList(f.refuse)
	if err != nil {
		return fmt.Errorf("could not judge: %w", err)
	}
	policy.RefusedAKs = refused
	return nil
}

// readRefuseList reads the keys that are trusted no more; none without a file.
func readRefuseList(path string) ([]verifier.Hex, error) {
	if path == "" {
		return nil, nil
	}
	return parseFile(path, verifier.ParseRefuseList)
}

// judge prints the result, and returns the verdict's exit code as an error.
func judge(view *resultView, out *console.Output) error {
	if err := out.Print(view, view.text); err != nil {
		return err
	}
	return console.ExitError{Code: verdictExit(view.Verdict)}
}
