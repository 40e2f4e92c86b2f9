package main

import (
	"errors"
	"fmt"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/saved"
)

// verifySaved judges the evidence in dir. The nonce in there is never the caller's own.
func verifySaved(flags verifyFlags, dir string, out *console.Output) error {
	if flags.raw {
		return console.Usagef("--raw is for a node: evidence in a folder says how it was asked for")
	}
	if flags.address != "" {
		return console.Usagef("give --address or a folder, not both")
	}
	policy, err := flags.policy()
	if err != nil {
		return err
	}
	if err := flags.addTo(&policy, out); err != nil {
		return err
	}

	evidence, err := flags.read(dir)
	if errors.Is(err, saved.ErrAltered) {
		return refuseUnread(dir, err, out)
	}
	if err != nil {
		return fmt.Errorf("could not judge: %w", err)
	}
	policy.BindMode = savedMode(evidence)
	view := newResultView(dir, evidence, policy)
	view.saved = true
	return judge(view, out)
}

// savedMode takes the mode that the evidence was asked for in: over which connection that was is the collector's word either way.
func savedMode(evidence verifier.Evidence) verifier.BindMode {
	if evidence.Binding != nil {
		return verifier.BindBound
	}
	return verifier.BindRaw
}

// refuseUnread is for evidence that is not as it was written, and for answers that are none, so that there is nothing to check.
func refuseUnread(subject string, reason error, out *console.Output) error {
	view := &resultView{Subject: subject, Unread: reason.Error(), Result: verifier.Result{Checks: []verifier.Check{}}}
	return out.Refuse(view, view.text)
}
