package pgtest

import (
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// variable is where the tests of a package find the cluster that they share.
const variable = "TRUSTPOOL_TEST_POSTGRES"

// Main is for TestMain of packages whose tests share a cluster, each with a database of its own. It runs the tests, and returns the exit code. What is written is not synced to the disk: tests that kill
// PostgreSQL need a cluster from Start.
func Main(m *testing.M) int {
	c, err := begin("fsync=off", "synchronous_commit=off", "full_page_writes=off", "autovacuum=off")
	if err == nil {
		defer c.remove()
		err = c.up()
	}
	if err == nil {
		err = os.Setenv(variable, c.url("postgres"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// Database makes an empty database in the cluster of Main, and returns its URL.
func Database(t testing.TB) string {
	t.Helper()
	beside := os.Getenv(variable)
	if beside == "" {
		t.Fatal("no cluster: TestMain of this package does not call pgtest.Main")
	}
	name, err := create(beside)
	if err != nil {
		t.Fatal(err)
	}
	there, err := url.Parse(beside)
	if err != nil {
		t.Fatal(err)
	}
	there.Path = "/" + name
	return there.String()
}

// Again runs all tests of a package but the one that calls it once more, in a process of its own that has a setting (NAME=VALUE) in its environment.
func Again(t *testing.T, setting string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"-test.skip=^" + t.Name() + "$"}
	if deadline, isBound := t.Deadline(); isBound {
		args = append(args, "-test.timeout="+time.Until(deadline).String())
	}
	command := exec.CommandContext(t.Context(), self, args...) // #nosec G204 -- this program
	command.Env = append(os.Environ(), setting)
	if out, err := command.CombinedOutput(); err != nil || !strings.Contains(string(out), "PASS") {
		t.Errorf("with %s: %v\n%s", setting, err, out)
	}
}
