//go:build fleet

package fleettest_test

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/trustpool/trustpool/internal/transcript"
)

// process is a program that runs beside the test.
type process struct {
	cmd  *exec.Cmd
	said *transcript.Text
	done chan struct{}
}

// start starts a program and ends it with the test, whose log gets the end of what it said if the test has failed.
func start(t *testing.T, path string, args ...string) *process {
	t.Helper()

	p := &process{cmd: exec.Command(path, args...), said: new(transcript.Text), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p.said, p.said

	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}

	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // it is killed
	}()

	t.Cleanup(func() {
		p.kill()

		if said := p.said.String(); t.Failed() {
			t.Logf("%s said at the end: %s", filepath.Base(path), said[max(0, len(said)-4000):])
		}
	})

	return p
}

// saying returns an error as long as the program has not said something.
func (p *process) saying(what string) error {
	select {
	case <-p.done:
		return fmt.Errorf("%s has ended: %s", p.cmd, p.said)
	default:
	}

	if !strings.Contains(p.said.String(), what) {
		return fmt.Errorf("no %q in what it says", what)
	}

	return nil
}

// kill ends it at once, and waits for that.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.done
}

// until waits for something to become so.
func until(t *testing.T, what string, so func() error) {
	t.Helper()

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()

	for {
		err := so()
		if err == nil {
			return
		}

		select {
		case <-ctx.Done():
			t.Fatalf("waiting for %s: %v", what, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
