package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/trustpool/trustpool/internal/daemontest"
	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/tpmsim/tpmsimtest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// overseen is a real daemon on a simulated node, as systemd and Prometheus see it.
type overseen struct {
	*process

	dir   string
	admin string
	tpm   *outlet
	heard <-chan string // what systemd is told
}

// outlet offers a node's TPM on a unix socket, and can be pulled.
type outlet struct {
	node *tpmsim.Node
	path string
	pull func()
}

func newOutlet(t *testing.T, path string) *outlet {
	t.Helper()

	o := &outlet{node: tpmsimtest.Start(t, tpmsim.Options{}), path: path, pull: func() {}}
	t.Cleanup(func() { o.pull() })

	return o
}

// plug offers the TPM until pull is called.
func (o *outlet) plug(t *testing.T) {
	t.Helper()

	listener, err := net.Listen("unix", o.path)
	if err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)

	go func() { served <- o.node.Serve(ctx, listener) }()

	o.pull = func() {
		cancel()

		if err := <-served; err != nil {
			t.Errorf("serving the TPM: %v", err)
		}

		o.pull = func() {}
	}
}

// watchIt starts the daemon with a socket in the place of systemd's, and a watchdog interval.
func watchIt(t *testing.T, plugged bool) *overseen {
	t.Helper()

	w := &overseen{dir: t.TempDir(), admin: daemontest.FreeAddress(t)}
	w.tpm = newOutlet(t, filepath.Join(w.dir, "tpm.sock"))

	if plugged {
		w.tpm.plug(t)
	}

	if err := writePKI(filepath.Join(w.dir, "pki")); err != nil {
		t.Fatal(err)
	}

	if err := w.tpm.node.WriteRoot(filepath.Join(w.dir, "root"), ""); err != nil {
		t.Fatal(err)
	}

	config := filepath.Join(w.dir, "agent.yaml")
	yaml := fmt.Sprintf(`tpm: {device: %[1]s/tpm.sock}
listen: {address: "127.0.0.1:0", unix: %[1]s/agent.sock}
tls: {certificate: %[1]s/pki/server.pem, key: %[1]s/pki/server-key.pem, client_ca: %[1]s/pki/ca.pem}
clients: [{san: ["dns:%[3]s"], roles: [quote, raw]}]
logs: {root: %[1]s/root, collected: ""}
admin: {address: "%[2]s"}
state_dir: %[1]s
`, w.dir, w.admin, simulatorClient)

	if err := os.WriteFile(config, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}

	socket, heard := daemontest.NotifySocket(t, w.dir)
	w.heard = heard
	w.process = launchWith(t, []string{"NOTIFY_SOCKET=" + socket, "WATCHDOG_USEC=200000"}, "--config", config)

	return w
}

// told waits until systemd is told something, and returns what it was told before.
func (w *overseen) told(t *testing.T, want string) (before []string) {
	t.Helper()

	late := time.After(3 * time.Minute)

	for {
		select {
		case message := <-w.heard:
			if strings.Contains(message, want) {
				return before
			}

			before = append(before, message)
		case <-late:
			t.Fatalf("waiting for %q after %d messages, of which the last is %q\n%s", want, len(before), before[max(0, len(before)-1):], w.stderr.String())
		}
	}
}

// get asks the admin listener.
func (w *overseen) get(t *testing.T, path string) (code int, body string) {
	t.Helper()

	return daemontest.Get(t, "http://"+w.admin+path)
}

func (w *overseen) wantReady(t *testing.T, code int, text string) {
	t.Helper()

	if got, body := w.get(t, "/readyz"); got != code || !strings.Contains(body, text) {
		t.Errorf("/readyz: %d %q, want %d with %q", got, body, code, text)
	}
}

func TestSystemdAndTheAdminListenerAreToldWhetherItCanQuote(t *testing.T) {
	t.Parallel()

	w := watchIt(t, false)

	// Nothing is there that could quote, and yet it is ready for systemd.
	before := w.told(t, "READY=1")
	if text := strings.Join(before, " "); strings.Contains(text, "ready to quote") || strings.Contains(text, "WATCHDOG=1") {
		t.Errorf("told before READY=1: %q", before)
	}

	why := "STATUS=cannot quote: TPM_ABSENT: TPM not reachable: opening the TPM: waiting for " + w.tpm.path
	if !strings.Contains(strings.Join(before, " "), why) { // that it is ready may be told before or after
		w.told(t, why)
	}

	w.wantReady(t, http.StatusServiceUnavailable, "TPM_ABSENT: TPM not reachable")
	w.told(t, "WATCHDOG=1") // a TPM that is not there is no reason for a restart

	w.tpm.plug(t)
	w.told(t, "STATUS=ready to quote with AK 0, 000b")
	w.wantReady(t, http.StatusOK, "ok")

	// Gone while nobody uses it: the agent notices by itself.
	w.tpm.pull()
	w.told(t, "STATUS=cannot quote: TPM_ABSENT")
	w.told(t, "WATCHDOG=1")
	w.wantReady(t, http.StatusServiceUnavailable, "TPM_ABSENT")

	if code, body := w.get(t, "/healthz"); code != http.StatusOK {
		t.Errorf("/healthz: %d %s", code, body)
	}

	if err := w.tpm.node.SetHierarchy(false); err != nil {
		t.Fatal(err)
	}

	w.tpm.plug(t)
	w.told(t, "STATUS=cannot quote: HIERARCHY_DISABLED")
	w.wantReady(t, http.StatusServiceUnavailable, "HIERARCHY_DISABLED: ")

	if code := w.end(t, os.Interrupt); code != 0 {
		t.Errorf("exit code %d\n%s", code, w.stderr.String())
	}

	w.told(t, "STOPPING=1")
}

