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

// learnFlags are those of one learn command.
type learnFlags struct {
	connection
	folder
	pcrs   string
	refuse string
	out    console.File
}

func newLearn(out *console.Output) *cobra.Command {
	var flags learnFlags
	cmd := &cobra.Command{
		Use:   "learn {--address ADDRESS | {DIR | MESSAGE} --nonce HEX} --out FILE",
		Short: "Write known-good values from a node that you know to be good",
		Long: `learn challenges a node with a fresh nonce, checks everything but the known-good values, and writes what it measured as
known-good: from then on verify trusts exactly this launch, signed by exactly this key.

You vouch for the node: look at what was learned before you rely on it. Its attestation key is pinned because it was there
first. That proves nothing about hardware: the key may be that of a software TPM.

What no log explains, what is not fresh, or what a key on the --refuse list signed, is refused, and nothing is written.

With a folder, or the message that evidence export wrote, it learns from the evidence in there, of the PCRs that --pcrs names; --nonce has to be the one that you asked with.

` + folderExplanations + `

Exit codes:
  0  learned
  1  failed: the node could not be asked, or the folder not be read
  2  wrong usage
  4  refused: the evidence is not whole, or not fresh; nothing was written`,
		Example: `  trustpoolctl learn --address node1.example:9443 --tls-dir /etc/trustpool --out known-good.json
  trustpoolctl learn --address node1.example:9443 --tls-dir /etc/trustpool --out known-good.json --pcrs sha384:17,18,19 --force
  trustpoolctl learn evidence --nonce 5bd1...07 --out known-good.json`,
		Args: console.Args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return learn(cmd.Context(), flags, args, out) },
	}
	flags.connection.register(cmd)
	flags.registerQuote(cmd)
	flags.folder.register(cmd)
	cmd.Flags().StringVar(&flags.pcrs, "pcrs", "sha256:17,18,19", "the `PCRs` to learn, banks joined by +")
	cmd.Flags().StringVar(&flags.refuse, "refuse", "", "`file` with the Names of attestation keys of which nothing is learned, one a line")
	flags.out.Register(cmd, "out", "write the known-good values to this `file`")
	return cmd
}

func learn(ctx context.Context, flags learnFlags, args []string, out *console.Output) error {
	selection, err := parseSelection(flags.pcrs)
	if err != nil {
		return console.Usagef("--pcrs: %w", err)
	}
	if err := flags.out.Check(); err != nil {
		return err
	}
	policy := verifier.Policy{BindMode: flags.bindMode(), ForbidAggregation: flags.alone, Selection: selection}
	if empty := verifier.Verify(verifier.Evidence{}, policy); empty.Verdict == verifier.CouldNotJudge {
		return console.Usagef("--pcrs: %s", empty.Check(verifier.CheckPolicy).Detail)
	}

	if policy.RefusedAKs, err = readRefuseList(flags.refuse); err != nil {
		return fmt.Errorf("could not learn: %w", err)
	}

	subject, evidence, err := flags.evidence(ctx, args, &policy, out)
	if errors.Is(err, saved.ErrAltered) || errors.Is(err, client.ErrMalformed) {
		return refusedError{fmt.Errorf("nothing was learned: %w", err)}
	}
	if err != nil {
		return err
	}
	knownGood, err := verifier.Learn(evidence, policy)
	if err != nil {
		return refusedError{fmt.Errorf("nothing was learned from %s: %w", subject, err)}
	}
	if err := writeKnownGood(flags.out, knownGood); err != nil {
		return err
	}

	view := newLearnView(knownGood)
	view.Address, view.WrittenTo = flags.address, flags.out.Path
	if len(args) == 1 {
		view.Folder = args[0]
	}
	return out.Print(view, view.text)
}

// evidence takes what is to be learned from the node or the folder, says which, and sets the policy's nonce.
func (f *learnFlags) evidence(ctx context.Context, args []string, policy *verifier.Policy, out *console.Output) (string, verifier.Evidence, error) {
	if len(args) == 1 {
		ev, err := f.savedEvidence(args[0], policy, out)
		return args[0], ev, err
	}
	if err := f.unused(); err != nil {
		return "", verifier.Evidence{}, err
	}

	var err error
	if policy.Nonce, err = freshNonce(); err != nil {
		return "", verifier.Evidence{}, err
	}
	reply, err := f.challenge(ctx, policy.Nonce, policy.Selection, out)
	if err != nil {
		return "", verifier.Evidence{}, fmt.Errorf("could not learn: %w", err)
	}
	return f.address, reply.Evidence, nil
}

func (f *learnFlags) savedEvidence(dir string, policy *verifier.Policy, out *console.Output) (verifier.Evidence, error) {
	if f.raw {
		return verifier.Evidence{}, console.Usagef("--raw is for a node: evidence in a folder says how it was asked for")
	}
	if f.address != "" {
		return verifier.Evidence{}, console.Usagef("give --address or a folder, not both")
	}
	if err := f.addTo(policy, out); err != nil {
		return verifier.Evidence{}, err
	}
	if policy.Nonce == nil {
		return verifier.Evidence{}, console.Usagef("--nonce is missing: without the nonce that you asked with, nobody knows when the evidence was made")
	}
	ev, err := f.read(dir)
	if err != nil {
		return verifier.Evidence{}, fmt.Errorf("could not learn: %w", err)
	}
	policy.BindMode = savedMode(ev)
	return ev, nil
}

// writeKnownGood writes nothing that could not be read again, such as values of a bank that nobody should trust.
func writeKnownGood(file console.File, knownGood verifier.KnownGood) error {
	data, err := knownGood.Marshal()
	if err != nil {
		return err
	}
	if _, err := verifier.ParseKnownGood(data); err != nil {
		return fmt.Errorf("what was learned is of no use: %w", err)
	}
	return file.Write(data)
}
