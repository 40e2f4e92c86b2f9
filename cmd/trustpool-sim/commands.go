package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/trustpool/trustpool/cmd/internal/daemon"
	"github.com/trustpool/trustpool/tpmsim"
)

// remote is a simulator that runs, as a subcommand sees it.
type remote struct {
	dir  string
	json bool
}

func (r *remote) register(command *cobra.Command) {
	command.Flags().StringVar(&r.dir, "dir", "", "the `folder` of the simulator that runs (required)")
	command.Flags().BoolVar(&r.json, "json", false, "answer in JSON")
}

func rebootCommand() *cobra.Command {
	var (
		r        remote
		scenario string
	)

	command := &cobra.Command{
		Use:   "reboot NODE...",
		Short: "Reboot nodes into a scenario, or switch them on",
		Long: `reboot shuts nodes of a trustpool-sim that runs down, in order, and boots them again on the same TPM into a scenario. It ends when their agents have said
whether they can quote.`,
		Example: "  trustpool-sim reboot --dir ./sim node3 --scenario other-hypervisor",
		Args:    someNodes, SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, nodes []string) error {
			if _, err := tpmsim.ParseScenario(scenario); err != nil {
				return daemon.UsageError{Err: fmt.Errorf("--scenario: %w", err)}
			}

			return r.each(cmd, nodes, "reboot?"+url.Values{"scenario": {scenario}}.Encode())
		},
	}
	r.register(command)
	command.Flags().StringVar(&scenario, "scenario", string(tpmsim.Trusted), "what they boot into: "+scenarioNames())

	return command
}

func offCommand() *cobra.Command {
	var r remote

	command := &cobra.Command{
		Use:     "off NODE...",
		Short:   "Switch nodes off",
		Long:    "off shuts nodes of a trustpool-sim that runs down and leaves them off, so that nobody answers at their addresses. reboot switches them on.",
		Example: "  trustpool-sim off --dir ./sim node4",
		Args:    someNodes, SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, nodes []string) error { return r.each(cmd, nodes, "off") },
	}
	r.register(command)

	return command
}

func listCommand() *cobra.Command {
	var r remote

	command := &cobra.Command{
		Use:     "list",
		Short:   "List the nodes",
		Long:    "list tells of each node of a trustpool-sim that runs: its name, its agent's address, what it booted into, and whether its agent can quote.",
		Example: "  trustpool-sim list --dir ./sim",
		Args:    usageArgs, SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var all []nodeState
			if err := r.call(cmd.Context(), http.MethodGet, "/nodes", &all); err != nil {
				return err
			}

			for _, s := range all {
				r.print(cmd.OutOrStdout(), s)
			}

			return nil
		},
	}
	r.register(command)

	return command
}

// someNodes wants names.
func someNodes(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return daemon.UsageError{Err: fmt.Errorf("which node? Write %s NODE...; trustpool-sim list names them", cmd.CommandPath())}
	}

	return nil
}

// each has the simulator do something with nodes, one after the other.
func (r *remote) each(cmd *cobra.Command, nodes []string, what string) error {
	for _, name := range nodes {
		var s nodeState
		if err := r.call(cmd.Context(), http.MethodPost, "/nodes/"+url.PathEscape(name)+"/"+what, &s); err != nil {
			return err
		}

		r.print(cmd.OutOrStdout(), s)
	}

	return nil
}

// print tells of a node, a line each.
func (r *remote) print(out io.Writer, s nodeState) {
	if !r.json {
		fmt.Fprintln(out, s.line())

		return
	}

	_ = json.NewEncoder(out).Encode(s) // as Fprintln
}

// maxAnswer bounds what is read of an answer.
const maxAnswer = 4 << 20

// call asks the simulator.
func (r *remote) call(ctx context.Context, method, path string, into any) error {
	if r.dir == "" {
		return daemon.UsageError{Err: errors.New("--dir: is missing, name the folder of the simulator that runs")}
	}

	socket, err := controlPath(filepath.Clean(r.dir))
	if err != nil {
		return daemon.UsageError{Err: err}
	}

	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	defer client.CloseIdleConnections()

	request, err := http.NewRequestWithContext(ctx, method, "http://trustpool-sim"+path, http.NoBody)
	if err != nil {
		return err
	}

	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("asking the simulator (does one run on %s?): %w", r.dir, err)
	}
	defer response.Body.Close() //nolint:errcheck // read only

	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("asking the simulator: %w", err)
	}

	if response.StatusCode != http.StatusOK {
		return errors.New(strings.TrimSpace(string(body)))
	}

	return json.Unmarshal(body, into)
}
