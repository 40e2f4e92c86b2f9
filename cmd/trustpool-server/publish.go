package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/trustpool/trustpool/cmd/internal/daemon"
	"github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/server/publish"
)

// sink is a kind of place where verdicts are published.
type sink struct {
	name, short string
	// config returns the sink's configuration file with its defaults, /etc/trustpool-server/publish-NAME.yaml.
	config func() publish.File
}

// sinks are all of them. A further one is a file in server/publish, and a line here.
func sinks() []sink {
	return []sink{
		{"placement", "Keep traits in OpenStack's Placement on trusted hosts", func() publish.File { return publish.DefaultPlacementFile() }},
		{"kubernetes", "Keep labels and taints on the nodes of a Kubernetes cluster", func() publish.File { return publish.DefaultKubernetesFile() }},
	}
}

func (s sink) path() string { return "/etc/trustpool-server/publish-" + s.name + ".yaml" }

func publishCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "publish",
		Short: "Keep marks on trusted hosts where a scheduler looks for them",
		Long: `publish asks an attestation server for the verdicts on all hosts that a scheduler knows, and keeps marks there on those that are trusted, and on no others. It runs on its
own, beside the attestation server or elsewhere.`,
		// Whoever misspells where to is told so, and not that nowhere takes the flags that he wrote.
		FParseErrWhitelist: cobra.FParseErrWhitelist{UnknownFlags: true},
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return daemon.UsageError{Err: fmt.Errorf("nobody publishes to %q: write %s", args[0], sinkNames())}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			return daemon.UsageError{Err: fmt.Errorf("write where to: %s; see %s --help", sinkNames(), cmd.CommandPath())}
		},
	}
	for _, s := range sinks() {
		command.AddCommand(s.command())
	}
	return command
}

func sinkNames() string {
	var names []string
	for _, s := range sinks() {
		names = append(names, s.name)
	}
	return strings.Join(names, " or ")
}

// publishFlags are those of one command line.
type publishFlags struct {
	config                               string
	once, dryRun, json, bars, withdrawal bool
}

func (s sink) command() *cobra.Command {
	var f publishFlags
	command := &cobra.Command{
		Use:   s.name,
		Short: s.short,
		Long: s.short + `. It runs in the foreground and publishes changes of verdicts as they happen; at each interval it looks at all hosts. Where the attestation server does not
answer for max_age, no host is trusted.

SIGINT and SIGTERM end it; what it published stays, until "withdraw" takes it away. It exits with 2 for wrong flags or config, and with 1 if it fails at run time.`,
		Example: fmt.Sprintf(`  trustpool-server publish %[1]s
  trustpool-server publish %[1]s --dry-run
  trustpool-server publish %[1]s withdraw`, s.name),
		Args: usageArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.json && !f.once && !f.dryRun {
				return daemon.UsageError{Err: errors.New("--json goes with --once or --dry-run")}
			}
			if f.once || f.dryRun {
				return s.onHand(cmd, f, func(ctx context.Context, p *publish.Publisher) (publish.Report, error) { return p.Once(ctx) })
			}
			return s.run(cmd.Context(), f.config, cmd.ErrOrStderr())
		},
	}
	command.PersistentFlags().StringVar(&f.config, "config", s.path(), fmt.Sprintf("configuration `file`, see publish-%s.yaml(5)", s.name))
	command.Flags().BoolVar(&f.once, "once", false, "look at all hosts once, and end")
	command.Flags().BoolVar(&f.dryRun, "dry-run", false, "tell once what would be written, and which hosts get no mark; write nothing")
	command.Flags().BoolVar(&f.json, "json", false, "tell it in JSON")
	command.AddCommand(s.withdrawCommand(&f), s.checkCommand(&f))
	return command
}

func (s sink) withdrawCommand(f *publishFlags) *cobra.Command {
	command := &cobra.Command{
		Use:   "withdraw",
		Short: "Take the marks from all hosts",
		Long: `withdraw takes all marks that the configuration names from all hosts, so that no scheduler finds a trusted one. It does not ask the attestation server. A publisher that
runs sets them again: stop it first. It exits with 1 if marks may be left.`,
		Args: usageArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.withdrawal = true
			return s.onHand(cmd, *f, func(ctx context.Context, p *publish.Publisher) (publish.Report, error) {
				return p.Withdraw(ctx, f.bars)
			})
		},
	}
	command.Flags().BoolVar(&f.bars, "bars", false, "also lift the bars that a publisher has set")
	command.Flags().BoolVar(&f.dryRun, "dry-run", false, "tell what would be written, and write nothing")
	command.Flags().BoolVar(&f.json, "json", false, "tell it in JSON")
	return command
}

func (s sink) checkCommand(f *publishFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "check-config",
		Short: "Check the configuration file and the files it names",
		Long:  "check-config reads the configuration file as the publisher would and tells all that is wrong with it. It exits with 0 if nothing is, else with 2. It calls nobody.",
		Args:  usageArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := s.open(*f, slog.New(slog.DiscardHandler), prometheus.NewRegistry()); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is good\n", f.config)
			return nil
		},
	}
}

// onHand does something once, for a person or a script, and tells what was done.
func (s sink) onHand(cmd *cobra.Command, f publishFlags, do func(context.Context, *publish.Publisher) (publish.Report, error)) error {
	opened, err := s.open(f, daemon.NewLogger(cmd.ErrOrStderr()), prometheus.NewRegistry())
	if err != nil {
		return err
	}
	deps := opened.deps
	deps.DryRun = f.dryRun
	report, err := do(cmd.Context(), publish.New(*opened.config, deps))
	if f.json {
		return errors.Join(err, json.NewEncoder(cmd.OutOrStdout()).Encode(report))
	}
	printReport(cmd.OutOrStdout(), report)
	return err
}

func printReport(w io.Writer, r publish.Report) {
	verb := "wrote"
	if r.DryRun {
		verb = "would write"
	}
	for _, c := range r.Changes {
		fmt.Fprintf(w, "%s %s (%s, %s): marks %v -> %v", verb, c.Host, c.Trust, c.Reason, c.MarksBefore, c.Marks)
		if c.Bar != c.BarBefore {
			fmt.Fprintf(w, ", bar %s -> %s", c.BarBefore, c.Bar)
		}
		if c.Error != "" {
			fmt.Fprintf(w, ": FAILED: %s", c.Error)
		}
		fmt.Fprintln(w)
	}
	if r.DryRun {
		printUnmarked(w, r.Unmarked)
	}
	if !r.Unread {
		fmt.Fprintf(w, "%d hosts, %d differed\n", r.Hosts, len(r.Changes))
	}
}

func printUnmarked(w io.Writer, hosts []publish.Unmarked) {
	for _, h := range hosts {
		fmt.Fprintf(w, "no marks for %s (%s, %s)", h.Host, h.Trust, h.Reason)
		if h.Trust == api.Trusted {
			fmt.Fprintf(w, ": none is for its pool, %s", h.Pool)
		}
		fmt.Fprintln(w)
	}
}
