package main

import (
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/trustpool/trustpool/cmd/internal/daemon"
	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/fleet"
	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/sets"
)

// newRoot builds the command tree. The output has its flags once the tree has been executed.
func newRoot(stdout, stderr io.Writer) (*cobra.Command, *console.Output) {
	out := console.NewOutput(stdout, stderr)

	root := &cobra.Command{
		Use:   "trustpoolctl",
		Short: "Enrol nodes, quote them, learn known-good values, verify evidence, read event logs; ask an attestation server",
		Long: `trustpoolctl asks a compute node for evidence of how it was launched, and judges it.

enroll binds a node's attestation key to its TPM, and the TPM to the node's name. learn writes known-good values from a node that you know to be
good. verify judges nodes by them, with the keys of the node's record if --node names it, else with the key that learn met. quote shows a node's
evidence and keeps it in a folder, without judging it; verify judges such folders too. rotate replaces a node's attestation key, install-certificate
gives it your CA's certificate. evidence writes saved evidence as one message for other tools. eventlog reads the logs of a host's launch and boot from files, without any node.

The other commands ask an attestation server (trustpool-server), which does all this for a whole fleet: node add and node import tell it which hosts there are,
host status asks whether one is trusted (exit code 0, 4 if untrusted, 1 if unknown), node show says why not, watch tells of changes as they happen.

With --json, results go to stdout as one JSON object; errors go to stderr as {"error": ..., "reason": ..., "hint": ...},
where reason is the agent's, if it refused (NONCE_TOO_SHORT, TPM_BUSY, ...). Line breaks and colours are for people only.

` + exitExplanations,
		Version:                    daemon.Build(),
		Args:                       console.SubcommandOnly,
		PersistentPreRunE:          func(cmd *cobra.Command, _ []string) error { return noEmptyFlag(cmd) },
		RunE:                       func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SuggestionsMinimumDistance: 2,

		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return daemon.UsageError{Err: err} })
	root.PersistentFlags().BoolVar(&out.JSON, "json", false, "print JSON")
	addGroup(root, "nodes", "Of a node, or of evidence, without a server:",
		newEnroll(out), newInstallCertificate(out), newRotate(out), newQuote(out), newVerify(out), newLearn(out), newEvidence(out), newEventLog(out))
	addGroup(root, "server", "Of an attestation server:", append(fleet.Commands(out), sets.New(out))...)

	return root, out
}

// addGroup adds commands that the help lists under a title.
func addGroup(root *cobra.Command, id, title string, commands ...*cobra.Command) {
	root.AddGroup(&cobra.Group{ID: id, Title: title})
	for _, cmd := range commands {
		cmd.GroupID = id
	}
	root.AddCommand(commands...)
}

// noEmptyFlag refuses flags that were given without a value, such as --refuse "$LIST" without a LIST: to take them for flags that were not given would leave
// out, in silence, what they demand.
func noEmptyFlag(cmd *cobra.Command) error {
	for _, f := range visited(cmd.Flags().Visit) {
		empty := f.Value.String() == ""
		if list, ok := f.Value.(interface{ GetSlice() []string }); ok {
			empty = slices.Contains(list.GetSlice(), "")
		}
		if empty {
			return console.Usagef("--%s is empty: give it a value, or leave it out", f.Name)
		}
	}
	return nil
}

// visited lists what visit visits.
func visited[T any](visit func(func(T))) (all []T) {
	visit(func(one T) { all = append(all, one) })
	return all
}
