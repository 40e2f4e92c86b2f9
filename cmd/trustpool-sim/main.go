// Command trustpool-sim is a computing centre without hardware: many simulated nodes, each a software TPM after a measured launch with the real agent on it, in one
// process. They can be rebooted into something else while they run. It writes what an attestation server needs to enrol them. See docs/simulator.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/trustpool/trustpool/cmd/internal/daemon"
	"github.com/trustpool/trustpool/tpmsim"
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
	var o options

	root := &cobra.Command{
		Use:   "trustpool-sim",
		Short: "Run many simulated nodes, each with the real agent",
		Long: `trustpool-sim runs simulated nodes on loopback until it is interrupted: each is a software TPM (swtpm) after a measured launch, and the real agent that
answers for it with mutual TLS. All keys are made when it runs. The folder keeps the TPMs, so that the same nodes boot again, at their old addresses where these are free.

It writes into the folder what an attestation server needs:

  nodes.csv       the list of nodes, to be imported: names, addresses, and the Name of the EK that each was shipped with
  inventory.csv   the same EKs as an inventory, for trustpoolctl enroll
  ek-roots.pem    the authorities of the EK certificates
  pki/            ca.pem; client.pem and client-key.pem, by which the agents know the server; server.pem and server-key.pem, for the server's own listener

While it runs, the subcommands reboot nodes, switch them off, and list them. SIGINT and SIGTERM end it, and every node with it; it then exits with 0. It exits with 2
for wrong flags, and with 1 if it fails.`,
		Example: `  trustpool-sim --dir ./sim
  trustpool-sim --dir ./sim --nodes 20 --mix other-hypervisor=3,no-launch=1,capped
  trustpool-sim reboot --dir ./sim node3 --scenario other-hypervisor
  trustpool-sim off --dir ./sim node4
  trustpool-sim list --dir ./sim`,
		Version:       daemon.Build(),
		Args:          usageArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return daemon.UsageError{Err: err}
			}

			return runFleet(cmd.Context(), o, newTeller(cmd.OutOrStdout(), o.json), daemon.NewLogger(cmd.ErrOrStderr()))
		},
	}
	o.register(root)
	root.AddCommand(rebootCommand(), offCommand(), listCommand())
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return daemon.UsageError{Err: fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())}
	})

	return root
}

// options say what nodes there are.
type options struct {
	dir      string
	nodes    int
	mix      string
	loader   string
	domain   string
	pool     string
	listen   string
	parallel int
	json     bool

	scenarios []tpmsim.Scenario // of node 1, 2, ...
}

const (
	// maxNodes bounds the nodes of one process: each is a process of swtpm with several descriptors.
	maxNodes = 2000
	// defaultParallel is how many nodes boot at a time. Making a TPM's keys is work for a processor.
	defaultParallel = 4
)

func (o *options) register(command *cobra.Command) {
	flags := command.Flags()
	flags.StringVar(&o.dir, "dir", "", "the `folder` of the nodes; it is made if it is missing, and stays (required)")
	flags.IntVar(&o.nodes, "nodes", 5, "how `many` nodes, at most "+fmt.Sprint(maxNodes))
	flags.StringVar(&o.mix, "mix", "", "how many of them, the last ones, boot into another scenario than trusted: `SCENARIO=N,...`; of "+scenarioNames())
	flags.StringVar(&o.loader, "loader", string(tpmsim.Tboot), "what launches them, see docs/simulator.md")
	flags.StringVar(&o.domain, "domain", "sim.example", "the `domain` that their names end in: node1.sim.example")
	flags.StringVar(&o.pool, "pool", "sim", "the `pool` that nodes.csv puts them into")
	flags.StringVar(&o.listen, "listen", "127.0.0.1", "the IP `address` that the agents listen on")
	flags.IntVar(&o.parallel, "parallel", defaultParallel, "how `many` nodes boot at a time")
	flags.BoolVar(&o.json, "json", false, "tell what happens as JSON, one object a line")
}

// check reports all that is wrong, and lays out the scenarios.
func (o *options) check() error {
	var errs []error

	if o.dir == "" {
		errs = append(errs, errors.New("--dir: is missing, name the folder that keeps the nodes"))
	}

	if o.nodes < 1 || o.nodes > maxNodes {
		errs = append(errs, fmt.Errorf("--nodes: %d nodes, ask for 1 to %d", o.nodes, maxNodes))
	}

	if o.parallel < 1 {
		errs = append(errs, errors.New("--parallel: write at least 1"))
	}

	if net.ParseIP(o.listen) == nil {
		errs = append(errs, fmt.Errorf("--listen: %.64q is no IP address, write one such as 127.0.0.1", o.listen))
	}

	if o.domain == "" || strings.Trim(o.domain, "abcdefghijklmnopqrstuvwxyz0123456789-.") != "" {
		errs = append(errs, fmt.Errorf("--domain: %.64q is none, write small letters, digits, dashes and dots", o.domain))
	}

	if o.pool == "" || strings.ContainsAny(o.pool, ",\"\n\r ") {
		errs = append(errs, fmt.Errorf("--pool: %.64q is no name of a pool", o.pool))
	}

	if _, err := tpmsim.ParseLoader(o.loader); err != nil {
		errs = append(errs, fmt.Errorf("--loader: %w", err))
	}

	scenarios, err := parseMix(o.mix, o.nodes)
	if err != nil {
		errs = append(errs, fmt.Errorf("--mix: %w", err))
	}

	o.scenarios = scenarios

	return errors.Join(errs...)
}

// usageArgs refuses positional arguments.
func usageArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return daemon.UsageError{Err: fmt.Errorf("unexpected %q; see %s --help", args[0], cmd.CommandPath())}
	}

	return nil
}
