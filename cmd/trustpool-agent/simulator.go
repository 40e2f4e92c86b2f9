package main

import (
	"context"
	"errors"
	"fmt"
	"io"
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
}

func (f *simulatorFlags) register(command *cobra.Command) {
	flags := command.Flags()
	flags.BoolVar(&f.enabled, "simulator", false, "run on a software TPM after a simulated measured launch; needs no config, TPM or root")
	flags.StringVar(&f.scenario, "scenario", string(tpmsim.Trusted), "what the simulated node booted: "+names(tpmsim.Scenarios()))
	flags.StringVar(&f.loader, "loader", string(tpmsim.Tboot), "what launched it: "+names(tpmsim.Loaders()))
	flags.StringVar(&f.dir, "simulator-dir", "", "keep the node's TPM and certificates in this `folder`, to boot the same node again (default: a temporary one)")
	flags.StringVar(&f.listen, "listen", "127.0.0.1:0", "`host:port` where the simulator listens; port 0 takes a free one")
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
	scenario, err := tpmsim.ParseScenario(flags.scenario)
	if err != nil {
		return daemon.UsageError{Err: err}
	}

	loader, err := tpmsim.ParseLoader(flags.loader)
	if err != nil {
		return daemon.UsageError{Err: err}
	}

	dir, remove, err := simulatorDir(flags.dir)
	if err != nil {
		return err
	}
	defer remove()

	node, err := tpmsim.Start(ctx, tpmsim.Options{Scenario: scenario, Loader: loader, StateDir: filepath.Join(dir, "tpm")})
	if err != nil {
		return fmt.Errorf("starting the simulated node: %w", err)
	}
	defer func() { err = errors.Join(err, node.Close()) }()

	config, err := simulatorConfig(dir, flags.listen, node)
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

	return serve(ctx, config, deps, func(address string) error { return announce(stdout, dir, address, scenario) })
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
func simulatorConfig(dir, listen string, node *tpmsim.Node) (agent.Config, error) {
	certificates := filepath.Join(dir, "pki")
	if err := writePKI(certificates); err != nil {
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
	config.StateDir = state
	config.Listen.Address = listen
	config.Admin.Address = ""
	config.TLS = agent.TLSConfig{
		Certificate: filepath.Join(certificates, "server.pem"),
		Key:         filepath.Join(certificates, "server-key.pem"),
		ClientCA:    filepath.Join(certificates, "ca.pem"),
	}
	config.Clients = []agent.ClientRule{{SAN: []string{"dns:" + simulatorClient}, Roles: agent.Roles()}}
	config.Logs = agent.LogsConfig{Root: root}

	if err := config.Validate(); err != nil {
		return agent.Config{}, daemon.UsageError{Err: err}
	}

	return config, nil
}

// simulatorClient is the name in the client's certificate.
const simulatorClient = "client.trustpool.example"

// writePKI makes new certificates for each run; they live for a day.
func writePKI(dir string) error {
	ca, err := pki.New("trustpool simulator")
	if err != nil {
		return err
	}

	server, err := ca.Issue(pki.Leaf{DNSNames: []string{"localhost"}, IPs: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}, Server: true})
	if err != nil {
		return err
	}

	client, err := ca.Issue(pki.Leaf{DNSNames: []string{simulatorClient}, Client: true})
	if err != nil {
		return err
	}

	return pki.WriteDir(dir, ca, server, client)
}

// announce says where the node is, for people and for scripts.
func announce(stdout io.Writer, dir, address string, scenario tpmsim.Scenario) error {
	if err := os.WriteFile(filepath.Join(dir, "address"), []byte(address+"\n"), 0o600); err != nil {
		return fmt.Errorf("writing the address: %w", err)
	}

	fmt.Fprintf(stdout, "simulated node (%s) at %s, Ctrl-C ends it\n", scenario, address)
	fmt.Fprintf(stdout, "try: %s quote --address %s --tls-dir %s\n", besides("trustpoolctl"), address, filepath.Join(dir, "pki"))

	return nil
}

// besides returns how to call a program that lies beside this one, else just its name.
func besides(name string) string {
	self, err := os.Executable()
	if err != nil {
		return name
	}

	path := filepath.Join(filepath.Dir(self), name)
	if _, err := os.Stat(path); err != nil {
		return name
	}

	return path
}
