//go:build kubernetes

package kubernetestest_test

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/trustpool/trustpool/packaging/internal/program"
)

// site is an attestation server with simulated nodes and their agents, all as programs of their own.
type site struct {
	dir    string
	url    string
	server *program.Process
}

// tool is a program of trustpool's, which .ci/kubernetes-test has built.
func tool(t *testing.T, name string) string {
	t.Helper()

	dir := os.Getenv("TRUSTPOOL_BIN")
	if dir == "" {
		t.Fatal("TRUSTPOOL_BIN is not set: run make kubernetes-test")
	}

	return filepath.Join(dir, name)
}

// startSite starts nodes node1, node2 and so on, and a server that knows them and trusts none yet.
func startSite(t *testing.T, nodes int) *site {
	t.Helper()

	s := &site{dir: t.TempDir()}
	sim := program.Start(t, tool(t, "trustpool-sim"), "--dir", s.path("sim"), "--nodes", fmt.Sprint(nodes))
	until(t, "the simulated nodes", func() error { return sim.Saying("for a server") })

	writeFile(t, s.path("server.yaml"), fmt.Appendf(nil, `
database: %[1]s/trustpool.db
listen: {address: "127.0.0.1:0"}
tls: {certificate: %[1]s/sim/pki/server.pem, key: %[1]s/sim/pki/server-key.pem}
nodes: {certificate: %[1]s/sim/pki/client.pem, key: %[1]s/sim/pki/client-key.pem, ca: %[1]s/sim/pki/ca.pem}
admin: {address: ""}
`, s.dir))
	writeFile(t, s.path("admin"), []byte(s.run(t, "trustpool-server", "--config", s.path("server.yaml"), "token", "add", "admin", "--role", "admin")))
	writeFile(t, s.path("reader"), []byte(s.run(t, "trustpool-server", "--config", s.path("server.yaml"), "token", "add", "kubernetes", "--role", "reader")))

	s.server = program.Start(t, tool(t, "trustpool-server"), "--config", s.path("server.yaml"))
	until(t, "the attestation server", func() error { return s.server.Saying(`"msg":"listening"`) })
	s.url = "https://" + regexp.MustCompile(`"msg":"listening","address":"([^"]*)"`).FindStringSubmatch(s.server.Said.String())[1]

	s.run(t, "trustpoolctl", "pool", "put", "sim", "--require", "platform=any_of", "--require", "hypervisor=any_of", "--allow-simulated-nodes")
	s.run(t, "trustpoolctl", "node", "import", "sim/nodes.csv")
	until(t, "enrolment", func() error { return s.listed(t, " no_policy", nodes) })

	return s
}

// trust takes what node1 has booted for good.
func (s *site) trust(t *testing.T) {
	t.Helper()

	s.run(t, "trustpoolctl", "knowngood", "capture", "node1", "--prefix", "xen")
	s.run(t, "trustpoolctl", "knowngood", "approve", "xen-platform")
	s.run(t, "trustpoolctl", "knowngood", "approve", "xen-hypervisor")
}

// reboot boots a node into a scenario of the simulator's.
func (s *site) reboot(t *testing.T, node, scenario string) {
	t.Helper()
	s.run(t, "trustpool-sim", "reboot", "--dir", "sim", node, "--scenario", scenario)
}

func (s *site) listed(t *testing.T, what string, times int) error {
	t.Helper()

	if list := s.run(t, "trustpoolctl", "node", "list"); strings.Count(list, what) != times {
		return fmt.Errorf("not %d times %q in\n%s", times, what, list)
	}

	return nil
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

// run runs a command, which has to succeed.
func (s *site) run(t *testing.T, name string, args ...string) string {
	t.Helper()

	var out, said bytes.Buffer
	cmd := exec.Command(tool(t, name), args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, &out, &said
	cmd.Env = append(os.Environ(), "TRUSTPOOL_SERVER="+s.url, "TRUSTPOOL_TOKEN_FILE="+s.path("admin"), "TRUSTPOOL_CA="+s.path("sim/pki/ca.pem"))

	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out.String(), said.String())
	}

	return out.String()
}

// publisher starts one that knows the cluster by its account's token, and bars what is not trusted.
func (s *site) publisher(t *testing.T, r *realCluster) *program.Process {
	t.Helper()

	writeFile(t, s.path("kubernetes-ca.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.cluster.ca}))
	writeFile(t, s.path("kubernetes.token"), []byte(r.publisher))
	writeFile(t, s.path("publish.yaml"), fmt.Appendf(nil, `
server: {url: %q, token_file: %[2]s/reader, ca: %[2]s/sim/pki/ca.pem}
interval: 1s
max_age: 5s
%[4]s
kubernetes: {url: %[3]q, token_file: %[2]s/kubernetes.token, ca: %[2]s/kubernetes-ca.pem}
admin: {address: ""}
`, s.url, s.dir, r.url, recipe(t, "no_guests: untrusted")))

	return program.Start(t, tool(t, "trustpool-server"), "publish", "kubernetes", "--config", s.path("publish.yaml"))
}
