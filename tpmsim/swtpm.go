package tpmsim

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/google/go-tpm/tpm2"
)

// stopGrace is how long swtpm may take to end before it is killed.
const stopGrace = 5 * time.Second

// machine is one running swtpm. Both of its channels are socket pairs, which
// have no name or port by which another process could reach them, and swtpm ends
// as soon as our ends are closed, whatever ends this process.
//
// It implements transport.TPM for one caller at a time.
type machine struct {
	cmd      *exec.Cmd
	data     *os.File
	ctrl     control
	ctrlFile *os.File
	said     *tail
	done     chan struct{} // closed once swtpm has ended and was waited for
}

// startMachine starts swtpm on the state in dir. It inherits lock, so that the
// lock is held for as long as either process lives. The TPM is not powered yet.
func startMachine(dir *stateDir) (*machine, error) {
	program, err := exec.LookPath("swtpm")
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrNotInstalled, err)
	}

	data, swtpmData, err := socketPair("swtpm data")
	if err != nil {
		return nil, fmt.Errorf("making the data channel: %w", err)
	}
	defer swtpmData.Close() //nolint:errcheck // swtpm has its own copy

	ctrl, swtpmCtrl, err := socketPair("swtpm control")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("making the control channel: %w", err), data.Close())
	}
	defer swtpmCtrl.Close() //nolint:errcheck // swtpm has its own copy

	m := &machine{data: data, ctrl: control{ctrl}, ctrlFile: ctrl, said: new(tail), done: make(chan struct{})}
	m.cmd = swtpmCommand(program, dir.path, m.said)
	m.cmd.ExtraFiles = []*os.File{swtpmData, swtpmCtrl, dir.lock} // descriptors 3, 4 and 5
	if err := m.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("starting swtpm: %w", err), data.Close(), ctrl.Close())
	}

	go func() {
		defer close(m.done)
		_ = m.cmd.Wait() // what matters of its end is what it said
	}()
	return m, nil
}

// swtpmCommand returns the command for swtpm. The state directory is named
// relative to the working directory because a comma in it would end the option.
func swtpmCommand(program, dir string, said *tail) *exec.Cmd {
	cmd := exec.Command(program, "socket", "--tpm2",
		"--tpmstate", "dir="+tpmDirName+",mode=0600",
		"--fd", "3", "--ctrl", "type=unixio,clientfd=4")
	cmd.Dir = dir
	cmd.Stdout, cmd.Stderr = said, said
	cmd.WaitDelay = stopGrace
	// A Ctrl-C on the terminal is for the program that runs the node: it still
	// needs its TPM while it drains.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

// socketPair returns our end, which is closed on exec so that no swtpm inherits
// its own peer, and the end for swtpm, which must block.
func socketPair(name string) (ours, theirs *os.File, err error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	if err := syscall.SetNonblock(fds[0], true); err != nil {
		return nil, nil, errors.Join(err, syscall.Close(fds[0]), syscall.Close(fds[1]))
	}
	return os.NewFile(uintptr(fds[0]), name), os.NewFile(uintptr(fds[1]), name+" peer"), nil
}

// powerOn resets the TPM and starts it with all of its volatile state new.
func (m *machine) powerOn() error {
	if err := m.ctrl.powerCycle(); err != nil {
		return fmt.Errorf("powering the TPM: %w", err)
	}
	if _, err := (tpm2.Startup{StartupType: tpm2.TPMSUClear}).Execute(m); err != nil {
		return fmt.Errorf("starting the TPM: %w", err)
	}
	return nil
}

// Send implements transport.TPM. A failure leaves the machine useless: there is
// no telling what of the command swtpm has read.
func (m *machine) Send(cmd []byte) ([]byte, error) {
	if err := checkCommand(cmd); err != nil {
		return nil, err
	}
	if _, err := m.data.Write(cmd); err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrDied, err)
	}

	response, err := readResponse(m.data)
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrDied, err)
	}
	return response, nil
}

// stop ends swtpm in order, as a machine that is switched off by its operating
// system, and waits for it.
func (m *machine) stop() {
	timer := time.AfterFunc(stopGrace, m.kill)
	defer timer.Stop()

	// If the TPM is gone or hangs, closing the channels or the timer ends it.
	if _, err := (tpm2.Shutdown{ShutdownType: tpm2.TPMSUClear}).Execute(m); err == nil {
		_ = m.ctrl.shutdown()
	}
	m.close()
}

// close closes both channels, which ends swtpm, and waits for it.
func (m *machine) close() {
	timer := time.AfterFunc(stopGrace, m.kill)
	defer timer.Stop()

	_ = m.data.Close()
	_ = m.ctrlFile.Close()
	<-m.done
}

// kill ends swtpm at once. Whoever waits for an answer of it gets an error.
func (m *machine) kill() { _ = m.cmd.Process.Kill() }
