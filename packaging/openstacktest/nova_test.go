//go:build openstack

package openstacktest_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// novaVersion is the newest microversion of Nova's API that the tests need.
const novaVersion = "2.90"

// nova is a cloud of nova_cloud.py: Nova's API, conductor, scheduler, and a nova-compute for each host, with a Placement beside them.
type nova struct {
	// URL is where Nova's API answers, up to and with /v2.1.
	URL string
	// placement is the one of this cloud.
	placement noauth

	who      string // calls its API; "admin" is an administrator
	version  string // of the API, in which it is called
	commands io.Writer
	answers  <-chan string
	log      string
	said     *output
}

// novaConfig is what a cloud is made of, as nova_cloud.py reads it.
type novaConfig struct {
	Placement string                    `json:"placement"`
	Computes  []string                  `json:"computes"`
	Filters   []string                  `json:"filters,omitempty"`
	Options   map[string]map[string]any `json:"options,omitempty"`
	Log       string                    `json:"log"`

	// env is added to the environment of the process.
	env []string
}

// startNova starts a cloud of the test's own, beside the Placement that the configuration names, or one of its own.
func startNova(t testing.TB, config novaConfig) *nova {
	t.Helper()

	n := launchNova(t, config)
	n.ready(t)

	return n
}

// launchNova is startNova, but for waiting until it is ready.
func launchNova(t testing.TB, config novaConfig) *nova {
	t.Helper()

	n := &nova{who: "admin", version: novaVersion, said: &output{}, log: filepath.Join(t.TempDir(), "nova.log")}
	if config.Placement == "" {
		config.Placement = startPlacement(t).URL
	}

	n.placement = noauth{&api{URL: config.Placement}}
	config.Log = n.log

	text, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}

	cmd := exec.Command(python, "nova_cloud.py", string(text))
	cmd.Env = append(cmd.Environ(), config.env...)
	cmd.Stderr = n.said

	commands, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}

	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}

	if err := cmd.Start(); err != nil {
		t.Fatalf("starting Nova: %v: run .ci/packages openstack", err)
	}

	n.commands, n.answers = commands, linesOf(stdout)

	t.Cleanup(func() {
		_ = commands.Close()
		for range n.answers { // until it has ended
		}
		_ = cmd.Wait()

		if t.Failed() {
			t.Logf("Nova said:\n%s\nand logged:\n%s", n.said, tailOf(n.log))
		}
	})

	return n
}

// ready waits until all services run.
func (n *nova) ready(t testing.TB) {
	t.Helper()

	var ready struct {
		API string `json:"api"`
	}

	n.answer(t, &ready)
	n.URL = ready.API
}

// linesOf passes lines on until there are no more.
func linesOf(r io.Reader) <-chan string {
	lines := make(chan string)

	go func() { // ends with the process whose output this is
		defer close(lines)

		for scanner := bufio.NewScanner(r); scanner.Scan(); {
			lines <- scanner.Text()
		}
	}()

	return lines
}

// answer waits for the next answer of nova_cloud.py.
func (n *nova) answer(t testing.TB, into any) {
	t.Helper()

	select {
	case line, ok := <-n.answers:
		if !ok {
			t.Fatalf("Nova has ended: run .ci/packages openstack if a module is missing below\n%s\n%s", n.said, tailOf(n.log))
		}

		if err := json.Unmarshal([]byte(line), into); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
	case <-time.After(startLimit):
		t.Fatalf("Nova says nothing:\n%s\n%s", n.said, tailOf(n.log))
	}
}

// do has nova_cloud.py carry out a command, and waits until that is done.
func (n *nova) do(t testing.TB, command map[string]string) {
	t.Helper()

	if err := json.NewEncoder(n.commands).Encode(command); err != nil {
		t.Fatal(err)
	}

	var answer struct {
		Error string `json:"error"`
	}

	if n.answer(t, &answer); answer.Error != "" {
		t.Fatalf("%v: %s", command, answer.Error)
	}
}

// updateResources has every nova-compute look at its resources and tell Placement, as it does each minute.
func (n *nova) updateResources(t testing.TB) {
	t.Helper()
	n.do(t, map[string]string{"do": "update"})
}

// restart ends the nova-compute of a host and starts another one.
func (n *nova) restart(t testing.TB, host string) {
	t.Helper()
	n.do(t, map[string]string{"do": "restart", "host": host})
}

// as is the same cloud for somebody else.
func (n *nova) as(who string) *nova {
	other := *n
	other.who = who

	return &other
}

// call speaks to Nova's API.
func (n *nova) call(t testing.TB, status int, method, path string, body, answer any) {
	t.Helper()
	must(t, status, method, n.URL+path, n.header(), body, answer)
}

func (n *nova) header() http.Header {
	return http.Header{"X-Auth-Token": {n.who}, "X-Openstack-Nova-Api-Version": {n.version}}
}

// of is the URL of a host's resource provider, which has the UUID of Nova's compute node.
func (n *nova) of(t testing.TB, host string) string {
	t.Helper()

	var got struct {
		Providers []provider `json:"resource_providers"`
	}

	must(t, http.StatusOK, http.MethodGet, n.placement.URL+"/resource_providers?name="+host, asAdmin, nil, &got)

	if len(got.Providers) != 1 {
		t.Fatalf("Placement has %d providers named %s", len(got.Providers), host)
	}

	return n.placement.URL + "/resource_providers/" + got.Providers[0].UUID
}

// traits are those of a host.
func (n *nova) traits(t testing.TB, host string) providerTraits {
	t.Helper()

	var got providerTraits

	must(t, http.StatusOK, http.MethodGet, n.of(t, host)+"/traits", asAdmin, nil, &got)

	return got
}

// has tells whether a host bears the trait.
func (n *nova) has(t testing.TB, host string) bool {
	t.Helper()

	return slices.Contains(n.traits(t, host).Traits, trait)
}

// bearers are the hosts that bear the trait, sorted.
func (n *nova) bearers(t testing.TB) []string {
	t.Helper()

	var got struct {
		Providers []provider `json:"resource_providers"`
	}

	must(t, http.StatusOK, http.MethodGet, n.placement.URL+"/resource_providers?required="+trait, asAdmin, nil, &got)

	var names []string
	for _, p := range got.Providers {
		names = append(names, p.Name)
	}

	slices.Sort(names)

	return names
}

// mark has a host bear the trait, or not, as whoever holds Nova's credential for Placement can.
func (n *nova) mark(t testing.TB, host string, trusted bool) {
	t.Helper()

	now := n.traits(t, host)
	now.Traits = slices.DeleteFunc(now.Traits, func(name string) bool { return name == trait })

	if trusted {
		now.Traits = append(now.Traits, trait)
	}

	must(t, http.StatusOK, http.MethodPut, n.of(t, host)+"/traits", asAdmin, now, nil)
}
