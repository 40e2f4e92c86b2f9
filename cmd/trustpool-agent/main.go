// Command trustpool-agent answers attestation challenges on a compute node: it signs nonce-bound quotes of the PCRs with a key that never leaves the TPM, and
// hands on the event logs. See agent.Config for its configuration file.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/trustpool/trustpool/cmd/internal/daemon"
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
	var (
		configPath string
		simulator  simulatorFlags
	)

	root := &cobra.Command{
		Use:   "trustpool-agent",
		Short: "Sign TPM quotes for attestation servers",
		Long: `trustpool-agent runs on a compute node in the foreground and answers attestation challenges over gRPC with mutual TLS: it signs the
caller's nonce and the asked PCRs with an attestation key in the TPM, and hands on the event logs. It measures and signs; it never judges.

If OTEL_EXPORTER_OTLP_ENDPOINT in its environment names an OpenTelemetry collector (http://HOST:4317), it sends spans of its calls there, over gRPC. The other
standard variables of OpenTelemetry count, too: OTEL_TRACES_EXPORTER, OTEL_SDK_DISABLED, OTEL_EXPORTER_OTLP_HEADERS, and so on.

SIGINT and SIGTERM end it after the calls under way; it then exits with 0. It exits with 2 for wrong flags or config, and with 1 if it
fails at run time.`,
		Example: `  trustpool-agent --config /etc/trustpool-agent/agent.yaml
  trustpool-agent --simulator
  trustpool-agent --simulator --scenario other-hypervisor --simulator-dir ./node1`,
		Version:       daemon.Build(),
		Args:          usageArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := simulator.check(); err != nil {
				return err
			}

			if simulator.enabled {
				return runSimulator(cmd.Context(), simulator, cmd.OutOrStdout(), cmd.ErrOrStderr())
			}

			return hintConfig(configPath, runService(cmd.Context(), configPath, cmd.ErrOrStderr()))
		},
	}
	root.Flags().StringVar(&configPath, "config", "/etc/trustpool-agent/agent.yaml", "configuration `file`, see agent.yaml(5)")
	simulator.register(root)
	root.AddCommand(checkConfigCommand(), collectCommand(), doctorCommand(), identityCommand())
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		return daemon.UsageError{Err: fmt.Errorf("%w; see trustpool-agent --help", err)}
	})

	return root
}

// hintConfig says where to begin if there is no config file.
func hintConfig(path string, err error) error {
	if _, gone := os.Stat(path); err == nil || !errors.Is(gone, fs.ErrNotExist) {
		return err
	}

	return fmt.Errorf("%w\n  A commented sample is packaging/trustpool-agent/agent.yaml; docs/install.md says what it needs. Without a TPM: trustpool-agent --simulator", err)
}

// usageArgs refuses positional arguments.
func usageArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return daemon.UsageError{Err: fmt.Errorf("unexpected %q; see %s --help", args[0], cmd.CommandPath())}
	}

	return nil
}

func checkConfigCommand() *cobra.Command {
	var configPath string

	command := &cobra.Command{
		Use:           "check-config",
		Short:         "Check the configuration file and the files it names",
		Long:          "check-config reads the configuration file as the daemon would and tells all that is wrong with it. It exits with 0 if nothing is, else with 2.",
		Example:       "  trustpool-agent check-config --config /etc/trustpool-agent/agent.yaml",
		Args:          usageArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := loadConfig(configPath)
			if err != nil {
				return err
			}

			_, err = serverTLS(config)
			if err = errors.Join(config.CheckFiles(), err); err != nil {
				return daemon.UsageError{Err: err}
			}

			fmt.Fprintf(cmd.OutOrStdout(), "%s is good\n", configPath)

			return nil
		},
	}
	command.Flags().StringVar(&configPath, "config", "/etc/trustpool-agent/agent.yaml", "configuration `file`")

	return command
}
