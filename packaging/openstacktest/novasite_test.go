//go:build openstack

package openstacktest_test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	// siteLimit is how long anything of trustpool may take on a machine with much else to do.
	siteLimit = 2 * time.Minute
	// otherHypervisor is what nodes boot that are not to be trusted.
	otherHypervisor = "other-hypervisor"
)

// site is trustpool as an operator runs it: the commands of cmd/, simulated nodes with their agents, an attestation server, and publishers.
type site struct {
	// life is the test with which all processes end.
	life     testing.TB
	dir, bin string
	// address is the attestation server's.
	address string
	server  *process
}

// build builds the commands, and returns the folder that has them.
func build(t testing.TB) string {
	t.Helper()

	bin := t.TempDir() + string(filepath.Separator)
	root := "github.com/trustpool/trustpool/cmd/"

	if out, err := exec.Command("go", "build", "-o", bin, root+"trustpool-sim", root+"trustpool-server", root+"trustpoolctl").CombinedOutput(); err != nil {
		t.Fatalf("building the commands: %v\n%s", err, out)
	}

	return bin
}

// startSite starts nodes with their agents, node1.sim.example and so on, of which the last others boot another hypervisor, and a server, which enrols them and trusts none of them.
func startSite(t testing.TB, nodes, others int) *site {
	t.Helper()

	s := &site{life: t, dir: t.TempDir(), bin: build(t), address: freeAddress(t)}
	sim := s.start(t, "trustpool-sim", "--dir", s.path("sim"), "--nodes", fmt.Sprint(nodes), "--mix", fmt.Sprintf("%s=%d", otherHypervisor, others))
	sim.waitFor(t, "for a server")

	write(t, s.path("server.yaml"), strings.NewReplacer("DIR", s.dir, "ADDRESS", s.address).Replace(`
database: DIR/trustpool.db
listen: {address: "ADDRESS"}
tls: {certificate: DIR/sim/pki/server.pem, key: DIR/sim/pki/server-key.pem}
nodes: {certificate: DIR/sim/pki/client.pem, key: DIR/sim/pki/client-key.pem, ca: DIR/sim/pki/ca.pem}
admin: {address: ""}
`))
	write(t, s.path("admin"), s.run(t, "trustpool-server", "--config", s.path("server.yaml"), "token", "add", "admin", "--role", "admin"))
	write(t, s.path("reader"), s.run(t, "trustpool-server", "--config", s.path("server.yaml"), "token", "add", "reader", "--role", "reader"))
	s.startServer(t)
	s.ctl(t, "pool", "put", "sim", "--require", "platform=any_of", "--require", "hypervisor=any_of", "--allow-simulated-nodes")
	s.ctl(t, "node", "import", s.path("sim/nodes.csv"))

	return s
}

// trustFirst declares good what the first node has booted.
func (s *site) trustFirst(t testing.TB) {
	t.Helper()
	eventually(t, siteLimit, func() bool {
		_, err := s.try("trustpoolctl", "knowngood", "capture", "node1", "--prefix", "xen")

		return err == nil
	}, func() string { return "node1 is not enrolled:\n" + s.nodes() })
	s.ctl(t, "knowngood", "approve", "xen-platform")
	s.ctl(t, "knowngood", "approve", "xen-hypervisor")
}

// startServer starts the attestation server, and waits until it listens.
func (s *site) startServer(t testing.TB) {
	t.Helper()
	s.server = s.start(t, "trustpool-server", "--config", s.path("server.yaml"))
	s.server.waitFor(t, `"msg":"listening"`)
}

// publisherConfig is that of a publisher. MaxAge is the least that it takes.
const publisherConfig = `
server: {url: "https://ADDRESS", ca: DIR/sim/pki/ca.pem, token_file: DIR/reader}
max_age: 15s
placement: {endpoint: "PLACEMENT", compute_endpoint: "COMPUTE", allow_no_authentication: true}
admin: {address: ""}
`

// maxAge is the max_age of publisherConfig.
const maxAge = 15 * time.Second

