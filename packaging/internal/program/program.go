// Package program runs programs beside tests that try the packaged commands with those of others.
package program

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

// Process is a program that runs beside a test. Make one with Start.
type Process struct {
	// Said is what it has written to its standard output and error up to now.
	Said *transcript.Text
	// Cmd takes signals while it runs, and has a ProcessState once it was killed.
	Cmd  *exec.Cmd
	done chan struct{}
}

// Start starts a program and ends it with the test, whose log gets the end of what it said if the test has failed.
func Start(t testing.TB, path string, args ...string) *Process {
	t.Helper()

	p := &Process{Cmd: exec.Command(path, args...), Said: new(transcript.Text), done: make(chan struct{})} // #nosec G204 -- tests say what is run
	p.Cmd.Stdout, p.Cmd.Stderr = p.Said, p.Said
	if err := p.Cmd.Start(); err != nil {
		t.Fatal(err)
	}

	go func() {
		defer close(p.done)
		_ = p.Cmd.Wait() // it is killed
	}()

	t.Cleanup(func() {
		p.Kill()
		if said := p.Said.String(); t.Failed() {
			t.Logf("%s said at the end: %s", filepath.Base(path), said[max(0, len(said)-4000):])
		}
	})
	return p
}

// Saying returns an error as long as the program has not said something.
func (p *Process) Saying(what string) error {
	select {
	case <-p.done:
		return fmt.Errorf("%s has ended: %s", p.Cmd, p.Said)
	default:
	}

	if !strings.Contains(p.Said.String(), what) {
		return fmt.Errorf("no %q in what it says", what)
	}
	return nil
}

// Kill ends it at once, and waits for that.
func (p *Process) Kill() {
	_ = p.Cmd.Process.Kill() // it may have ended by itself
	<-p.done
}

// Until waits for something to become so, and looks again after each pause. The test fails if it takes longer than the limit.
func Until(t testing.TB, limit, pause time.Duration, what string, so func() error) {
	t.Helper()

	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()

	for {
		err := so()
		if err == nil {
			return
		}

		select {
		case <-ctx.Done():
			t.Fatalf("waiting for %s: %v", what, err)
		case <-time.After(pause):
		}
	}
}
