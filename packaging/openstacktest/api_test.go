//go:build openstack

package openstacktest_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
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

	said *output
}

// serve starts serve.py on a folder with the API's configuration. It ends with the test, at the latest.
func serve(t testing.TB, name, dir string, threads int, env ...string) *api {
	t.Helper()

	ctx, cancel := context.WithTimeout(t.Context(), startLimit)
	defer cancel()

	a := &api{said: &output{}}
	cmd := exec.Command(python, "serve.py", name, strconv.Itoa(threads))
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = a.said

	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}

	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}

	if err := cmd.Start(); err != nil {
		t.Fatalf("starting %s: %v: run .ci/packages openstack", name, err)
	}

	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Wait()

		if t.Failed() {
			t.Logf("%s in %s said:\n%s", name, dir, a.said)
		}
	})

	first := make(chan string, 1)

	go func() { // ends with the process's first line, or with the process
		line, _ := bufio.NewReader(stdout).ReadString('\n')
		first <- line
	}()

	select {
	case line := <-first:
		a.URL = string(bytes.TrimSpace([]byte(line)))
	case <-ctx.Done():
		_ = cmd.Process.Kill()
	}

	if a.URL == "" {
		t.Fatalf("%s does not start: run .ci/packages openstack if a module is missing below\n%s", name, a.said)
	}

	return a
}

// placementConfig is Placement's own configuration, with the way that callers are known and a database.
const placementConfig = `[DEFAULT]
debug = false
[api]
auth_strategy = %s
[placement_database]
connection = sqlite:///%s
sync_on_startup = true
[placement]
randomize_allocation_candidates = false
`

// startPlacement starts a Placement of the test's own, with an empty database. It takes whoever says to be "admin" (the token) for an administrator; the header X-Roles names other roles.
func startPlacement(t testing.TB) *api {
	t.Helper()

	dir := t.TempDir()
	write(t, filepath.Join(dir, "placement.conf"), fmt.Sprintf(placementConfig, "noauth2", filepath.Join(dir, "placement.db")))

	return serve(t, "placement", dir, 4, "OS_PLACEMENT_CONFIG_DIR="+dir)
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
