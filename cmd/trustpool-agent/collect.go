package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/trustpool/trustpool/agent"
)

func collectCommand() *cobra.Command {
	options := agent.CollectOptions{Group: agent.CollectGroup}

	var asJSON bool

	command := &cobra.Command{
		Use:   "collect",
		Short: "Snapshot the event logs, as root, for an agent that is not root",
		Long: `collect runs once a boot as root, before the agent: it reads the event logs of the firmware and of a measured launch (tboot's TXT heap
through /dev/mem, or Secure Launch's), the TXT registers, and the machine's SMBIOS UUID and serial number. It leaves them in a directory that the agent, in group
` + agent.CollectGroup + `, serves them from until the next boot. Run it again to replace the snapshot; readers never see half of one.

It exits with 0 if there is a new snapshot, even one that says that a host has no logs at all, and with 1 if there is none. It takes CAP_SYS_RAWIO for
/dev/mem, and to be root or in that group to share what it writes. ` + bootIDVariable + ` tells it this boot's id where the kernel's own file is hidden.`,
		Example: `  trustpool-agent collect
  trustpool-agent collect --json | jq .txt.words
  trustpool-agent collect --root /host --output /host/run/trustpool-agent-collect`,
		Args:          usageArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if options.BootID, err = bootID(); err != nil {
				return err
			}

			collection, err := agent.Collect(options)
			if err != nil {
				return fmt.Errorf("collecting: %w", err)
			}

			if asJSON {
				encoder := json.NewEncoder(cmd.OutOrStdout())
				encoder.SetIndent("", "  ")

				return encoder.Encode(collection)
			}

			return printCollection(cmd.OutOrStdout(), collection)
		},
	}
	flags := command.Flags()
	flags.StringVar(&options.Output, "output", agent.CollectDir, "leave the snapshot in this `folder`; it is made if its parent is there")
	flags.StringVar(&options.Root, "root", "/", "read /dev, /sys below this `folder`, where a container or a test has the host's")
	flags.BoolVar(&asJSON, "json", false, "print what manifest.json says")

	return command
}

// printCollection prints a line for each source, then the registers in words, then what else there is to know.
func printCollection(w io.Writer, c agent.Collection) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, l := range c.Logs {
		fmt.Fprintf(table, "%s\t%s\t%s\n", l.Source, l.State, aboutLog(l))
	}

	if err := table.Flush(); err != nil {
		return err
	}

	if c.TXT == nil {
		fmt.Fprintf(w, "TXT registers: %s\n", c.TXTDetail)
	} else {
		for _, line := range c.TXT.Words {
			fmt.Fprintln(w, line)
		}
	}

	for _, note := range c.Notes {
		fmt.Fprintf(w, "note: %s\n", note)
	}

	return nil
}

// aboutLog says how large a log is and which, and why it is not available.
func aboutLog(l agent.CollectedLog) string {
	text := l.Detail

	if l.Size > 0 {
		text = fmt.Sprintf("%d bytes, sha256 %s", l.Size, l.SHA256)
		if l.Detail != "" {
			text += ", " + l.Detail
		}
	}

	return text
}
