package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/trustpool/trustpool/cmd/internal/spiffetest"
	"github.com/trustpool/trustpool/internal/daemontest"
)

// monitored is a daemon's page of metrics, and what is said about it.
type monitored struct {
	// prefix begins the names of its own metrics.
	prefix string
	// golden is the page with the names and labels, and without the values that are never the same.
	golden string
	// rules are its alerts, tests theirs, and doc the page on both.
	rules, tests, doc string
}

func serverPage() monitored {
	const rules = "../../packaging/prometheus/trustpool-server"
	return monitored{"trustpool_server_", "testdata/metrics.golden", rules + ".rules.yml", rules + ".test.yml", "../../docs/server.md"}
}

func publisherPage() monitored {
	const rules = "../../packaging/prometheus/trustpool-publisher"
	return monitored{"trustpool_publisher_", "testdata/publisher.golden", rules + ".rules.yml", rules + ".test.yml", "../../docs/publish.md"}
}

var update = flag.Bool("update", false, "write the golden files anew")

func TestTheMetricsPageIsTheGoldenOne(t *testing.T) {
	t.Parallel()

	x := newSite(t, 1, time.Hour, "") // one challenge, and no other
	admin := x.withAdmin(t)
	x.start(t)
	x.furnish(t)
	x.waitUntil(t, "the node is trusted", func(ctx context.Context) bool {
		host, err := x.client.Host(ctx, x.nodes[0].name)
		return err == nil && host.TrustedAt(time.Now())
	})
	page := get(t, "http://"+admin+"/metrics")
	serverPage().compare(t, page)

	for path, want := range map[string]string{"/healthz": "ok\n", "/readyz": "ok\n"} {
		if got := get(t, "http://"+admin+path); got != want {
			t.Errorf("%s: %q", path, got)
		}
	}
}

// A caller who asks while the collector runs waits for a processor: it is to come seldom, though the heap is small.
func TestTheCollectorHasRoomUnlessTheEnvironmentSaysHowMuch(t *testing.T) {
	t.Parallel()

	x := newSite(t, 1, time.Hour, "")
	admin := x.withAdmin(t)
	for _, c := range []struct {
		env  []string
		room bool
	}{
		{[]string{"GOGC=", "GOMEMLIMIT="}, true},
		{[]string{"GOGC=100", "GOMEMLIMIT="}, false},
		{[]string{"GOGC=", "GOMEMLIMIT=256MiB"}, false},
	} {
		x.env = c.env
		x.start(t)
		x.waitUntil(t, "the server answers", x.answers)
		x.waitUntil(t, fmt.Sprintf("with %v, %t is said of the collector's room", c.env, c.room), func(context.Context) bool {
			return (nextCollection(t, get(t, "http://"+admin+"/metrics")) > 128<<20) == c.room
		})
		x.kill()
	}
}

// nextCollection is the size of the heap at which the collector comes, in bytes.
func nextCollection(t *testing.T, page string) float64 {
	t.Helper()

	_, after, _ := strings.Cut(page, "\ngo_memstats_next_gc_bytes ")
	text, _, _ := strings.Cut(after, "\n")
	size, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	return size
}

