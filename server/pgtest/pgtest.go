// Package pgtest starts PostgreSQL for tests: a cluster of its own in a temporary folder, which only a unix socket leads to. Nothing of what the machine runs is touched. It needs Debian's package
// postgresql, or the like; where that is missing, tests fail.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// patience is how long PostgreSQL may take to start or to stop.
const patience = 3 * time.Minute

// objectInUse is what PostgreSQL says of a database that others are connected to, once it has waited for five seconds for them to leave (PostgreSQL, appendix A).
const objectInUse = "55006"

// Cluster is a PostgreSQL of the test's own. Its methods are for one caller at a time.
type Cluster struct {
	dir, bin string
	account  *syscall.Credential // nil: ours
	settings []string
	lock     *os.File      // holds dir against sweep
	process  *os.Process   // nil while it does not run
	gone     chan struct{} // closed once process has ended
}

// Start starts a cluster that loses nothing when it is killed, for one test. It ends with the test.
func Start(t testing.TB) *Cluster {
	t.Helper()
	c, err := begin("")
	if err == nil {
		t.Cleanup(c.remove)
		err = c.up()
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// begin makes the files of a cluster in a new folder below temp, or below that of the system if it is empty.
func begin(temp string, settings ...string) (*Cluster, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		path, err := exec.LookPath("initdb")
		if err != nil {
			return nil, fmt.Errorf("PostgreSQL is not installed, install the package postgresql (.ci/packages postgresql does): %w", err)
		}
		found = []string{path}
	}
	c := &Cluster{bin: filepath.Dir(found[len(found)-1]), settings: settings}
	if c.dir, err = os.MkdirTemp(temp, prefix); err != nil {
		return nil, err
	}
	if c.lock, err = lock(c.dir); err != nil {
		return nil, errors.Join(err, os.RemoveAll(c.dir))
	}
	if os.Geteuid() == 0 { // which PostgreSQL refuses to run as
		if c.account, err = account(); err == nil {
			err = os.Chown(c.dir, int(c.account.Uid), int(c.account.Gid))
		}
	}
	if err == nil {
		err = os.Chmod(c.dir, 0o755) // #nosec G302 -- the socket is in it; the data folder is 0700
	}
	if err == nil {
		// The order of English letters is not that of bytes: what relies on either shows.
		err = c.run("initdb", "--pgdata", c.data(), "--username", "trustpool", "--auth", "trust", "--encoding", "UTF8", "--locale", "C.UTF-8", "--locale-provider", "icu", "--icu-locale", "en-US", "--no-sync")
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(c.dir), c.lock.Close())
	}
	return c, nil
}

// account is that of PostgreSQL's own user, or of nobody.
func account() (*syscall.Credential, error) {
	who, err := user.Lookup("postgres")
	if err != nil {
		if who, err = user.Lookup("nobody"); err != nil {
			return nil, err
		}
	}
	uid, err := strconv.ParseUint(who.Uid, 10, 32)
	gid, gidErr := strconv.ParseUint(who.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, errors.Join(err, gidErr)
}

func (c *Cluster) data() string { return filepath.Join(c.dir, "data") }

func (c *Cluster) command(name string, args ...string) *exec.Cmd {
	command := exec.Command(filepath.Join(c.bin, name), args...) // #nosec G204 -- PostgreSQL's programs
	command.Dir = c.dir
	command.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8", "TZ=UTC"}
	command.SysProcAttr = &syscall.SysProcAttr{Credential: c.account, Setpgid: true}
	return command
}

func (c *Cluster) run(name string, args ...string) error {
	if out, err := c.command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("running %s: %w\n%s", name, err, out)
	}
	return nil
}

// up starts the cluster, and waits until it answers.
func (c *Cluster) up() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		if err := c.spawn(); err != nil {
			return err
		}
		err := c.answers(ctx)
		if err == nil {
			return nil
		}
		// After a kill, what is left of the last one may be there for a moment, and a new one does not start beside it.
		if ctx.Err() != nil {
			said, _ := os.ReadFile(filepath.Join(c.dir, "log"))
			return fmt.Errorf("starting PostgreSQL: %w\n%s", err, said)
		}
	}
}

