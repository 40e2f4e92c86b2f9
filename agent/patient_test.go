package agent_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/trustpool/trustpool/agent"
	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/tpmsim/tpmsimtest"
)

// patient is a node that the doctor looks at: its TPM on a socket, its files in a folder.
type patient struct {
	dir    string
	config agent.Config
	sim    *tpmsim.Node
}

const thisBoot = "0f4a3b1c-9d2e-4c5f-8a7b-6c5d4e3f2a1b"

// newPatient makes a healthy one.
func newPatient(t *testing.T, options tpmsim.Options) *patient {
	t.Helper()

	p := &patient{dir: t.TempDir(), config: agent.DefaultConfig(), sim: tpmsimtest.Start(t, options)}
	p.serve(t)

	root := filepath.Join(p.dir, "root")
	if err := p.sim.WriteRoot(root, ""); err != nil {
		t.Fatal(err)
	}

	p.config.TPM.Device = filepath.Join(p.dir, "tpm.sock")
	p.config.StateDir = filepath.Join(p.dir, "state")
	p.config.Logs = agent.LogsConfig{Root: root, Collected: filepath.Join(p.dir, "collected")}
	p.config.Listen.Address, p.config.Admin.Address = "127.0.0.1:0", ""
	p.config.Clients = []agent.ClientRule{{SAN: []string{"dns:server.example"}, Roles: []agent.Role{agent.RoleQuote, agent.RoleEnroll}}}

	if err := os.Mkdir(p.config.StateDir, 0o700); err != nil {
		t.Fatal(err)
	}

	p.collect(t, thisBoot)

	return p
}

func (p *patient) serve(t *testing.T) {
	t.Helper()

	listener := listen(t, "unix", filepath.Join(p.dir, "tpm.sock"))
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)

	go func() { served <- p.sim.Serve(ctx, listener) }()

	t.Cleanup(func() {
		cancel()

		if err := <-served; err != nil {
			t.Errorf("serving the TPM: %v", err)
		}
	})
}

func (p *patient) collect(t *testing.T, boot string) {
	t.Helper()

	if _, err := agent.Collect(agent.CollectOptions{Root: p.config.Logs.Root, Output: p.config.Logs.Collected, BootID: boot}); err != nil {
		t.Fatal(err)
	}
}

// agent lets a real agent use the TPM and the state folder until stop is called. It has set up its key then, or can't.
func (p *patient) agent(t *testing.T) (node *agent.Agent, stop func()) {
	t.Helper()

	settled := make(chan string, 100)

	node, err := agent.New(p.config, agent.Deps{
		Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(), BootID: thisBoot, OnStatus: func(line string) { settled <- line },
	})
	if err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)

	go func() { done <- node.Run(ctx) }()

	for line := <-settled; strings.Contains(line, "not opened yet"); {
		line = <-settled
	}

	return node, func() {
		cancel()

		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// remembers lets an agent make its key and its record.
func (p *patient) remembers(t *testing.T) {
	t.Helper()

	_, stop := p.agent(t)
	stop()
}

// has reports whether the doctor says so.
func has(findings []agent.Finding, check string, outcome agent.Outcome, text string) bool {
	for _, f := range findings {
		if f.Check == check && f.Outcome == outcome && strings.Contains(f.Detail+" > "+f.Advice, text) {
			return true
		}
	}

	return false
}

// inLines is what the doctor said, for a person who reads why a test failed.
func inLines(findings []agent.Finding) string {
	var b strings.Builder
	for _, f := range findings {
		fmt.Fprintf(&b, "  %s %s: %s > %s\n", f.Outcome, f.Check, f.Detail, f.Advice)
	}

	return b.String()
}

// withoutRights runs f with the file system rights of a user who owns nothing, on a thread that ends with it.
func withoutRights(t *testing.T, dir string, f func()) {
	t.Helper()

	if os.Geteuid() != 0 {
		f()

		return
	}

	for path := dir; path != "/tmp" && path != "/"; path = filepath.Dir(path) {
		must(t, os.Chmod(path, 0o755)) // #nosec G302 -- of the test's own folders
	}

	done := make(chan struct{})

	go func() {
		defer close(done)

		runtime.LockOSThread()

		const nobody = 65534

		if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0); errno != 0 {
			t.Error(errno)
		}

		_, gidErr := unix.SetfsgidRetGid(nobody)
		_, uidErr := unix.SetfsuidRetUid(nobody)

		if err := errors.Join(gidErr, uidErr); err != nil {
			t.Error(err)
		}

		f()
	}()
	<-done
}

// babbler answers every command with the same words.
func babbler(t *testing.T, words string) (socket string) {
	t.Helper()

	socket = filepath.Join(t.TempDir(), "babbler.sock")
	listener := listen(t, "unix", socket)
	t.Cleanup(func() { _ = listener.Close() })

	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}

			_, _ = conn.Write([]byte(words))
			defer conn.Close()
		}
	}()

	return socket
}

func must(t *testing.T, err error) {
	t.Helper()

	if err != nil {
		t.Fatal(err)
	}
}

func writeTo(t *testing.T, path, content string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(content), 0o600))
}
