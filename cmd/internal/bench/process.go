package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// patience is how long a program may take to come up or to end.
const patience = 20 * time.Second

// process is a program that runs until stop.
type process struct {
	cmd  *exec.Cmd
	log  string // the file with what it said
	done chan error
}

// start starts a program. What it says goes to a file, as a daemon's log goes to a journal that nobody reads at once.
func start(dir, name string, program string, args ...string) (*process, error) {
	path := filepath.Join(dir, name+".log")

	log, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	defer log.Close() //nolint:errcheck // the program has its own copy

	p := &process{cmd: exec.Command(program, args...), log: path, done: make(chan error, 1)} //nolint:gosec // the programs that the benchmark is about
	p.cmd.Stdout, p.cmd.Stderr = log, log
	// A Ctrl-C on the terminal is for us: we end them in order. Whatever becomes of us, they do not stay.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}

	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}

	go func() { p.done <- p.cmd.Wait() }()

	return p, nil
}

// stop ends the program and waits for it.
func (p *process) stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended

	late := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() })
	defer late.Stop()

	if err := <-p.done; err != nil {
		said, _ := os.ReadFile(p.log)

		return fmt.Errorf("%s: %w; it said: %s", filepath.Base(p.cmd.Path), err, said[max(0, len(said)-1000):])
	}

	return nil
}

// reachable waits until somebody listens.
func reachable(ctx context.Context, network, address string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("nobody listens there"))
	defer cancel()

	var dialer net.Dialer

	for {
		conn, err := dialer.DialContext(ctx, network, address)
		if err == nil {
			return conn.Close()
		}

		select {
		case <-ctx.Done():
			return fmt.Errorf("reaching %s: %w", address, context.Cause(ctx))
		case <-time.After(200 * time.Microsecond):
		}
	}
}

// freePort returns a TCP port of loopback that was free just now.
func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("finding a port: %w", err)
	}

	port := listener.Addr().(*net.TCPAddr).Port //nolint:forcetypeassert // what a TCP listener has

	return port, listener.Close()
}
