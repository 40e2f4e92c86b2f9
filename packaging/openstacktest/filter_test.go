//go:build openstack

package openstacktest_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// filterDir has TrustedPoolFilter and its own tests.
const filterDir = "../openstack"

// TestFilterAlone runs the filter's own tests in Debian's Nova, as nova-scheduler runs with eventlet, and as it runs without.
func TestFilterAlone(t *testing.T) {
	t.Parallel()

	for name, without := range map[string]string{"with eventlet": "0", "without eventlet": "1"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			cmd := exec.Command(python, "-W", "ignore", "-m", "unittest", "test_trustpool_nova_filter", "test_trustpool_nova_query")
			cmd.Dir, cmd.Env = filterDir, append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1", "OS_NOVA_DISABLE_EVENTLET_PATCHING="+without)
			if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "\nOK\n") {
				t.Errorf("%v: run .ci/packages openstack if a module is missing\n%s", err, out)
			}
		})
	}
}

// TestFilterIsSmallAndTidy holds it to PEP 8, with lines of up to 99 characters, and to the length that an operator reads through before he loads it into his scheduler.
func TestFilterIsSmallAndTidy(t *testing.T) {
	t.Parallel()

	text, err := os.ReadFile(filterDir + "/trustpool_nova_filter.py")
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(string(text), "\n"); lines > 100 {
		t.Errorf("the filter has %d lines, more than 100", lines)
	}
	for _, tool := range [][]string{{"pyflakes"}, {"pycodestyle", "--max-line-length=99"}} {
		args := append(append([]string{"-m"}, tool...), filterDir, "filter_ask.py")
		if out, err := exec.Command(python, args...).CombinedOutput(); err != nil {
			t.Errorf("%v: run .ci/packages openstack if a module is missing\n%s", err, out)
		}
	}
}

// asker is Nova's filter handler with the filter in it, as a process.
type asker struct {
	in  io.Writer
	out *bufio.Scanner
}

// startAsker starts one, with that nova.conf and TrustedPoolFilter.
func startAsker(t *testing.T, config string) *asker {
	t.Helper()

	return startAskerOf(t, config, []string{"PYTHONPATH=" + filterDir}, "filter_ask.py")
}

// startAskerOf starts one by a script, with its arguments and what is added to its environment.
func startAskerOf(t *testing.T, config string, env []string, script ...string) *asker {
	t.Helper()

	path := t.TempDir() + "/nova.conf"
	write(t, path, config)

	var said output
	cmd := exec.Command(python, slices.Concat([]string{"-W", "ignore"}, script, []string{"--config-file", path})...)
	cmd.Env, cmd.Stderr = slices.Concat(os.Environ(), []string{"PYTHONDONTWRITEBYTECODE=1"}, env), &said
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait() // what it printed counts

		if t.Failed() {
			t.Logf("the filter said:\n%s", said.String())
		}
	})

	return &asker{in: in, out: bufio.NewScanner(out)}
}

// left is what a filter left of three hosts, after how many requests to the server (TrustedPoolFilter does not count them) and seconds.
type left struct {
	Passed  []string
	Posts   int
	Seconds float64
}

// passed returns which of the three hosts the filter leaves for a flavor, and how long it took.
func (a *asker) passed(t *testing.T, flavor map[string]string) ([]string, time.Duration) {
	t.Helper()
	l := a.ask(t, flavor)

	return l.Passed, time.Duration(l.Seconds * float64(time.Second))
}

// ask asks about three hosts for a flavor.
func (a *asker) ask(t *testing.T, flavor map[string]string) left {
	t.Helper()

	if err := json.NewEncoder(a.in).Encode(map[string]any{"extra_specs": flavor, "nodes": []string{host1, host2, host3}}); err != nil {
		t.Fatal(err)
	}
	var answer left
	if !a.out.Scan() {
		t.Fatal("the filter does not answer: run .ci/packages openstack if a module is missing below")
	}
	if err := json.Unmarshal(a.out.Bytes(), &answer); err != nil {
		t.Fatal(err)
	}

	return answer
}