// spawn starts the process. It ends with ours, however that ends.
func (c *Cluster) spawn() error {
	args := []string{"-D", c.data(), "-k", c.dir, "-c", "listen_addresses=", "-c", "shared_buffers=64MB", "-c", "max_connections=200"}
	for _, s := range c.settings {
		args = append(args, "-c", s)
	}
	log, err := os.OpenFile(filepath.Join(c.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the process has its own
	command := c.command("postgres", args...)
	command.Stdout, command.Stderr = log, log
	command.SysProcAttr.Pdeathsig = syscall.SIGQUIT // ends it at once, and its children
	started, gone := make(chan error), make(chan struct{})
	go func() { // down waits for it
		defer close(gone)
		runtime.LockOSThread() // Pdeathsig is about the thread (prctl(2))
		defer runtime.UnlockOSThread()
		err := command.Start()
		started <- err
		if err == nil {
			_ = command.Wait() // its log says why
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("starting PostgreSQL: %w", err)
	}
	c.process, c.gone = command.Process, gone
	return nil
}

// answers waits until it does, or has ended.
func (c *Cluster) answers(ctx context.Context) error {
	for {
		conn, err := pgx.Connect(ctx, c.url("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-c.gone:
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
			return err
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// url is how a database is named to programs.
func (c *Cluster) url(database string) string {
	return "postgres://trustpool@/" + database + "?host=" + url.QueryEscape(c.dir)
}

// Database makes an empty database, and returns its URL.
func (c *Cluster) Database(t testing.TB) string {
	t.Helper()
	name, err := create(c.url("postgres"), "template1")
	if err != nil {
		t.Fatal(err)
	}
	return c.url(name)
}

// create makes a copy of a database in the cluster in which another one has that URL. Whoever has left the template may be there for a moment yet: it waits.
func create(beside, template string) (name string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, beside)
	if err != nil {
		return "", err
	}
	name = "t" + strconv.FormatInt(time.Now().UnixNano(), 36)
	for {
		_, err = conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize()+" TEMPLATE "+pgx.Identifier{template}.Sanitize())
		if said, ok := errors.AsType[*pgconn.PgError](err); !ok || said.Code != objectInUse || ctx.Err() != nil {
			return name, errors.Join(err, conn.Close(context.WithoutCancel(ctx)))
		}
	}
}

// Kill kills the process that PostgreSQL begins with, by SIGKILL. Those that it has started notice, and end.
func (c *Cluster) Kill(t testing.TB) {
	t.Helper()
	if err := c.down(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// Stop stops PostgreSQL, as systemctl does.
func (c *Cluster) Stop(t testing.TB) {
	t.Helper()
	if err := c.down(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
}

// Up starts it again.
func (c *Cluster) Up(t testing.TB) {
	t.Helper()
	if err := c.up(); err != nil {
		t.Fatal(err)
	}
}

// Run runs one of PostgreSQL's programs, such as pg_dump, on a database, and returns what it printed.
func (c *Cluster) Run(t testing.TB, database, name string, args ...string) string {
	t.Helper()
	parsed, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	command := c.command(name, append([]string{"--host", c.dir, "--username", "trustpool", "--dbname", strings.TrimPrefix(parsed.Path, "/")}, args...)...)
	command.SysProcAttr.Credential = nil // it reads and writes the test's files
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return string(out)
}

func (c *Cluster) down(signal os.Signal) error {
	if c.process == nil {
		return nil
	}
	err := c.process.Signal(signal)
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	select {
	case <-c.gone:
		c.process = nil
		return err
	case <-time.After(patience):
		return errors.Join(err, errors.New("PostgreSQL does not stop"))
	}
}

// remove ends it, and takes its files away.
func (c *Cluster) remove() {
	_ = c.down(syscall.SIGQUIT) // at once
	_ = os.RemoveAll(c.dir)     // a temporary folder
	_ = c.lock.Close()          // nothing was written to it
}
