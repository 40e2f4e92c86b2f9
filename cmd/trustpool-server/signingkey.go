package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/trustpool/trustpool/cmd/internal/daemon"
	"github.com/trustpool/trustpool/server"
)

func signingKeyCommand(configPath *string) *cobra.Command {
	command := &cobra.Command{
		Use:   "signing-key",
		Short: "List and rotate the keys that sign verdicts",
		Long: `signing-key works on the files of the keys by which the server signs verdicts (GET /v1/hosts/NAME/verdict.jwt). The server may run meanwhile, and follows within seconds.
Run it as the server's user.`,
		Args: usageArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return daemon.UsageError{Err: fmt.Errorf("write list or rotate; see %s --help", cmd.CommandPath())}
		},
	}
	command.AddCommand(signingKeyList(configPath), signingKeyRotate(configPath))
	return command
}

func signingKeyList(configPath *string) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the keys",
		Long: `list shows the kid (RFC 7638 thumbprint) and algorithm of each key, what it is for now, and from when it signs:
  signing    signs what is signed now
  upcoming   will sign, and is in the key set already
  published  signs no more, but is in the key set for what it signed; or the configuration has it after the first
  past       is not in the key set any more; the next rotation removes it`,
		Args: usageArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := loadConfig(*configPath)
			if err != nil {
				return hintConfig(*configPath, err)
			}
			keys, err := server.SigningKeys(config, daemon.ReadFile, time.Now())
			if err != nil {
				return err
			}
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(table, "KID\tALGORITHM\tUSE\tFROM")
			for _, k := range keys {
				from := "-"
				if !k.From.IsZero() {
					from = k.From.Format(time.RFC3339)
				}
				fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", k.ID, k.Algorithm, k.Use, from)
			}
			return table.Flush()
		},
	}
}

func signingKeyRotate(configPath *string) *cobra.Command {
	return &cobra.Command{
		Use:   "rotate",
		Short: "Make the next key",
		Long: `rotate makes a key for a server whose configuration names none. The server publishes it within seconds and signs by it ten minutes later, when whoever keeps the key set
has it. The key before stays in the key set until no verdict that it signed can hold any more; after that, the next rotation removes its file.`,
		Example: "  runuser -u trustpool-server -- trustpool-server signing-key rotate",
		Args:    usageArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := loadConfig(*configPath)
			if err != nil {
				return hintConfig(*configPath, err)
			}
			if len(config.Signing.Keys) > 0 {
				return daemon.UsageError{Err: errors.New("the configuration names the keys: put a new one at the end of signing.keys, and at the front when all who verify know it; " +
					"take the old one away when signing.lifetime is over")}
			}
			if !server.IsShared(config.Database) {
				if err := checkOwner(filepath.Dir(config.Database)); err != nil {
					return err
				}
			}
			k, err := server.RotateSigningKey(config, time.Now())
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s signs from %s\n", k.ID, k.From.Format(time.RFC3339))
			return nil
		},
	}
}
