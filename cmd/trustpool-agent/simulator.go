package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-tpm/tpm2/transport"
	"github.com/spf13/cobra"

	"github.com/trustpool/trustpool/agent"
	"github.com/trustpool/trustpool/cmd/internal/daemon"
	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/tpmsim/pki"
)

// simulatorFlags choose a simulated node in place of a real TPM.
type simulatorFlags struct {
	enabled  bool
	scenario string
	loader   string
	dir      string
	listen   string
	given    func(name string) bool // tells whether a flag was given
}

func (f *simulatorFlags) register(command *cobra.Command) {
	flags := command.Flags()
	flags.BoolVar(&f.enabled, "simulator", false, "run on a software TPM after a simulated measured launch; needs no config, TPM or root")
	flags.StringVar(&f.scenario, "scenario", string(tpmsim.Trusted), "what the simulated node booted, see docs/simulator.md: "+names(tpmsim.Scenarios()))
	flags.StringVar(&f.loader, "loader", string(tpmsim.Tboot), "what launched it: "+names(tpmsim.Loaders()))
	flags.StringVar(&f.dir, "simulator-dir", "", "keep the node's TPM and certificates in this `folder`, to boot the same node again (default: a temporary one)")
	flags.StringVar(&f.listen, "listen", "127.0.0.1:0", "`host:port` where the simulator listens; port 0 takes a free one, by default the last one of --simulator-dir")
	f.given = flags.Changed
}

// check refuses flags that do not go together.
func (f *simulatorFlags) check() error {
	if f.enabled {
		if f.given("config") {
			return daemon.UsageError{Err: errors.New("--simulator takes no --config: it makes one of its own")}
		}

		return nil
	}

	for _, name := range []string{"scenario", "loader", "simulator-dir", "listen"} {
		if f.given(name) {
			return daemon.UsageError{Err: fmt.Errorf("--%s is for --simulator: say that too, or leave it out", name)}
		}
	}

	return nil
}

// names lists what a flag may be.
func names[T ~string](all []T) string {
	var list []string
	for _, name := range all {
		list = append(list, string(name))
	}

	return strings.Join(list, ", ")
}

// runSimulator runs the agent, as it is, on a simulated node, with certificates made on the spot.
func runSimulator(ctx context.Context, flags simulatorFlags, stdout, stderr io.Writer) (err error) {
	options, err := flags.options()
	if err != nil {
		return err
	}

	dir, remove, err := simulatorDir(flags.dir)
	if err != nil {
		return err
	}
	defer remove()

	options.StateDir = filepath.Join(dir, "tpm")

	node, err := tpmsim.Start(ctx, options)
	if err != nil {
		return fmt.Errorf("starting the simulated node: %w", err)
	}
	defer func() { err = errors.Join(err, node.Close()) }()

	config, err := simulatorConfig(dir, flags, node)
	if err != nil {
		return err
	}

	tlsConfig, err := serverTLS(config)
	if err != nil {
		return err
	}

	deps := agent.Deps{
		TLS:       tlsConfig,
		Logger:    daemon.NewLogger(stderr),
		OpenTPM:   func() (transport.TPMCloser, error) { return keptOpen{node}, nil },
		Simulated: true,
	}
	defer func() { _ = os.Remove(filepath.Join(dir, addressFile)) }() // nobody is there any more

	return serve(ctx, config, deps, func(address string) error {
		config.Listen.Address = address

		return announce(stdout, dir, config, flags.scenario)
	})
}

// options are those of the node.
func (f *simulatorFlags) options() (options tpmsim.Options, err error) {
	if options.Scenario, err = tpmsim.ParseScenario(f.scenario); err != nil {
		return options, daemon.UsageError{Err: err}
	}

	if options.Loader, err = tpmsim.ParseLoader(f.loader); err != nil {
		return options, daemon.UsageError{Err: err}
	}

	return options, nil
}

// keptOpen lets the agent close and open its way to the TPM without ending the node.
type keptOpen struct {
	transport.TPM
}

// Close implements transport.TPMCloser.
func (keptOpen) Close() error { return nil }

