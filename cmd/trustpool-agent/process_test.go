package main

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// process is a running trustpool-agent.
type process struct {
	*exec.Cmd

	out    *bufio.Reader
	stderr transcript
}

// transcript is what a process says, while it says it.
type transcript struct {
	mu   sync.Mutex
	text strings.Builder
	said chan struct{} // closed at the next word; guarded by mu, as is text
}

// Write implements io.Writer.
func (s *transcript) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()

	if s.said != nil {
		close(s.said)
		s.said = nil
	}

	return s.text.Write(b)
}

// String returns all that was said up to now.
func (s *transcript) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()

	return s.text.String()
}

// wait returns the first line with these words, when it was said.
func (s *transcript) wait(t *testing.T, words ...string) string {
	t.Helper()

	return s.waitCount(t, 1, words...)
}

// waitCount returns the last one of so many lines with these words, when it was said.
func (s *transcript) waitCount(t *testing.T, count int, words ...string) string {
	t.Helper()

	for {
		s.mu.Lock()

		text := s.text.String()
		if s.said == nil {
			s.said = make(chan struct{})
		}

		said := s.said
		s.mu.Unlock()

		found := 0

		for line := range strings.Lines(text) {
			if slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(line, word) }) {
				continue
			}

			if found++; found == count {
				return line
			}
		}

		select {
		case <-said:
		case <-time.After(time.Minute):
			t.Fatalf("not %d lines with %q in\n%s", count, words, text)
		}
	}
}

// launch starts the real command.
func launch(t *testing.T, args ...string) *process {
	t.Helper()

	return launchWith(t, nil, args...)
}

// launchWith starts the real command with more in its environment.
func launchWith(t *testing.T, env []string, args ...string) *process {
	t.Helper()

	p := &process{Cmd: exec.Command(os.Args[0], args...)}
	p.Env = append(append(os.Environ(), asAgent+"=1", "GORACE="+noLinger), env...)
	p.Stderr = &p.stderr
	start(t, p)

	return p
}

// start starts a process, which ends with the test at the latest.
func start(t *testing.T, p *process) {
	t.Helper()

	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}

	p.out = bufio.NewReader(out)

	if err := p.Start(); err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() {
		if p.ProcessState == nil {
			_ = p.Process.Kill()
			_ = p.Wait()
		}
	})
}

// end sends a signal, waits, and returns the exit code.
func (p *process) end(t *testing.T, signal os.Signal) int {
	t.Helper()

	if err := p.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}

	_, _ = io.Copy(io.Discard, p.out)

	if err := p.Wait(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatal(err)
	}

	return p.ProcessState.ExitCode()
}

// tryLine returns the arguments of the line that the simulator prints.
func (p *process) tryLine(t *testing.T) []string {
	t.Helper()

	for {
		line, err := p.out.ReadString('\n')
		if err != nil {
			_ = p.Wait()
			t.Fatalf("no try line: %v\n%s", err, p.stderr.String())
		}

		if rest, ok := strings.CutPrefix(line, "try: "); ok {
			return strings.Fields(rest)
		}
	}
}

// call runs the real command to its end.
func call(t *testing.T, args ...string) (output string, code int) {
	t.Helper()

	command := exec.Command(os.Args[0], args...)
	command.Env = append(os.Environ(), asAgent+"=1", "GORACE="+noLinger)

	out, err := command.CombinedOutput()
	if err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatal(err)
	}

	return string(out), command.ProcessState.ExitCode()
}