// compare wants a page to be the golden one.
func (m monitored) compare(t *testing.T, page string) {
	t.Helper()

	promtool(t, strings.NewReader(page), "check", "metrics")
	got := m.normal(page)
	if *update {
		if err := os.WriteFile(m.golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(read(t, m.golden), got); diff != "" {
		t.Errorf("the metrics changed (-golden +page); if they should: go test ./cmd/trustpool-server -run %s -update\n%s", t.Name(), diff)
	}
}

// withAdmin gives the server an admin listener, and returns its address.
func (x *site) withAdmin(t *testing.T) string {
	t.Helper()

	path, address := filepath.Join(x.dir, "server.yaml"), daemontest.FreeAddress(t)
	secret := filepath.Join(x.dir, "secret") // of a webhook that is never told: no node is in its pool
	webhooks := fmt.Sprintf("webhooks: [{name: pager, url: 'https://pager.example', pools: [none], secret_file: %s}]\n", secret)
	text := webhooks + strings.Replace(read(t, path), `admin: {address: ""}`, fmt.Sprintf("admin: {address: %q}", address), 1)
	if err := os.WriteFile(secret, []byte("whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return address
}

func get(t *testing.T, url string) string {
	t.Helper()

	_, body := daemontest.Get(t, url)
	return body
}

// normal leaves the daemon's own metrics of a page, with values that do not depend on when, where and how fast it ran, and of how often it was asked one route.
func (m monitored) normal(page string) string {
	var b strings.Builder
	varying := regexp.MustCompile(`_(bucket|sum|count)[{ ]|_timestamp_seconds|start_time_seconds|_size_bytes|_requests_total|_reconciles_total|_lag_seconds|_due_nodes|_asking_nodes`)
	labels := regexp.MustCompile(`(version)="[^"]*"`)
	for line := range strings.Lines(page) {
		name := strings.TrimPrefix(strings.TrimPrefix(line, "# HELP "), "# TYPE ")
		route := strings.Contains(line, `route="`) && !strings.Contains(line, `route="GET /v1/caller"`)
		if !strings.HasPrefix(name, m.prefix) || route {
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

// names returns the names of the metrics, with their types; of the server also those that are there with tls.spiffe and nodes.spiffe.
func (m monitored) names(t *testing.T) map[string]string {
	t.Helper()

	names := map[string]string{}
	if m == serverPage() {
		maps.Copy(names, spiffetest.Metrics(t, "trustpool_server"))
		maps.Copy(names, spiffetest.Metrics(t, "trustpool_server_node"))
	}
	for _, match := range regexp.MustCompile(`(?m)^# TYPE (\S+) (\S+)$`).FindAllStringSubmatch(read(t, m.golden), -1) {
		names[match[1]] = match[2]
	}
	return names
}

// onlyKnown fails for each metric in a text that is not on the golden page.
func (m monitored) onlyKnown(t *testing.T, path string) {
	t.Helper()

	names := m.names(t)
	for _, name := range regexp.MustCompile(`\b`+m.prefix+`[a-z_]+`).FindAllString(read(t, path), -1) {
		plain := name
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			plain = strings.TrimSuffix(plain, suffix)
		}
		if names[name] == "" && names[plain] == "" {
			t.Errorf("%s names %s, which is not on the golden page", path, name)
		}
	}
}

func TestTheAlertsDoWhatTheirTestsSay(t *testing.T) {
	t.Parallel()

	for _, m := range []monitored{serverPage(), publisherPage()} {
		m.onlyKnown(t, m.rules)
		promtool(t, nil, "check", "rules", m.rules)
		promtool(t, nil, "test", "rules", m.tests)
		for _, alert := range m.alerts(t) {
			if !strings.Contains(read(t, m.tests), fmt.Sprintf("alertname=%q", alert)) {
				t.Errorf("no test lets %s fire", alert)
			}
		}
	}
}

// alerts returns the names of all alerts.
func (m monitored) alerts(t *testing.T) []string {
	t.Helper()

	var file struct {
		Groups []struct {
			Rules []struct {
				Alert string `yaml:"alert"`
			} `yaml:"rules"`
		} `yaml:"groups"`
	}
	if err := yaml.Unmarshal([]byte(read(t, m.rules)), &file); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, rule := range file.Groups[0].Rules {
		names = append(names, rule.Alert)
	}
	return names
}

func TestABrokenAlertFailsItsTest(t *testing.T) {
	t.Parallel()

	page := serverPage()
	rules := read(t, page.rules)
	for name, change := range map[string][2]string{
		"one that never fires":       {"trustpool_server_alarms_open > 0", "trustpool_server_alarms_open > 1"},
		"one that fires too early":   {"trustpool_server_ready == 0\n        for: 5m", "trustpool_server_ready == 0\n        for: 1m"},
		"one that fires for nothing": {`{code=~"5.."}`, `{code!="200"}`},
	} {
		broken := strings.Replace(rules, change[0], change[1], 1)
		if broken == rules {
			t.Fatalf("%q is not in the rules", change[0])
		}
		dir := t.TempDir()
		for file, content := range map[string]string{filepath.Base(page.rules): broken, "test.yml": read(t, page.tests)} {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if out, err := exec.Command("promtool", "test", "rules", filepath.Join(dir, "test.yml")).CombinedOutput(); err == nil {
			t.Errorf("%s: its test passes: %s", name, out)
		}
	}
}

func TestThePageListsEveryMetricAndAlert(t *testing.T) {
	t.Parallel()

	for m, least := range map[monitored]int{serverPage(): 20, publisherPage(): 12} {
		doc := read(t, m.doc)
		m.onlyKnown(t, m.doc)
		names := m.names(t)
		if len(names) < least {
			t.Errorf("%s: only %d metrics found", m.golden, len(names))
		}
		for name, kind := range names {
			if !regexp.MustCompile("(?m)^\\| `" + name + "` \\| " + kind + " \\| .+ \\|$").MatchString(doc) {
				t.Errorf("%s has no line for %s, a %s", m.doc, name, kind)
			}
		}
		for _, alert := range m.alerts(t) {
			if !strings.Contains(doc, "`"+alert+"`") {
				t.Errorf("%s does not name the alert %s", m.doc, alert)
			}
		}
	}
}
