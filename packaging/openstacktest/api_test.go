//go:build openstack

package openstacktest_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"
)

// python is Debian's: the packages of OpenStack are there, and in no other Python that may come first in PATH.
const python = "/usr/bin/python3"

// startLimit is what an API may need until it answers, on a machine with much else to do.
const startLimit = 2 * time.Minute

// api is one of OpenStack's APIs, as a process of its own.
type api struct {
	// URL is where it answers, without a slash at the end.
	URL string

	name  string
	cmd   *exec.Cmd
	stdin io.Closer
	said  *output
}

// serve starts serve.py on a folder with the API's configuration. It ends with the test, at the latest.
func serve(t testing.TB, name string, threads int, env ...string) *api {
	t.Helper()

	a, err := start(name, threads, env...)
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() {
		a.end()
		a.showFailure(t)
	})

	return a
}

// start starts serve.py, and waits until the API answers. It needs an end.
func start(name string, threads int, env ...string) (*api, error) {
	a := &api{name: name, cmd: exec.Command(python, "serve.py", name, strconv.Itoa(threads)), said: &output{}}
	a.cmd.Env = append(os.Environ(), env...)
	a.cmd.Stderr = a.said

	stdin, err := a.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}

	stdout, err := a.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}

	if err := a.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w: run .ci/packages openstack", name, err)
	}

	a.stdin = stdin

	first := make(chan string, 1)

	go func() { // ends with the process's first line, or with the process
		line, _ := bufio.NewReader(stdout).ReadString('\n')
		first <- line
	}()

	select {
	case line := <-first:
		a.URL = string(bytes.TrimSpace([]byte(line)))
	case <-time.After(startLimit):
	}

	if a.URL == "" {
		a.end()

		return nil, fmt.Errorf("%s does not start: run .ci/packages openstack if a module is missing below\n%s", name, a.said)
	}

	return a, nil
}

// end ends the process, which it does as soon as its standard input ends.
func (a *api) end() {
	_ = a.stdin.Close()
	_ = a.cmd.Wait()
}

// showFailure shows what the process said if the test failed.
func (a *api) showFailure(t testing.TB) {
	if t.Failed() {
		t.Logf("%s said:\n%s", a.name, a.said)
	}
}

// write writes a file of the test's.
func write(t testing.TB, path, text string) {
	t.Helper()

	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// output keeps the end of what a process says.
type output struct {
	mu   sync.Mutex
	text []byte
}

// outputLimit is how much of it is kept.
const outputLimit = 64 << 10

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()

	o.text = append(o.text, p...)
	if excess := len(o.text) - outputLimit; excess > 0 {
		o.text = append([]byte(nil), o.text[excess:]...)
	}

	return len(p), nil
}

// String is what was kept.
func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()

	return string(o.text)
}

var _ io.Writer = (*output)(nil)
