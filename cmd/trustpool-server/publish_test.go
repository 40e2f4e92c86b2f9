package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trustpool/trustpool/internal/daemontest"
	"github.com/trustpool/trustpool/internal/transcript"
	"github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/server/publish"
	"github.com/trustpool/trustpool/tpmsim/pki"
)

// publisher is the real command, whose attestation server and whose Kubernetes answer nobody: what it does then is what matters most.
type publisher struct {
	dir, admin string
	said       *transcript.Text
	running    *exec.Cmd
}

func newPublisher(t *testing.T) *publisher {
	t.Helper()

	gone := httptest.NewTLSServer(http.NotFoundHandler())
	gone.Close()
	p := &publisher{dir: t.TempDir(), admin: daemontest.FreeAddress(t), said: &transcript.Text{}}
	ca, err := pki.New("test")
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"ca.pem": string(ca.PEM()), "token": "trustpool_nobody\n", "publish-kubernetes.yaml": strings.NewReplacer("DIR", p.dir, "URL", gone.URL, "ADMIN", p.admin).Replace(`
server: {url: "URL", ca: DIR/ca.pem, token_file: DIR/token}
interval: 1s
max_age: 3s
kubernetes: {url: "URL", ca: DIR/ca.pem, token_file: DIR/token}
admin: {address: "ADMIN"}
`),
	} {
		if err := os.WriteFile(filepath.Join(p.dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func (p *publisher) command(env []string, args ...string) *exec.Cmd {
	command := exec.Command(os.Args[0], append([]string{"publish", "kubernetes", "--config", filepath.Join(p.dir, "publish-kubernetes.yaml")}, args...)...)
	command.Env = append(append(os.Environ(), asServer+"=1", "GORACE="+noLinger), env...)
	command.Stderr = p.said
	return command
}

// start starts the daemon, and returns who is told how it fares.
func (p *publisher) start(t *testing.T) *overseer {
	t.Helper()

	s := newOverseer(t, p.dir, p.said)
	p.running = p.command([]string{"NOTIFY_SOCKET=" + s.socket, "WATCHDOG_USEC=200000"})
	if err := p.running.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.running.Process.Kill()
		_ = p.running.Wait()
	})
	return s
}

func TestAPublisherThatReachesNobodySaysSoAndGoesOn(t *testing.T) {
	t.Parallel()

	p := newPublisher(t)
	s := p.start(t)
	s.told(t, "STATUS=0 hosts: 0 trusted, 0 untrusted, 0 unknown; the sink can't be read", "READY=1")
	s.told(t, "WATCHDOG=1")
	publisherPage().compare(t, get(t, "http://"+p.admin+"/metrics"))
	if got := get(t, "http://"+p.admin+"/healthz"); got != "ok\n" {
		t.Errorf("/healthz: %q", got)
	}
	if got := get(t, "http://"+p.admin+"/readyz"); !strings.Contains(got, "reading the sink") {
		t.Errorf("/readyz: %q", got)
	}

	if err := p.running.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s.told(t, "STOPPING=1")
	if err := p.running.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v\n%s", err, p.said)
	}
}

func TestAWithdrawalThatReachesNobodyFails(t *testing.T) {
	t.Parallel()

	p := newPublisher(t)
	for _, args := range [][]string{{"withdraw"}, {"--once"}, {"--dry-run", "--json"}} {
		command := p.command(nil, args...)
		_ = command.Run() // the exit code says it
		if code := command.ProcessState.ExitCode(); code != 1 {
			t.Errorf("%q: exit code %d, want 1", args, code)
		}
	}
	if !strings.Contains(p.said.String(), "reading the sink") {
		t.Errorf("it says: %s", p.said)
	}
}

func TestAReportTellsWhatAPersonWantsToKnow(t *testing.T) {
	t.Parallel()

	changes := []publish.Change{
		{Host: "c", Trust: api.Untrusted, Reason: "pcr_mismatch", MarksBefore: []string{"TRUSTED"}, BarBefore: "none", Bar: "no_new_guests"},
		{Host: "a", Trust: api.Trusted, Reason: "ok", Marks: []string{"TRUSTED"}, BarBefore: "none", Bar: "none", Error: "403 Forbidden"},
	}
	unmarked := []publish.Unmarked{
		{Host: "c", Node: "c.example", Pool: "gold", Trust: api.Untrusted, Reason: "pcr_mismatch"},
		{Host: "d", Trust: api.Unknown, Reason: "unknown_host"},
		{Host: "e", Node: "e.example", Pool: "silver", Trust: api.Trusted, Reason: "ok"},
	}
	for name, test := range map[string]struct {
		report publish.Report
		want   string
	}{
		"what was done": {publish.Report{Hosts: 4, Changes: changes, Unmarked: unmarked}, `wrote c (untrusted, pcr_mismatch): marks [TRUSTED] -> [], bar none -> no_new_guests
wrote a (trusted, ok): marks [] -> [TRUSTED]: FAILED: 403 Forbidden
4 hosts, 2 differed
`},
		"what would be done, and to whom nothing is given": {publish.Report{Hosts: 4, DryRun: true, Changes: changes[:1], Unmarked: unmarked}, `would write c (untrusted, pcr_mismatch): marks [TRUSTED] -> [], bar none -> no_new_guests
no marks for c (untrusted, pcr_mismatch)
no marks for d (unknown, unknown_host)
no marks for e (trusted, ok): none is for its pool, silver
4 hosts, 1 differed
`},
		"a sink without hosts":           {publish.Report{}, "0 hosts, 0 differed\n"},
		"a sink that could not be read":  {publish.Report{Unread: true}, ""},
		"one that could be read no more": {publish.Report{Unread: true, Hosts: 4, Changes: changes[1:]}, "wrote a (trusted, ok): marks [] -> [TRUSTED]: FAILED: 403 Forbidden\n"},
	} {
		var got strings.Builder
		printReport(&got, test.report)
		if diff := cmp.Diff(test.want, got.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
