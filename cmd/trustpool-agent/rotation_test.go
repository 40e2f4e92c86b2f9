package main

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"google.golang.org/grpc/credentials/insecure"

	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/tpmsim/tpmsimtest"
)

// tollgate is a TPM on a unix socket that tells a test of each command.
type tollgate struct {
	node *tpmsim.Node

	mu sync.Mutex
	// before and after are called around each command; guarded by mu.
	before, after func()
	// held is called once before the next command with the code stop; nil if there is none to wait for. Guarded by mu.
	stop uint32
	held func()
}

// stopAt sets what is called, once, before a command with that code.
func (g *tollgate) stopAt(code uint32, held func()) {
	g.mu.Lock()
	defer g.mu.Unlock()

	g.stop, g.held = code, held
}

// watch sets what is called around commands.
func (g *tollgate) watch(before, after func()) {
	g.mu.Lock()
	defer g.mu.Unlock()

	g.before, g.after = before, after
}

// serve answers the commands of one connection after the other until the listener is closed.
func (g *tollgate) serve(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}

		g.answer(conn)
		_ = conn.Close()
	}
}

func (g *tollgate) answer(conn net.Conn) {
	for {
		command := make([]byte, 10)
		if _, err := io.ReadFull(conn, command); err != nil {
			return
		}

		command = append(command, make([]byte, binary.BigEndian.Uint32(command[2:])-10)...)
		if _, err := io.ReadFull(conn, command[10:]); err != nil {
			return
		}

		g.mu.Lock()

		if g.held != nil && binary.BigEndian.Uint32(command[6:]) == g.stop {
			g.held()
			g.held = nil
		}

		g.before()
		response, err := g.node.Send(command)
		g.after()
		g.mu.Unlock()

		if err != nil {
			return
		}

		if _, err := conn.Write(response); err != nil {
			return
		}
	}
}

func TestARotationKilledAnywhereLeavesOneGoodKey(t *testing.T) {
	t.Parallel()

	// A rotation and its commit take fewer commands than this; what comes after them is killed too, which must do no harm either.
	for k := range 10 {
		for _, when := range []string{"before", "after"} {
			t.Run(fmt.Sprintf("%s command %d", when, k), func(t *testing.T) {
				t.Parallel()
				killRotation(t, k, when == "after")
			})
		}
	}
}

// killRotation kills the agent around its k-th TPM command of a rotation, starts it again, and carries the rotation to its end.
func killRotation(t *testing.T, k int, after bool) {
	t.Helper()

	dir := t.TempDir()
	gate := &tollgate{node: tpmsimtest.Start(t, tpmsim.Options{}), before: func() {}, after: func() {}}

	listener, err := net.Listen("unix", filepath.Join(dir, "tpm.sock"))
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { _ = listener.Close() })

	go gate.serve(listener)

	config := filepath.Join(dir, "agent.yaml")
	yaml := fmt.Sprintf("tpm: {device: %s/tpm.sock}\nlisten: {address: '', unix: %s/agent.sock}\nadmin: {address: ''}\nstate_dir: %s\n"+
		"logs: {root: '', collected: ''}\n", dir, dir, dir)

	if err := os.WriteFile(config, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}

	p := launch(t, "--config", config)
	old := quotedBy(t, dir)

	commands := 0
	kill := func() {
		if commands++; commands == k+1 {
			_ = p.Process.Signal(syscall.SIGKILL)
		}
	}

	if after {
		gate.watch(func() {}, kill)
	} else {
		gate.watch(kill, func() {})
	}

	next := rotateAndCommit(t, config)

	gate.watch(func() {}, func() {})
	_ = p.Process.Kill()
	_ = p.Wait()

	launch(t, "--config", config)

	now := quotedBy(t, dir)
	if !bytes.Equal(now, old) && hex.EncodeToString(now) != next && next != "" {
		t.Errorf("the AK is %x, neither the old %x nor the new %s", now, old, next)
	}

	if next = rotateAndCommit(t, config); next == "" {
		t.Fatal("the rotation can't be carried to its end")
	}

	if now := quotedBy(t, dir); hex.EncodeToString(now) != next || bytes.Equal(now, old) {
		t.Errorf("after the rotation the AK is %x, want %s", now, next)
	}
}

// rotateAndCommit returns the new AK's Name, or as much as became known before the agent was killed.
func rotateAndCommit(t *testing.T, config string) string {
	t.Helper()

	out, code := call(t, "identity", "--config", config, "rotate")
	if code != 0 {
		return ""
	}

	name := strings.TrimSpace(out[strings.LastIndex(out, " "):])
	call(t, "identity", "--config", config, "commit", name)

	return name
}

func quotedBy(t *testing.T, dir string) []byte {
	t.Helper()

	return quoteOver(t, "unix://"+filepath.Join(dir, "agent.sock"), insecure.NewCredentials()).GetAkName()
}
