// Command trustpool-server is the attestation server: it challenges compute nodes, compares what they answer with what an administrator declared good, and answers "is this host trusted?". See
// server.Config for its configuration file.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/trustpool/trustpool/cmd/internal/daemon"
	"github.com/trustpool/trustpool/server"
)

func main() {
	os.Exit(daemon.Run(run))
}

// run carries out one command line.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	command := rootCommand()
	command.SetArgs(args)
	command.SetOut(stdout)
	command.SetErr(stderr)
	return command.ExecuteContext(ctx)
}

func rootCommand() *cobra.Command {
	var configPath string
	root := &cobra.Command{
		Use:   "trustpool-server",
		Short: "Challenge compute nodes and tell which are trusted",
		Long: `trustpool-server runs in the foreground. It challenges the trustpool-agent of each node with a fresh nonce, compares the answer with what an administrator
declared good, keeps the verdicts in a database, and answers by host name over HTTPS: to /v1, and to PollHosts, which OpenStack's TrustedFilter asks.
Whoever asks shows a token or a client certificate. trustpoolctl administers it.

SIGINT and SIGTERM end it after the requests under way; it then exits with 0. SIGHUP has it read the TLS files and signing keys again; the configuration is read at the
start only. It exits with 2 for wrong flags or config, and with 1 if it fails at run time.`,
		Example: `  trustpool-server --config /etc/trustpool-server/server.yaml
  trustpool-server token add alice --role admin`,
		Version:       daemon.Build(),
		Args:          usageArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return hintConfig(configPath, runService(cmd.Context(), configPath, cmd.ErrOrStderr()))
		},
	}
	root.PersistentFlags().StringVar(&configPath, "config", "/etc/trustpool-server/server.yaml", "configuration `file`, see server.yaml(5)")
	root.AddCommand(checkConfigCommand(&configPath), tokenCommand(&configPath), backupCommand(&configPath), restoreCommand(&configPath), markRestoredCommand(&configPath), signingKeyCommand(&configPath), publishCommand(), versionCommand())
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		return daemon.UsageError{Err: fmt.Errorf("%w; see trustpool-server --help", err)}
	})
	return root
}

// hintConfig says where to begin if there is no config file.
func hintConfig(path string, err error) error {
	return hintSample(path, err, "A commented sample is packaging/trustpool-server/server.yaml; docs/server.md says what it needs")
}

func hintSample(path string, err error, hint string) error {
	if _, gone := os.Stat(path); err == nil || !errors.Is(gone, fs.ErrNotExist) {
		return err
	}
	return fmt.Errorf("%w\n  %s", err, hint)
}

// usageArgs refuses positional arguments.
func usageArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return daemon.UsageError{Err: fmt.Errorf("unexpected %q; see %s --help", args[0], cmd.CommandPath())}
	}
	return nil
}

// oneArg wants one positional argument.
func oneArg(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 || args[0] == "" {
			return daemon.UsageError{Err: fmt.Errorf("write one %s; see %s --help", what, cmd.CommandPath())}
		}
		return nil
	}
}

func checkConfigCommand(configPath *string) *cobra.Command {
	return &cobra.Command{
		Use:           "check-config",
		Short:         "Check the configuration file and the files it names",
		Long:          "check-config reads the configuration file as the server would and tells all that is wrong with it. It exits with 0 if nothing is, else with 2.",
		Example:       "  trustpool-server check-config --config /etc/trustpool-server/server.yaml",
		Args:          usageArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := loadConfig(*configPath)
			if err != nil {
				return hintConfig(*configPath, err)
			}
			_, err = loadFiles(config, slog.New(slog.DiscardHandler))
			if err = errors.Join(config.CheckFiles(), server.CheckSigningKeys(config, daemon.ReadFile), server.CheckWebhooks(config, daemon.ReadFile), err); err != nil {
				return daemon.UsageError{Err: err}
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is good\n", *configPath)
			return nil
		},
	}
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:           "version",
		Short:         "Print the version",
		Long:          "version prints the version of the program.",
		Args:          usageArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			fmt.Fprintln(cmd.OutOrStdout(), "trustpool-server", daemon.Build())
			return nil
		},
	}
}

// loadConfig reads the config over the defaults.
func loadConfig(path string) (server.Config, error) {
	config := server.DefaultConfig()
	err := daemon.LoadConfig(path, &config)
	if err == nil {
		config.Database, err = server.ResolveDatabase(config.Database, daemon.CredentialPath)
		if err != nil {
			err = daemon.UsageError{Err: fmt.Errorf("database: %w", err)}
		}
	}
	return config, err
}