// simulatorDir makes the node's folder. A temporary one is removed at the end.
func simulatorDir(dir string) (path string, remove func(), err error) {
	if dir == "" {
		dir, err = os.MkdirTemp("", "trustpool-simulator-")
		if err != nil {
			return "", nil, fmt.Errorf("making a folder for the simulated node: %w", err)
		}

		return dir, func() { _ = os.RemoveAll(dir) }, nil
	}

	dir, err = filepath.Abs(dir)
	if err != nil {
		return "", nil, fmt.Errorf("making a folder for the simulated node: %w", err)
	}

	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", nil, fmt.Errorf("making a folder for the simulated node: %w", err)
	}

	return dir, func() {}, nil
}

// simulatorConfig makes certificates and the files of a host, and a config that names them.
func simulatorConfig(dir string, flags simulatorFlags, node *tpmsim.Node) (agent.Config, error) {
	certificates := filepath.Join(dir, "pki")
	if err := writePKI(certificates, listenIPs(flags.listen)...); err != nil {
		return agent.Config{}, fmt.Errorf("making certificates: %w", err)
	}

	// The agent finds the logs below this folder as it finds them on a real host.
	root := filepath.Join(dir, "root")
	if err := node.WriteRoot(root, ""); err != nil {
		return agent.Config{}, fmt.Errorf("laying out the simulated node's files: %w", err)
	}

	state := filepath.Join(dir, "state")
	if err := os.MkdirAll(state, 0o700); err != nil {
		return agent.Config{}, fmt.Errorf("making a folder for the agent's state: %w", err)
	}

	config := agent.DefaultConfig()
	// Nothing is there: programs that find this config after the simulator has ended must not take the host's own TPM for the node's.
	config.TPM.Device = filepath.Join(dir, "tpm", "only-while-the-simulator-runs")
	config.StateDir = state
	config.Listen.Address = flags.listenAddress(dir)
	config.Listen.Unix = socketIn(dir)
	config.Admin.Address = ""
	config.TLS = agent.TLSConfig{
		Certificate: filepath.Join(certificates, "server.pem"),
		Key:         filepath.Join(certificates, "server-key.pem"),
		ClientCA:    filepath.Join(certificates, "ca.pem"),
	}
	config.Clients = []agent.ClientRule{{SAN: []string{"dns:" + simulatorClient}, Roles: agent.Roles()}}
	config.Logs = agent.LogsConfig{Root: root}

	if err := keepAuths(dir, tpmsim.Scenario(flags.scenario), &config); err != nil {
		return agent.Config{}, fmt.Errorf("writing authorisation values: %w", err)
	}

	if err := config.Validate(); err != nil {
		return agent.Config{}, daemon.UsageError{Err: err}
	}

	return config, nil
}

// keepAuths gives the agent the authorisation values that a scenario left in the TPM, as an operator would. Like them, the files stay until the TPM is cleared or replaced.
func keepAuths(dir string, scenario tpmsim.Scenario, config *agent.Config) error {
	for _, auth := range []struct {
		name, value string
		file        *string
	}{
		{"owner-auth", tpmsim.SecLOwnerAuth, &config.TPM.OwnerAuthFile},
		{"endorsement-auth", tpmsim.SecLEndorsementAuth, &config.TPM.EndorsementAuthFile},
	} {
		path := filepath.Join(dir, auth.name)

		var err error

		switch scenario {
		case tpmsim.SecLHost:
			err = os.WriteFile(path, []byte(auth.value+"\n"), 0o600)
		case tpmsim.Cleared, tpmsim.Replaced:
			err = os.Remove(path)
		}

		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}

		if _, err := os.Stat(path); err == nil {
			*auth.file = path
		}
	}

	return nil
}

// simulatorClient is the name in the client's certificate.
const simulatorClient = "client.trustpool.example"

// writePKI makes new certificates for each run; they live for a day.
func writePKI(dir string, more ...net.IP) error {
	ca, err := pki.New("trustpool simulator")
	if err != nil {
		return err
	}

	server, err := ca.Issue(pki.Leaf{
		DNSNames: []string{"localhost"}, IPs: append([]net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}, more...), Server: true,
	})
	if err != nil {
		return err
	}

	client, err := ca.Issue(pki.Leaf{DNSNames: []string{simulatorClient}, Client: true})
	if err != nil {
		return err
	}

	return pki.WriteDir(dir, ca, server, client)
}
