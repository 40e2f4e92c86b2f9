//go:build interop

package agent_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/trustpool/trustpool/agent"
	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/tpmsim/pki"
)

// TestToolsOfGRPCAskAsThePageSays runs the commands of docs/interop.md, with the tools themselves.
func TestToolsOfGRPCAskAsThePageSays(t *testing.T) {
	t.Parallel()

	n := newNodeWith(t, tpmsim.Trusted, func(config *agent.Config, _ *agent.Deps) { config.Listen.Reflection = true })
	n.waitUntilServing(t)

	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "proto"), os.DirFS("../proto")); err != nil {
		t.Fatal(err)
	}

	caller := n.issue(t, pki.Leaf{DNSNames: []string{rawer}, Client: true})

	for name, content := range map[string][]byte{"ca.pem": n.ca.PEM(), "client.pem": caller.CertPEM, "client-key.pem": caller.KeyPEM} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}

	page, err := os.ReadFile("../docs/interop.md")
	if err != nil {
		t.Fatal(err)
	}

	for _, tool := range []struct{ heading, want string }{
		{"## grpcurl", `"quoted": "`}, {"## ghz", `[OK]   200 responses`},
	} {
		_, chapter, _ := strings.Cut(string(page), tool.heading+"\n")
		commands := regexp.MustCompile("(?s)```sh\n(.*?)```").FindStringSubmatch(chapter)

		if commands == nil {
			t.Fatalf("%s: no commands", tool.heading)
		}

		script := strings.ReplaceAll(commands[1], "node1:9443", n.address)
		run := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script)
		run.Dir = dir

		out, err := run.CombinedOutput()
		if err != nil || !strings.Contains(string(out), tool.want) {
			t.Errorf("%s: %v\n%s", tool.heading, err, out)
		}
	}
}

// TestAReflectedContractIsTheOneThatIsServed asks grpcurl for all that it can find.
func TestAReflectedContractIsTheOneThatIsServed(t *testing.T) {
	t.Parallel()

	n := newNodeWith(t, tpmsim.Trusted, func(config *agent.Config, _ *agent.Deps) { config.Listen.Reflection = true })
	n.waitUntilServing(t)

	out, err := exec.CommandContext(t.Context(), "go", "run", grpcurl(t), "-plaintext", "-unix", strings.TrimPrefix(n.unix, "unix://"), "list").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "trustpool.agent.v1.QuoteService\n") || strings.Contains(string(out), "openconfig") {
		t.Errorf("%v\n%s", err, out)
	}

	off := startNode(t, tpmsim.Trusted)
	if out, err := exec.CommandContext(t.Context(), "go", "run", grpcurl(t), "-plaintext", "-unix", strings.TrimPrefix(off.unix, "unix://"), "list").CombinedOutput(); err == nil {
		t.Errorf("it is off, and answers\n%s", out)
	}
}

// grpcurl is the tool at the version that the page pins.
func grpcurl(t *testing.T) string {
	t.Helper()

	page, err := os.ReadFile("../docs/interop.md")
	if err != nil {
		t.Fatal(err)
	}

	return regexp.MustCompile(`github\.com/fullstorydev/grpcurl/cmd/grpcurl@v[0-9.]+`).FindString(string(page))
}