// are fails unless the filter leaves these hosts for a flavor.
func (a *asker) are(t *testing.T, flavor map[string]string, want ...string) {
	t.Helper()

	if got, took := a.passed(t, flavor); !slices.Equal(got, want) {
		t.Errorf("%v: the filter leaves %v after %v, want %v", flavor, got, took, want)
	}
}

// Flavors, by their properties.
var (
	byKey   = map[string]string{"trust:trusted_host": "trusted"}
	byTrait = map[string]string{"trait:CUSTOM_TRUSTED_POOL": "required"}
)

// filterConfig is nova.conf; patience is for a machine with much else to do, where an answer may take longer than the 2 s that the filter has for it otherwise.
const (
	filterConfig = "[trustpool]\nurl = https://ADDRESS\ncafile = DIR/sim/pki/ca.pem\ntoken_file = DIR/filter-token\n"
	patience     = "timeout = 60\n"
)

// TestFilterAsksTheServer has the filter ask a real server, over TLS, about simulated nodes.
func TestFilterAsksTheServer(t *testing.T) {
	t.Parallel()

	s := startSite(t, 3, 1)
	token, err := os.ReadFile(s.path("reader"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, s.path("filter-token"), string(token))
	impatient := strings.NewReplacer("DIR", s.dir, "ADDRESS", s.address).Replace(filterConfig)
	config := impatient + patience
	a := startAsker(t, config)
	plain := map[string]string{"hw:cpu_policy": "shared"}

	a.are(t, byKey)
	a.are(t, plain, host1, host2, host3)

	s.trustFirst(t)
	eventually(t, siteLimit, func() bool {
		got, _ := a.passed(t, byKey)

		return slices.Equal(got, []string{host1, host2})
	}, func() string { return s.ctl(t, "node", "list") })
	a.are(t, byTrait, host1, host2)
	a.are(t, map[string]string{"trust:trusted_host": "untrusted"})

	t.Run("a verdict counts from when the server has it", func(t *testing.T) {
		s.reboot(t, "node1", otherHypervisor)
		eventually(t, siteLimit, func() bool {
			_, err := s.try("trustpoolctl", "host", "status", "node1") // fails if the host is not trusted

			return err != nil
		}, func() string { return s.ctl(t, "node", "list") })
		a.are(t, byKey, host2)
		s.ctl(t, "node", "hold", "node2", "--reason", "test")
		a.are(t, byKey)
		a.are(t, plain, host1, host2, host3)
		s.reboot(t, "node1", "trusted")
		eventually(t, siteLimit, func() bool {
			got, _ := a.passed(t, byKey)

			return slices.Equal(got, []string{host1})
		}, func() string { return s.ctl(t, "node", "list") })
	})

	t.Run("a trait of another pool", func(t *testing.T) {
		startAsker(t, config+"traits = CUSTOM_TRUSTED_POOL:gold, CUSTOM_SIM:sim\n").are(t, byTrait)
		startAsker(t, config+"traits = CUSTOM_TRUSTED_POOL:gold sim\n").are(t, byTrait, host1)
	})

	t.Run("a token that does not count", func(t *testing.T) {
		write(t, s.path("filter-token"), "tp_nobody")
		a.are(t, byKey)
		write(t, s.path("filter-token"), string(token))
		a.are(t, byKey, host1)
	})

	t.Run("a CA that did not sign", func(t *testing.T) {
		startAsker(t, strings.Replace(config, "cafile", "#", 1)).are(t, byKey)
	})

	t.Run("a server that hangs", func(t *testing.T) {
		hurried := startAsker(t, impatient)
		hurried.are(t, plain, host1, host2, host3) // it runs
		if err := s.server.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		got, took := hurried.passed(t, byKey)
		a.are(t, plain, host1, host2, host3)
		if err := s.server.cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		if len(got) > 0 || took < time.Second || took > 30*time.Second {
			t.Errorf("the filter leaves %v after %v", got, took)
		}
		fmt.Printf("figure: the server hangs: no host passes after %d ms\n", took.Milliseconds())
	})
	a.are(t, byKey, host1)

	t.Run("a server that is down", func(t *testing.T) {
		s.server.end(os.Kill)
		a.are(t, byKey)
		a.are(t, byTrait)
		a.are(t, plain, host1, host2, host3)
	})
}
