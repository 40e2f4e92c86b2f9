package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// asSim makes the test binary be the command, so that tests can kill the real one.
const asSim = "TRUSTPOOL_TEST_AS_SIM"

// noLinger keeps the race detector's runtime from sleeping for a second at the end of each process.
const noLinger = "atexit_sleep_ms=0"

func TestMain(m *testing.M) {
	if os.Getenv(asSim) != "" {
		main()
	}

	testscript.Main(m, map[string]func(){"trustpool-sim": main})
}

func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits,
			"simulate": func(ts *testscript.TestScript, _ bool, args []string) {
				s, err := newSim(context.Background(), append([]string{"--dir", ts.MkAbs("sim")}, args...)...)
				if err != nil {
					ts.Fatalf("%v", err)
				}
				ts.Defer(func() {
					if err := s.end(syscall.SIGINT); err != nil {
						ts.Fatalf("%v", err)
					}
				})
			},
		},
		Setup: func(env *testscript.Env) error {
			env.Setenv("GORACE", noLinger)

			return nil
		},
	})
}

// exits runs a command that must end with an exit code: exits CODE COMMAND ARGS...
func exits(ts *testscript.TestScript, _ bool, args []string) {
	code := 0

	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}

	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("%s exits with %d, not %s", strings.Join(args[1:], " "), code, args[0])
	}
}

// sim is a simulator that runs.
type sim struct {
	cmd   *exec.Cmd
	dir   string
	nodes map[string]nodeState // by their short names, as they started
	ready event
	said  strings.Builder
}

// newSim starts a simulator and waits until its nodes run.
func newSim(ctx context.Context, args ...string) (*sim, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}

	s := &sim{cmd: exec.CommandContext(ctx, self, append(args, "--json")...), nodes: make(map[string]nodeState)}
	s.cmd.Env = append(os.Environ(), asSim+"=1", "GORACE="+noLinger)
	s.cmd.Stderr = &s.said
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}

	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}

	if err := s.cmd.Start(); err != nil {
		return nil, err
	}

	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return nil, errors.Join(err, s.cmd.Process.Kill(), s.cmd.Wait())
		}

		if e.Node != nil {
			short, _, _ := strings.Cut(e.Node.Name, ".")
			s.nodes[short] = *e.Node
		}

		if e.Event == "ready" {
			s.ready, s.dir = e, e.Dir

			return s, nil
		}
	}

	return nil, errors.Join(errors.New("it does not get ready: "+s.said.String()), s.cmd.Wait())
}

// simulate starts a simulator for a test, which ends it.
func simulate(t *testing.T, args ...string) *sim {
	t.Helper()

	s, err := newSim(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s.cmd.ProcessState == nil {
			_ = s.cmd.Process.Kill()
			_ = s.cmd.Wait()
		}
	})

	return s
}

// end sends a signal and waits for the end.
func (s *sim) end(signal syscall.Signal) error {
	if err := s.cmd.Process.Signal(signal); err != nil {
		return err
	}

	if err := s.cmd.Wait(); err != nil {
		return errors.New(err.Error() + ": " + s.said.String())
	}

	return nil
}

// children are the processes of swtpm.
func (s *sim) children(t *testing.T) []int {
	t.Helper()

	lists, err := filepath.Glob(filepath.Join("/proc", strconv.Itoa(s.cmd.Process.Pid), "task/*/children"))
	if err != nil {
		t.Fatal(err)
	}

	var pids []int

	for _, list := range lists {
		text, err := os.ReadFile(list)
		if err != nil {
			continue // the thread has ended
		}

		for field := range strings.FieldsSeq(string(text)) {
			pid, err := strconv.Atoi(field)
			if err != nil {
				t.Fatal(err)
			}

			pids = append(pids, pid)
		}
	}

	return pids
}

// goneSoon waits until none of the processes is there any more.
func goneSoon(t *testing.T, pids []int) {
	t.Helper()

	late := time.After(2 * time.Minute)

	for _, pid := range pids {
		for !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			select {
			case <-late:
				t.Fatalf("process %d stays", pid)
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
}
