package vmtest_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/trustpool/trustpool/packaging/vmtest"
)

// stopGrace is how long a process may take to end before it is killed.
const stopGrace = 10 * time.Second

// board is a machine's TPM, without the machine: swtpm, the Mux before it, and the socket where QEMU comes in.
type board struct {
	*vmtest.Mux
	socket string
	stop   context.CancelFunc
	// ended is closed once swtpm was waited for; err is then what became of it.
	ended chan struct{}
	err   error
}

// powerTPM starts swtpm on the state in a folder. The board ends with ctx, with the machine, or by off.
func powerTPM(ctx context.Context, state, socket string) (*board, error) {
	ctx, stop := context.WithCancel(ctx)

	control, theirControl, err := socketPair()
	if err != nil {
		stop()

		return nil, err
	}

	data, theirData, err := socketPair()
	if err != nil {
		stop()

		return nil, err
	}

	said := new(bytes.Buffer)

	command := exec.CommandContext(ctx, "swtpm", "socket", "--tpm2", "--tpmstate", "dir=.,mode=0600", "--flags", "startup-none",
		"--fd", "3", "--ctrl", "type=unixio,clientfd=4")
	command.Dir = state
	command.ExtraFiles = []*os.File{theirData, theirControl}
	command.Stdout, command.Stderr = said, said
	leash(command)

	if err := errors.Join(command.Start(), theirData.Close(), theirControl.Close()); err != nil {
		stop()

		return nil, err
	}

	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket})
	if err != nil {
		stop()

		return nil, errors.Join(err, command.Wait())
	}

	b := &board{Mux: vmtest.NewMux(control, data), socket: socket, ended: make(chan struct{}), stop: stop}

	go func() {
		defer close(b.ended)

		b.err = b.Serve(ctx, listener)
		_ = control.Close() // which ends swtpm
		_ = data.Close()
		_ = command.Wait()
		stop()
	}()

	return b, nil
}

// off ends the TPM, if the machine's end has not done so, and waits for it.
func (b *board) off() error {
	b.stop()
	<-b.ended

	return b.err
}

// leash ends a process with this one, however that ends, and leaves a Ctrl-C to this one.
func leash(command *exec.Cmd) {
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGTERM) } // with what it has started itself
	command.WaitDelay = stopGrace
}

// socketPair returns our end and the one for another process.
func socketPair() (net.Conn, *os.File, error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}

	ours, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")

	conn, err := net.FileConn(ours)

	return conn, theirs, errors.Join(err, ours.Close())
}

// newBoard is powerTPM for a test, on a new TPM.
func newBoard(t *testing.T) *board {
	t.Helper()

	// A socket's path is short (unix(7)).
	dir, err := os.MkdirTemp("", "vmtest")
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { _ = os.RemoveAll(dir) })

	b, err := powerTPM(context.WithoutCancel(t.Context()), t.TempDir(), filepath.Join(dir, "tpm.sock"))
	if err != nil {
		t.Fatalf("%v (package swtpm)", err)
	}

	t.Cleanup(func() {
		if err := b.off(); err != nil {
			t.Error(err)
		}
	})

	return b
}
