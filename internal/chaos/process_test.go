//go:build chaos

package chaos

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
)

func TestChaosSIGKILL(t *testing.T) {
	t.Parallel()

	n := newNode(t, options{})
	crowd := n.crowd(n.local(t), 2)

	for range 5 {
		crowd.hears(t, n, answered)
		n.kill(t)
		crowd.hears(t, n, unreachable)
		n.launch(t)
	}

	crowd.hears(t, n, answered)
	crowd.done(t, unreachable)
}

// TestChaosSIGSTOP freezes the process, as a machine that is suspended or has no time for it.
func TestChaosSIGSTOP(t *testing.T) {
	t.Parallel()

	n := newNode(t, options{})
	crowd := n.crowd(n.conn)
	crowd.hears(t, n, answered)
	n.signal(t, syscall.SIGSTOP)

	hurried, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()

	if _, err := quote(hurried, n.conn, 0); heard(err) != late {
		t.Errorf("who does not wait hears %s", heard(err))
	}

	n.signal(t, syscall.SIGCONT)
	crowd.hears(t, n, answered)
	n.quoteSoon(t)
	crowd.done(t)
}

// TestChaosOutOfFileDescriptors takes them from a running agent: who is connected is served, and all else comes back with them.
func TestChaosOutOfFileDescriptors(t *testing.T) {
	t.Parallel()

	n := newNode(t, options{})
	crowd := n.crowd(n.conn)
	crowd.hears(t, n, answered)

	var before unix.Rlimit
	if err := unix.Prlimit(n.Process.Pid, unix.RLIMIT_NOFILE, nil, &before); err != nil {
		t.Fatal(err)
	}

	if err := unix.Prlimit(n.Process.Pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: before.Max}, nil); err != nil {
		t.Fatal(err)
	}

	crowd.hears(t, n, answered)

	short, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()

	if _, err := quote(short, n.local(t), 2); err == nil {
		t.Error("a connection came about without a file descriptor")
	}

	n.on(cutOnce()) // the way to the TPM can't be opened again
	crowd.hears(t, n, "TPM_ABSENT")
	n.said.wait(t, "cannot quote", "too many open files")

	if err := unix.Prlimit(n.Process.Pid, unix.RLIMIT_NOFILE, &before, nil); err != nil {
		t.Fatal(err)
	}

	crowd.hears(t, n, answered)
	n.until(t, "new connection", func() error {
		_, err := quote(t.Context(), n.local(t), 2)

		return err
	})
	crowd.done(t, "TPM_ABSENT")
}

// cgroup is a group of processes with a limit of memory, in bytes.
type cgroup struct{ dir, limit string }

// newCgroup makes a group with a limit, in the first version of the kernel's interface or the second.
func newCgroup(t *testing.T, most int) cgroup {
	t.Helper()

	name := fmt.Sprintf("trustpool-chaos-%d-%d", os.Getpid(), most)
	g := cgroup{filepath.Join("/sys/fs/cgroup/memory", name), "memory.limit_in_bytes"}

	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		g = cgroup{filepath.Join("/sys/fs/cgroup", name), "memory.max"}
	}

	if err := os.Mkdir(g.dir, 0o755); err != nil {
		t.Fatalf("this test limits memory by a cgroup, and needs root and a writable %s: %v", filepath.Dir(g.dir), err)
	}

	t.Cleanup(func() {
		if err := os.Remove(g.dir); err != nil { // nobody is in it any more
			t.Error(err)
		}
	})
	g.set(t, most)

	return g
}

func (g cgroup) set(t *testing.T, most int) {
	t.Helper()

	if err := os.WriteFile(filepath.Join(g.dir, g.limit), []byte(strconv.Itoa(most)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// inside are words that start a program in the group.
func (g cgroup) inside() []string {
	return []string{"sh", "-c", `echo $$ >"$0" && exec "$@"`, filepath.Join(g.dir, "cgroup.procs")}
}

// TestChaosLittleMemory has callers send the largest requests that there are, all at once, to an agent with 64 MiB: it bounds what it holds.
func TestChaosLittleMemory(t *testing.T) {
	t.Parallel()

	n := newNode(t, options{wrap: newCgroup(t, 64<<20).inside()})
	crowd := n.crowd(n.conn)

	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})

	go func() {
		defer close(done)

		conn := agentv1.NewQuoteServiceClient(n.conn)
		for ctx.Err() == nil {
			_, err := conn.Quote(ctx, &agentv1.QuoteRequest{Nonce: make([]byte, 2<<20-100), BindMode: agentv1.BindMode_BIND_MODE_RAW})
			if what := heard(err); what != "NONCE_TOO_LONG" && ctx.Err() == nil {
				t.Errorf("who sends 2 MiB hears %s", what)
			}
		}
	}()

	for range 20 {
		crowd.hears(t, n, answered)
	}

	stop()
	<-done
	crowd.done(t)
}

// TestChaosOutOfMemory has the kernel kill an agent that gets less than it needs; with enough, it starts as if nothing had been.
func TestChaosOutOfMemory(t *testing.T) {
	t.Parallel()

	n := newNode(t, options{})
	before := n.quoteSoon(t).GetAkName()
	n.kill(t)

	group := newCgroup(t, 1<<20)
	p := start(t, program, n.config, group.inside()...)
	p.wait(t)

	if status, ok := p.ProcessState.Sys().(syscall.WaitStatus); !ok || !status.Signaled() || status.Signal() != syscall.SIGKILL {
		t.Errorf("it ended with %v, not by the kernel:\n%s", p.ProcessState, p.said.String())
	}

	group.set(t, 64<<20)
	n.wrap = group.inside()
	n.launch(t)

	if after := n.quoteSoon(t).GetAkName(); string(after) != string(before) {
		t.Error("the AK is another one")
	}
}

// TestChaosSIGTERMWhileTheTPMHangs ends an agent that waits for an answer which never comes, in less time than its unit gives it.
func TestChaosSIGTERMWhileTheTPMHangs(t *testing.T) {
	t.Parallel()

	n := newNode(t, options{})
	f, began, release := held()
	n.on(f)
	t.Cleanup(release)

	asked := make(chan error, 1)
	go func() {
		_, err := n.quote(context.Background(), 0)
		asked <- err
	}()
	<-began

	n.signal(t, syscall.SIGTERM)

	if err := <-asked; heard(err) == answered {
		t.Error("who waits for the TPM was answered")
	}

	n.wait(t)

	if code := n.ProcessState.ExitCode(); code != 1 || !strings.Contains(n.said.String(), "TPM hangs") {
		t.Errorf("it ended with %d:\n%s", code, n.said.String())
	}
}