// startPublisher starts a publisher to a cloud. Beyond publisherConfig it has the lines of more.
func (s *site) startPublisher(t testing.TB, to *nova, more string) *process {
	t.Helper()

	text := strings.NewReplacer("DIR", s.dir, "ADDRESS", s.address, "PLACEMENT", to.placement.URL, "COMPUTE", to.URL).Replace(publisherConfig + more)
	write(t, s.path("publish.yaml"), text)

	p := s.start(t, "trustpool-server", "publish", "placement", "--config", s.path("publish.yaml"))
	p.waitFor(t, `"msg":"publishing"`)

	return p
}

// withdraw is what the publisher's unit does when a publisher has ended.
func (s *site) withdraw(t testing.TB) {
	t.Helper()
	s.run(t, "trustpool-server", "publish", "placement", "withdraw", "--config", s.path("publish.yaml"))
}

// reboot reboots a node into a scenario, and returns when its agent runs.
func (s *site) reboot(t testing.TB, node, scenario string) {
	t.Helper()
	s.run(t, "trustpool-sim", "reboot", "--dir", s.path("sim"), node, "--scenario", scenario)
}

// ctl is an administrator's command.
func (s *site) ctl(t testing.TB, args ...string) string {
	t.Helper()

	return s.run(t, "trustpoolctl", args...)
}

// nodes is what the server says of all nodes, if it does.
func (s *site) nodes() string {
	text, _ := s.try("trustpoolctl", "node", "list") // if not, the complaint is the text

	return text
}

// trusts tells whether the server trusts a host now.
func (s *site) trusts(host string) bool {
	_, err := s.try("trustpoolctl", "host", "status", host)

	return err == nil
}

// run runs a command, which has to succeed, and returns what it prints.
func (s *site) run(t testing.TB, name string, args ...string) string {
	t.Helper()

	text, err := s.try(name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, text)
	}

	return text
}

// try runs a command, and returns what it prints; if it fails, with what it complains of.
func (s *site) try(name string, args ...string) (string, error) {
	var said output

	cmd := s.command(name, args...)
	cmd.Stderr = &said

	text, err := cmd.Output()
	if err != nil {
		return string(text) + said.String(), err
	}

	return string(text), nil
}

func (s *site) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, name), args...)
	cmd.Env = append(os.Environ(), "TRUSTPOOL_SERVER=https://"+s.address, "TRUSTPOOL_TOKEN_FILE="+s.path("admin"), "TRUSTPOOL_CA="+s.path("sim/pki/ca.pem"))

	return cmd
}

// path is that of a file of the site.
func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

// process is a command that runs.
type process struct {
	cmd  *exec.Cmd
	said *output
}

// start starts a command, which ends with the site at the latest.
func (s *site) start(t testing.TB, name string, args ...string) *process {
	t.Helper()

	p := &process{cmd: s.command(name, args...), said: &output{}}
	p.cmd.Stdout, p.cmd.Stderr = p.said, p.said

	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}

	s.life.Cleanup(func() {
		p.end(os.Interrupt)

		if s.life.Failed() {
			s.life.Logf("%s %s said:\n%s", name, strings.Join(args, " "), p.said)
		}
	})

	return p
}

// end ends the process by a signal, and waits for it. os.Kill leaves it no time for anything.
func (p *process) end(signal os.Signal) {
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Signal(signal)
		_ = p.cmd.Wait() // by a signal
	}
}

// waitFor waits until the process has said something.
func (p *process) waitFor(t testing.TB, text string) {
	t.Helper()
	eventually(t, siteLimit, func() bool { return strings.Contains(p.said.String(), text) },
		func() string { return fmt.Sprintf("%s does not say %q:\n%s", p.cmd, text, p.said) })
}

// freeAddress returns one that was free a moment ago. Its port is none of those that callers get (ip(7): ip_local_port_range), so that it still is when a server is started, or again.
func freeAddress(t testing.TB) string {
	t.Helper()

	for range 100 {
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10_000+rand.N(20_000)))
		if err == nil {
			defer func() { _ = listener.Close() }() // nobody called

			return listener.Addr().String()
		}
	}

	t.Fatal("no port is free")

	return ""
}