func TestTheWatchdogIsWithheldOnlyWhenTheTPMHangs(t *testing.T) {
	t.Parallel()

	w := &overseen{dir: t.TempDir()}

	listener, err := net.Listen("unix", filepath.Join(w.dir, "tpm.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()

	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
		}
	}()

	w.admin = daemontest.FreeAddress(t)
	config := filepath.Join(w.dir, "agent.yaml")
	yaml := fmt.Sprintf("tpm: {device: %[1]s/tpm.sock}\nlisten: {address: '', unix: %[1]s/agent.sock}\nadmin: {address: '%[2]s'}\nstate_dir: %[1]s\n"+
		"logs: {root: '', collected: ''}\n", w.dir, w.admin)

	if err := os.WriteFile(config, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}

	began := time.Now()
	socket, heard := daemontest.NotifySocket(t, w.dir)
	w.heard = heard
	w.process = launchWith(t, []string{"NOTIFY_SOCKET=" + socket, "WATCHDOG_USEC=2000000"}, "--config", config)

	w.told(t, "READY=1")
	before := w.told(t, "STATUS=cannot quote: TPM_FAILED: TPM hangs")

	// 10 s are the ceiling for the first command; three times that is more than any TPM takes.
	if took := time.Since(began); took < 30*time.Second {
		t.Errorf("called hung after %v", took)
	}

	// There is one a second, less those for which a busy machine had no time.
	if beats := len(slices.DeleteFunc(before, func(s string) bool { return s != "WATCHDOG=1" })); beats < 5 {
		t.Errorf("%d beats in half a minute of waiting", beats)
	}

	// Nothing may come for as long as systemd would wait.
	for longEnough := time.After(3 * time.Second); longEnough != nil; {
		select {
		case message := <-w.heard:
			if message == "WATCHDOG=1" {
				t.Error("the watchdog is served while the TPM hangs")
			}
		case <-longEnough:
			longEnough = nil
		}
	}

	if code, body := w.get(t, "/healthz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "TPM hangs") {
		t.Errorf("/healthz: %d %s", code, body)
	}
}

// golden is the page of metrics with the names and labels, and without the values that are never the same.
const golden = "testdata/metrics.golden"

func TestTheMetricsPageIsTheGoldenOne(t *testing.T) {
	t.Parallel()

	w := watchIt(t, true)
	w.told(t, "STATUS=ready to quote")
	quoteOver(t, "unix://"+filepath.Join(w.dir, "agent.sock"), insecure.NewCredentials())

	_, page := w.get(t, "/metrics")

	promtool(t, strings.NewReader(page), "check", "metrics")

	got := normal(page)

	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}

	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("the metrics changed (-golden +page); if they should: go test ./cmd/trustpool-agent -run %s -update\n%s", t.Name(), diff)
	}
}

// normal leaves the agent's own metrics of a page, with values that do not depend on when, where and how fast it ran.
func normal(page string) string {
	var b strings.Builder

	varying := regexp.MustCompile(`_(bucket|sum)[{ ]|_timestamp_seconds|start_time_seconds`)
	labels := regexp.MustCompile(`(version)="[^"]*"`)

	for line := range strings.Lines(page) {
		name := strings.TrimPrefix(strings.TrimPrefix(line, "# HELP "), "# TYPE ")
		if !strings.HasPrefix(name, "trustpool_agent_") {
			continue
		}

		line = labels.ReplaceAllString(line, `$1="any"`)
		if i := strings.LastIndex(line, " "); !strings.HasPrefix(line, "#") && varying.MatchString(line) {
			line = line[:i] + " 1\n"
		}

		b.WriteString(line)
	}

	return b.String()
}

// promtool runs Prometheus' own tool, which has to find nothing wrong.
func promtool(t *testing.T, input io.Reader, args ...string) {
	t.Helper()

	path, err := exec.LookPath("promtool")
	if err != nil {
		t.Fatal("promtool is missing: apt-get install prometheus (Fedora: golang-github-prometheus)")
	}

	command := exec.Command(path, args...)
	command.Stdin = input

	if out, err := command.CombinedOutput(); err != nil {
		t.Errorf("promtool %v: %v\n%s", args, err, out)
	}
}
