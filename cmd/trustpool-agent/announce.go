package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/trustpool/trustpool/agent"
)

// Files in the simulator's folder that tell where the node is, and where it was.
const (
	addressFile     = "address"
	lastAddressFile = "last-address"
)

// listenAddress is where to listen. Without --listen the node comes back to the address that it had, if that is free.
func (f *simulatorFlags) listenAddress(dir string) string {
	if f.given("listen") {
		return f.listen
	}

	last, err := os.ReadFile(filepath.Join(dir, lastAddressFile)) // #nosec G304 -- in our own folder
	if err != nil {
		return f.listen
	}

	address := strings.TrimSpace(string(last))

	listener, err := net.Listen("tcp", address)
	if err != nil {
		return f.listen
	}

	_ = listener.Close()

	return address
}

// listenIPs returns the IP address in host:port, if it has one that is in no certificate yet.
func listenIPs(address string) []net.IP {
	host, _, _ := net.SplitHostPort(address)
	if ip := net.ParseIP(host); ip != nil && !ip.IsUnspecified() && !ip.IsLoopback() {
		return []net.IP{ip}
	}

	return nil
}

// reachable returns an address that can be called, also where the agent listens on all.
func reachable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}

	if ip := net.ParseIP(host); ip == nil || !ip.IsUnspecified() {
		return address
	}

	return net.JoinHostPort("127.0.0.1", port)
}

// socketIn names the node's unix socket. Where the path would be too long for one (unix(7): 108 bytes with the zero at the end), there is none.
func socketIn(dir string) string {
	const most = 107

	if path := filepath.Join(dir, "agent.sock"); len(path) <= most {
		return path
	}

	return ""
}

// announce says where the node is, for people and for scripts, and writes the config that it runs with.
func announce(stdout io.Writer, dir string, config agent.Config, scenario string) error {
	address := reachable(config.Listen.Address)

	text, err := configText(config)
	if err != nil {
		return fmt.Errorf("writing the config: %w", err)
	}

	for name, content := range map[string][]byte{
		addressFile: []byte(address + "\n"), lastAddressFile: []byte(config.Listen.Address + "\n"), "agent.yaml": text,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return fmt.Errorf("telling where the node is: %w", err)
		}
	}

	fmt.Fprintf(stdout, "simulated node (%s) at %s, Ctrl-C ends it\n", scenario, address)
	fmt.Fprintf(stdout, "try: %s quote --address %s --tls-dir %s\n", shellWord(besides("trustpoolctl")), address, shellWord(filepath.Join(dir, "pki")))

	return nil
}

// configText is what an operator would have written.
func configText(config agent.Config) ([]byte, error) {
	type section map[string]any

	clients := make([]section, 0, len(config.Clients))
	for _, rule := range config.Clients {
		clients = append(clients, section{"san": rule.SAN, "roles": rule.Roles})
	}

	text, err := yaml.Marshal(section{
		"tpm": section{
			"device": config.TPM.Device, "owner_auth_file": config.TPM.OwnerAuthFile, "endorsement_auth_file": config.TPM.EndorsementAuthFile,
		},
		"listen":    section{"address": config.Listen.Address, "unix": config.Listen.Unix},
		"tls":       section{"certificate": config.TLS.Certificate, "key": config.TLS.Key, "client_ca": config.TLS.ClientCA},
		"clients":   clients,
		"logs":      section{"root": config.Logs.Root, "collected": config.Logs.Collected},
		"state_dir": config.StateDir,
		"admin":     section{"address": config.Admin.Address},
	})
	if err != nil {
		return nil, err
	}

	return append([]byte("# The simulated node's config, written anew at each start.\n"), text...), nil
}

// shellWord writes a path so that a shell takes it as one word.
func shellWord(path string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+:@%", r)
	}
	if strings.IndexFunc(path, func(r rune) bool { return !plain(r) }) < 0 {
		return path
	}

	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
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
