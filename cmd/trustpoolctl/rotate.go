package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/client"
)

func newRotate(out *console.Output) *cobra.Command {
	var (
		where connection
		path  string
	)
	cmd := &cobra.Command{
		Use:   "rotate --address ADDRESS --node FILE",
		Short: "Replace a node's attestation key",
		Long: `rotate has an enrolled node make its next attestation key, checks it as enroll does against the recorded endorsement key, and
ends the rotation once the new key has signed a quote. Quotes go on meanwhile.

The node's record gets the new key before the node gives up the old one, and loses the old one last: whatever fails, the record has a key that
the node signs with, and rotate goes on where it stopped when it is run again. A certificate of the old key is not one of the new key: see
enroll --csr, and known-good files that pin the old key refuse from now on: give verify the record, with --node. Taking a key out of its TPM does not destroy it: put its Name on the refuse list if you have to be rid of it.

Exit codes:
  0  rotated
  1  failed: run it again
  2  wrong usage
  4  refused: the new key is not what it should be, or the node's answer is none; the old one goes on`,
		Example: `  trustpoolctl rotate --address node1.example:9443 --tls-dir /etc/trustpool --node node1.json`,
		Args:    console.Args(cobra.NoArgs),
		RunE:    func(cmd *cobra.Command, _ []string) error { return rotate(cmd.Context(), where, path, out) },
	}
	where.register(cmd)
	cmd.Flags().StringVar(&path, "node", "", "the node's record, a `file` that enroll wrote")
	return cmd
}

func rotate(ctx context.Context, where connection, path string, out *console.Output) error {
	if path == "" {
		return console.Usagef("--node is missing: name the record that enroll wrote")
	}
	record, err := parseFile(path, verifier.ParseNodeRecord)
	if err != nil {
		return err
	}

	var view *enrollView
	err = where.ask(ctx, func(ctx context.Context, agent *client.Client) error {
		view, err = rotateBy(ctx, agent, record, path, strings.HasPrefix(where.address, "unix:"))
		return err
	})
	if errors.Is(err, client.ErrMalformed) {
		view = newUnreadEnrollView(record.Name, where.address, err)
		return out.Refuse(view, view.text)
	}
	if err != nil {
		return fmt.Errorf("could not rotate: %w", err)
	}
	view.Address = where.address
	if !view.Enrolled {
		return out.Refuse(view, view.text)
	}
	return out.Print(view, view.text)
}

// rotateBy does each step only after the one that makes up for its loss.
func rotateBy(ctx context.Context, agent *client.Client, record verifier.NodeRecord, path string, local bool) (*enrollView, error) {
	next, err := agent.RotateAK(ctx)
	if err != nil {
		return nil, err
	}
	run, err := enrollBy(ctx, agent, verifier.EnrollPolicy{Node: record.Name, Record: &record, AKName: next}, record.Address)
	if err != nil {
		return nil, err
	}
	view := &enrollView{Name: record.Name, Enrolled: run.checked.Enrolled(), Enrollment: run.checked, identity: run.identity}
	if !view.Enrolled {
		return view, nil
	}

	replaced := console.File{Path: path, Force: true}
	if err := writeRecord(replaced, run.record); err != nil { // both keys
		return nil, err
	}
	only, err := run.record.Keep(next)
	if err != nil {
		return nil, err
	}
	if err := quoteBy(ctx, agent, only, local); err != nil {
		return nil, err
	}
	if err := agent.CommitAK(ctx, next); err != nil {
		return nil, err
	}
	if err := writeRecord(replaced, only); err != nil {
		return nil, err
	}
	view.WrittenTo, view.rotated = path, true
	return view, nil
}

// quoteBy has the one AK of the record sign a quote. What the quote says of the launch is not judged: it is the key that has to prove itself.
func quoteBy(ctx context.Context, agent *client.Client, record verifier.NodeRecord, local bool) error {
	nonce, err := freshNonce()
	if err != nil {
		return err
	}
	// At the host itself there is no connection to bind to, and nobody in between.
	mode := verifier.BindBound
	if local {
		mode = verifier.BindRaw
	}
	reply, err := agent.Quote(ctx, client.QuoteOptions{Nonce: nonce, Raw: local, AKName: record.AKs[0].Name})
	if err != nil {
		return err
	}

	result := verifier.Verify(reply.Evidence, verifier.Policy{Nonce: nonce, BindMode: mode, Node: &record})
	for _, name := range []verifier.CheckName{
		verifier.CheckMagic, verifier.CheckType, verifier.CheckAKPinned, verifier.CheckAKAttributes, verifier.CheckSignature,
		verifier.CheckQualifiedSigner, verifier.CheckNonce, verifier.CheckPCRDigest, verifier.CheckFreshness,
	} {
		if check := result.Check(name); check.Outcome != verifier.Passed {
			return refusedError{fmt.Errorf("the new key's first quote: %s: %s", check.Name, check.Detail)}
		}
	}
	return nil
}
