//go:build vm

package vmtest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

const (
	// firmware and variables are Debian's OVMF build with TPM 2.0 support (package ovmf).
	firmware  = "/usr/share/OVMF/OVMF_CODE_4M.fd"
	variables = "/usr/share/OVMF/OVMF_VARS_4M.fd"

	// upLine is what the guest says on its console when it is up (guest/etc/systemd/system/vmtest-ready.service).
	upLine = "vmtest: the guest is up"

	bootLimit     = 8 * time.Minute
	powerOffLimit = 2 * time.Minute
)

// vm is a machine that is switched off, until start. Its disk, firmware variables and TPM state stay while it is off.
type vm struct {
	// image holds what the script image made, dir what is the machine's own.
	image, dir  string
	accelerator string
	// sshPort and agentPort are the ports of 127.0.0.1 that lead to the guest's 22 and 9443.
	sshPort, agentPort int

	console *console
	board   *board
	ended   chan struct{}
	stop    context.CancelFunc
}

// newVM makes a machine with a copy of the image's disk. The folder dir has a short path.
func newVM(ctx context.Context, image, dir string) (*vm, error) {
	m := &vm{image: image, dir: dir, console: &console{}}

	for _, port := range []*int{&m.sshPort, &m.agentPort} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}

		*port = listener.Addr().(*net.TCPAddr).Port
		_ = listener.Close()
	}

	for from, to := range map[string]string{filepath.Join(image, "root.ext4"): "root.ext4", variables: "variables.fd"} {
		if said, err := exec.CommandContext(ctx, "cp", "--sparse=always", from, filepath.Join(dir, to)).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("copying %s: %w: %s", from, err, said)
		}
	}

	m.accelerator = accelerator(ctx, dir)

	return m, os.Mkdir(filepath.Join(dir, "tpm"), 0o700)
}

// start powers the machine and returns once the guest is up.
func (m *vm) start(ctx context.Context) (err error) {
	ctx, m.stop = context.WithCancel(ctx)

	socket := filepath.Join(m.dir, "tpm.sock")
	_ = os.Remove(socket) // of an earlier start

	if m.board, err = powerTPM(ctx, filepath.Join(m.dir, "tpm"), socket); err != nil {
		return fmt.Errorf("starting swtpm: %w", err)
	}

	said := new(bytes.Buffer)
	m.console.restart()

	command := exec.CommandContext(ctx, "qemu-system-x86_64", m.arguments(socket)...)
	command.Stdout, command.Stderr = m.console, said
	leash(command)

	if err := command.Start(); err != nil {
		return errors.Join(err, m.board.off())
	}

	ended := make(chan struct{})
	m.ended = ended

	go func() {
		_ = command.Wait() // what matters of its end is what it said

		close(ended)
	}()

	select {
	case <-m.console.up:
		return nil
	case <-ended:
		return fmt.Errorf("QEMU ended early: %s", said)
	case <-time.After(bootLimit):
		return fmt.Errorf("the guest was not up after %v", bootLimit)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// arguments describe the machine: UEFI firmware that measures what it starts, a TPM, a disk, a serial line, and a network that leads nowhere but to the two ports.
func (m *vm) arguments(tpmSocket string) []string {
	arguments := []string{
		"-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio", "-machine", "q35,smm=off", "-smp", "2", "-m", "1024",
		"-drive", "if=pflash,format=raw,readonly=on,file=" + firmware,
		"-drive", "if=pflash,format=raw,file=" + filepath.Join(m.dir, "variables.fd"),
		"-chardev", "socket,id=tpm,path=" + tpmSocket, "-tpmdev", "emulator,id=tpm0,chardev=tpm", "-device", "tpm-crb,tpmdev=tpm0",
		"-drive", "if=virtio,format=raw,cache=unsafe,file=" + filepath.Join(m.dir, "root.ext4"),
		"-netdev", fmt.Sprintf("user,id=net0,restrict=on,ipv6=off,hostfwd=tcp:127.0.0.1:%d-10.0.2.15:22,hostfwd=tcp:127.0.0.1:%d-10.0.2.15:9443", m.sshPort, m.agentPort),
		"-device", "virtio-net-pci,netdev=net0,romfile=", "-device", "virtio-rng-pci",
		"-kernel", filepath.Join(m.image, "vmlinuz"), "-initrd", filepath.Join(m.image, "initrd"),
		"-append", "root=LABEL=root rw console=ttyS0 loglevel=4 net.ifnames=0 systemd.show_status=0",
	}

	if m.accelerator == "kvm" {
		return append(arguments, "-accel", "kvm", "-cpu", "host")
	}

	return append(arguments, "-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max")
}

// waitOff waits until the guest, which was told to, has switched the machine off.
func (m *vm) waitOff(ctx context.Context) error {
	select {
	case <-m.ended:
		return m.board.off()
	case <-time.After(powerOffLimit):
		return fmt.Errorf("the machine was not off after %v", powerOffLimit)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// close pulls the plug, if the machine runs, and waits for its processes.
func (m *vm) close() {
	if m.stop == nil {
		return
	}

	m.stop()

	if m.ended != nil {
		<-m.ended
	}

	if m.board != nil {
		<-m.board.ended
	}
}

// accelerator returns "kvm" where that runs our firmware. /dev/kvm alone says nothing: on some clouds it is there and can't.
func accelerator(ctx context.Context, dir string) string {
	kvm, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return "tcg"
	}

	_ = kvm.Close()

	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()

	probe := exec.CommandContext(ctx, "qemu-system-x86_64", "-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio", "-machine", "q35,smm=off",
		"-accel", "kvm", "-cpu", "host", "-m", "256", "-drive", "if=pflash,format=raw,readonly=on,file="+firmware,
		"-drive", "if=pflash,format=raw,snapshot=on,file="+filepath.Join(dir, "variables.fd"))
	leash(probe)

	said, err := probe.StdoutPipe()
	if err != nil || probe.Start() != nil {
		return "tcg"
	}

	_, err = io.ReadFull(said, make([]byte, 1))
	cancel()
	_ = probe.Wait()

	if err != nil {
		return "tcg"
	}

	return "kvm"
}

// console keeps what the guest says on its serial line.
type console struct {
	lock sync.Mutex
	text strings.Builder
	// up is closed when the guest is up; seen is how much of the text was looked at for that.
	up   chan struct{}
	done bool
}

// restart begins the console of a new boot.
func (c *console) restart() {
	c.lock.Lock()
	defer c.lock.Unlock()

	c.text.Reset()
	c.up, c.done = make(chan struct{}), false
}

// Write implements io.Writer.
func (c *console) Write(p []byte) (int, error) {
	c.lock.Lock()
	defer c.lock.Unlock()

	const enough = 1 << 20
	if c.text.Len() < enough {
		c.text.Write(p)
	}

	if !c.done && strings.Contains(c.text.String(), upLine) {
		c.done = true
		close(c.up)
	}

	return len(p), nil
}

// String returns what was said in this boot.
func (c *console) String() string {
	c.lock.Lock()
	defer c.lock.Unlock()

	return strings.ReplaceAll(c.text.String(), "\r", "")
}
