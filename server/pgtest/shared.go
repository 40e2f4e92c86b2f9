package pgtest

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// variable is where the tests of a package find the cluster that they share.
const variable = "TRUSTPOOL_TEST_POSTGRES"

// Main is for TestMain of packages whose tests share a cluster, each with a database of its own. It runs the tests, and returns the exit code. What is written stays in memory, or is at least not synced to the
// disk: tests that kill PostgreSQL need a cluster from Start.
func Main(m *testing.M) int {
	c, err := begin(memory(), "fsync=off", "synchronous_commit=off", "full_page_writes=off", "autovacuum=off", "max_wal_size=64MB")
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

// memory is a folder that is in memory, if there is one with room for the databases of some packages, each of which has 10 MiB at least. Whoever sets TMPDIR has chosen another.
//
// What killed tests have left there is taken away first: it would not go before the machine does.
func memory() string {
	const (
		folder = "/dev/shm"
		room   = 4 << 30
	)
	sweep(folder)
	var system syscall.Statfs_t
	if os.Getenv("TMPDIR") != "" || syscall.Statfs(folder, &system) != nil || system.Bavail < room/uint64(system.Bsize) { // #nosec G115 -- the size of a block
		return ""
	}
	return folder
}

// prefix begins the names of clusters' folders.
const prefix = "trustpool-pg"

// sweep takes away the clusters of a folder that nobody holds any more.
func sweep(folder string) {
	left, _ := filepath.Glob(filepath.Join(folder, prefix+"*")) // the pattern is well formed
	for _, dir := range left {
		if info, err := os.Stat(dir); err != nil || time.Since(info.ModTime()) < time.Minute {
			continue // it may not be locked yet
		}
		if held, err := lock(dir); err == nil {
			_ = os.RemoveAll(dir) // the next one tries again
			_ = held.Close()      // nothing was written to it
		}
	}
}

// lock holds a folder until the file is closed, or the process ends.
func lock(dir string) (*os.File, error) {
	file, err := os.Open(dir) // #nosec G304 -- a folder of this package
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil { // #nosec G115 -- a file descriptor
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// Database makes an empty database in the cluster of Main, and returns its URL.
func Database(t testing.TB) string {
	t.Helper()
	database, err := New()
	if err != nil {
		t.Fatal(err)
	}
	return database
}

// New is Database for whoever has no test, because what it makes is for several.
func New() (database string, err error) { return copyOf("template1") } // as CREATE DATABASE does by itself

// Copy makes a copy of a database in the cluster of Main, and returns its URL. Those who use the original must leave it before, or this waits for them.
func Copy(t testing.TB, database string) string {
	t.Helper()
	original, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	another, err := copyOf(strings.TrimPrefix(original.Path, "/"))
	if err != nil {
		t.Fatal(err)
	}
	return another
}

// copyOf makes a copy of the database with a name.
func copyOf(template string) (database string, err error) {
	beside := os.Getenv(variable)
	if beside == "" {
		return "", errors.New("no cluster: TestMain of this package does not call pgtest.Main")
	}
	name, err := create(beside, template)
	if err != nil {
		return "", err
	}
	there, err := url.Parse(beside)
	if err != nil {
		return "", err
	}
	there.Path = "/" + name
	return there.String(), nil
}

// Again runs all tests of a package but the one that calls it, and some that the setting makes no difference to, once more: in a process of its own that has the setting (NAME=VALUE) in its environment.
func Again(t *testing.T, setting string, besides ...string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"-test.skip=^(" + strings.Join(append(besides, t.Name()), "|") + ")$"}
	if deadline, isBound := t.Deadline(); isBound {
		args = append(args, "-test.timeout="+time.Until(deadline).String())
	}
	command := exec.CommandContext(t.Context(), self, args...) // #nosec G204 -- this program
	command.Env = append(os.Environ(), setting)
	if out, err := command.CombinedOutput(); err != nil || !strings.Contains(string(out), "PASS") {
		t.Errorf("with %s: %v\n%s", setting, err, out)
	}
}
