//go:build chaos

package chaos

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"github.com/trustpool/trustpool/tpmsim"
)

// answer is what the agent gets for a command.
type answer struct {
	bytes []byte
	cut   bool // close the connection afterwards
}

// fault decides what becomes of a command. carryOut has swtpm carry it out, once at most.
type fault func(code tpm2.TPMCC, carryOut func() []byte) answer

// none lets all through.
func none(_ tpm2.TPMCC, carryOut func() []byte) answer { return answer{bytes: carryOut()} }

// gate is the agent's way to the TPM: a unix socket in the place of the device. Behind it, each connection of the agent has one of its own to swtpm, as each has at the kernel's
// resource manager: what was loaded on it is flushed with it.
type gate struct {
	sim  *tpmsim.Node
	path string // the agent's side
	back string // swtpm's side

	mu    sync.Mutex
	fault fault // guarded by mu

	pulled func() // ends what plug began; nil if nothing is plugged
}

// newGate offers the node's TPM behind a gate that lets all through, until the test ends.
func newGate(t *testing.T, sim *tpmsim.Node, dir string) *gate {
	t.Helper()

	g := &gate{sim: sim, path: filepath.Join(dir, "tpm.sock"), back: filepath.Join(dir, "swtpm.sock"), fault: none}

	listener, err := net.Listen("unix", g.back)
	if err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)

	go func() { served <- sim.Serve(ctx, listener) }()

	t.Cleanup(func() {
		g.pull()
		cancel()

		if err := <-served; err != nil {
			t.Errorf("serving the TPM: %v", err)
		}
	})
	g.plug(t)

	return g
}

// on sets what becomes of commands from now on.
func (g *gate) on(f fault) {
	g.mu.Lock()
	defer g.mu.Unlock()

	g.fault = f
}

// plug offers the TPM.
func (g *gate) plug(t testing.TB) {
	t.Helper()

	listener, err := net.Listen("unix", g.path)
	if err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithCancel(context.Background())

	var all sync.WaitGroup

	all.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}

			all.Go(func() { g.serve(ctx, conn) })
		}
	})

	g.pulled = func() {
		cancel()
		_ = listener.Close() // the socket goes with it
		all.Wait()
	}
}

// pull takes the TPM away, in the middle of whatever it does.
func (g *gate) pull() {
	if g.pulled != nil {
		g.pulled()
		g.pulled = nil
	}
}

// serve carries frames between the agent and swtpm until one of them, or ctx, ends.
func (g *gate) serve(ctx context.Context, agent net.Conn) {
	defer agent.Close()

	swtpm, err := net.Dial("unix", g.back)
	if err != nil {
		return
	}
	defer swtpm.Close()

	defer context.AfterFunc(ctx, func() { _, _ = agent.Close(), swtpm.Close() })()

	for {
		command, err := readFrame(agent)
		if err != nil {
			return
		}

		g.mu.Lock()
		f := g.fault
		g.mu.Unlock()

		a := f(tpm2.TPMCC(binary.BigEndian.Uint32(command[6:])), func() []byte {
			if _, err := swtpm.Write(command); err != nil {
				return nil
			}

			response, err := readFrame(swtpm)
			if err != nil {
				return nil
			}

			return response
		})

		if _, err := agent.Write(a.bytes); err != nil || a.cut || len(a.bytes) == 0 {
			return
		}
	}
}

// readFrame reads a command or a response: u16 tag, u32 size, u32 code, and the rest (TPM 2.0 Part 1, 18).
func readFrame(r io.Reader) ([]byte, error) {
	head := make([]byte, 10)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}

	size := binary.BigEndian.Uint32(head[2:])
	if size < 10 || size > 4096 {
		return nil, errors.New("no TPM frame")
	}

	frame := append(head, make([]byte, size-10)...)
	_, err := io.ReadFull(r, frame[10:])

	return frame, err
}

// says is a fault: the TPM answers one code to these commands, all if none is named.
func says(code tpm2.TPMRC, to ...tpm2.TPMCC) fault {
	return func(cc tpm2.TPMCC, carryOut func() []byte) answer {
		for _, one := range to {
			if one == cc {
				return answer{bytes: only(code)}
			}
		}

		if len(to) == 0 {
			return answer{bytes: only(code)}
		}

		return none(cc, carryOut)
	}
}

// only is a response that has nothing but a code.
func only(code tpm2.TPMRC) []byte {
	return binary.BigEndian.AppendUint32([]byte{0x80, 0x01, 0, 0, 0, 10}, uint32(code))
}

// held is a fault: each quote waits until release is called, and tells began when it came.
func held() (f fault, began <-chan struct{}, release func()) {
	first, free := make(chan struct{}, 1), make(chan struct{})

	return func(cc tpm2.TPMCC, carryOut func() []byte) answer {
		if cc == tpm2.TPMCCQuote {
			select {
			case first <- struct{}{}:
			default: // told already
			}

			<-free
		}

		return none(cc, carryOut)
	}, first, sync.OnceFunc(func() { close(free) })
}

// write writes a file, in one piece for whoever reads it.
func write(t testing.TB, path string, content []byte) {
	t.Helper()

	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		t.Fatal(err)
	}

	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}
