package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/trustpool/trustpool/cmd/internal/spiffetest"
)

const (
	rulesFile     = "../../packaging/prometheus/trustpool-agent.rules.yml"
	rulesTest     = "../../packaging/prometheus/trustpool-agent.test.yml"
	dashboardFile = "../../packaging/grafana/trustpool-agent.json"
	monitoringDoc = "../../docs/monitoring.md"
)

// goldenSeries returns the series of the golden page, and those of Prometheus' own libraries that every page has.
func goldenSeries(t *testing.T) []string {
	t.Helper()

	series := []string{`up 1`, `process_resident_memory_bytes 1`, `process_cpu_seconds_total 1`}

	for line := range strings.Lines(read(t, golden)) {
		if !strings.HasPrefix(line, "#") {
			series = append(series, strings.TrimSpace(line))
		}
	}

	return series
}

// goldenNames returns the names of the metrics, with their types; also of those that are there with tls.spiffe.
func goldenNames(t *testing.T) map[string]string {
	t.Helper()

	names := spiffetest.Metrics(t, "trustpool_agent")

	for _, match := range regexp.MustCompile(`(?m)^# TYPE (\S+) (\S+)$`).FindAllStringSubmatch(read(t, golden), -1) {
		names[match[1]] = match[2]
	}

	return names
}

func read(t *testing.T, path string) string {
	t.Helper()

	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}

	return string(content)
}

// metricsIn returns the agent's metrics that a text names.
func metricsIn(text string) []string {
	found := regexp.MustCompile(`\btrustpool_agent_[a-z_]+`).FindAllString(text, -1)
	for i := range found {
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			found[i] = strings.TrimSuffix(found[i], suffix)
		}
	}

	slices.Sort(found)

	return slices.Compact(found)
}

// onlyKnown fails for each metric in a text that is not on the golden page.
func onlyKnown(t *testing.T, path string) {
	t.Helper()

	names := goldenNames(t)

	for _, name := range metricsIn(read(t, path)) {
		if names[name] == "" {
			t.Errorf("%s names %s, which is not on the golden page", path, name)
		}
	}
}

func TestTheAlertsDoWhatTheirTestsSay(t *testing.T) {
	t.Parallel()
	onlyKnown(t, rulesFile)
	promtool(t, nil, "check", "rules", rulesFile)
	promtool(t, nil, "test", "rules", rulesTest)

	for _, alert := range alerts(t) {
		if !strings.Contains(read(t, rulesTest), fmt.Sprintf("alertname=%q", alert)) {
			t.Errorf("no test lets %s fire", alert)
		}
	}
}

// alerts returns the names of all alerts.
func alerts(t *testing.T) []string {
	t.Helper()

	var file struct {
		Groups []struct {
			Rules []struct {
				Alert string `yaml:"alert"`
			} `yaml:"rules"`
		} `yaml:"groups"`
	}

	if err := yaml.Unmarshal([]byte(read(t, rulesFile)), &file); err != nil {
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

	for name, change := range map[string][2]string{
		"one that never fires":       {"trustpool_agent_tpm_hung == 1", "trustpool_agent_tpm_hung == 2"},
		"one that fires too early":   {"trustpool_agent_ready == 0\n        for: 5m", "trustpool_agent_ready == 0\n        for: 1m"},
		"one that fires for nothing": {`{result="failed"}`, `{result!="ok"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			rules := read(t, rulesFile)

			broken := strings.Replace(rules, change[0], change[1], 1)
			if broken == rules {
				t.Fatalf("%q is not in the rules", change[0])
			}

			dir := t.TempDir()
			mustWrite(t, filepath.Join(dir, filepath.Base(rulesFile)), []byte(broken))
			mustWrite(t, filepath.Join(dir, "test.yml"), []byte(read(t, rulesTest)))

			if out, err := exec.Command("promtool", "test", "rules", filepath.Join(dir, "test.yml")).CombinedOutput(); err == nil {
				t.Errorf("its test passes: %s", out)
			}
		})
	}
}

// dashboard is what a test looks at in Grafana's format.
type dashboard struct {
	Panels []struct {
		Title   string `json:"title"`
		Targets []struct {
			Expr string `json:"expr"`
		} `json:"targets"`
	} `json:"panels"`
	Templating struct {
		List []struct {
			Name  string `json:"name"`
			Type  string `json:"type"`
			Query string `json:"query"`
		} `json:"list"`
	} `json:"templating"`
}

// queries returns what the dashboard asks, with Grafana's variables as Grafana fills them in.
func (d dashboard) queries() map[string]string {
	fill := strings.NewReplacer("$job", ".*", "$instance", ".*", "$__rate_interval", "5m")
	queries := map[string]string{}

	for _, panel := range d.Panels {
		for i, target := range panel.Targets {
			queries[fmt.Sprintf("%s/%d", panel.Title, i)] = fill.Replace(target.Expr)
		}
	}

	for _, variable := range d.Templating.List {
		if variable.Type == "query" {
			selector, _, _ := strings.Cut(strings.TrimPrefix(variable.Query, "label_values("), ", ")
			queries["variable "+variable.Name] = fill.Replace(selector)
		}
	}

	return queries
}

func TestEveryQueryOfTheDashboardIsAnswered(t *testing.T) {
	t.Parallel()
	onlyKnown(t, dashboardFile)

	var d dashboard
	if err := json.Unmarshal([]byte(read(t, dashboardFile)), &d); err != nil {
		t.Fatal(err)
	}

	queries := d.queries()
	if len(queries) < 30 {
		t.Errorf("only %d queries found", len(queries))
	}

	promtool(t, nil, "test", "rules", answerTest(t, queries))
}

// answerTest writes a test for promtool in which every query has to be answered by the golden page: promtool parses a query, and absent() of what is answered gives nothing.
func answerTest(t *testing.T, queries map[string]string) string {
	t.Helper()

	type entry map[string]any

	var series, expressions []entry

	for _, sample := range goldenSeries(t) {
		i := strings.LastIndex(sample, " ")
		series = append(series, entry{"series": sample[:i], "values": sample[i+1:] + "+1x20"})
	}

	for _, query := range queries {
		// What may well be without an answer has a second one: that does not count here.
		for part := range strings.SplitSeq(query, " or ") {
			if part != "vector(0)" && !strings.Contains(part, "> 0") {
				expressions = append(expressions, entry{"expr": "absent(" + part + ")", "eval_time": "20m", "exp_samples": []entry{}})
			}
		}

		expressions = append(expressions, entry{"expr": "absent(" + query + ")", "eval_time": "20m", "exp_samples": []entry{}})
	}

	content, err := yaml.Marshal(entry{
		"rule_files": []string{}, "evaluation_interval": "1m",
		"tests": []entry{{"interval": "1m", "input_series": series, "promql_expr_test": expressions}},
	})
	if err != nil {
		t.Fatal(err)
	}

	path := filepath.Join(t.TempDir(), "answers.yml")
	mustWrite(t, path, content)

	return path
}

func TestAQueryWithoutAnAnswerIsFound(t *testing.T) {
	t.Parallel()

	for name, query := range map[string]string{
		"a metric that does not exist": "rate(trustpool_agent_quotez_total[5m])",
		"a label that does not exist":  `trustpool_agent_quotes_total{outcome="ok"}`,
		"a query that does not parse":  "sum by (trustpool_agent_ready",
	} {
		path := answerTest(t, map[string]string{"x": query})
		if out, err := exec.Command("promtool", "test", "rules", path).CombinedOutput(); err == nil {
			t.Errorf("%s passes: %s", name, out)
		}
	}
}

func TestTheManualListsEveryMetric(t *testing.T) {
	t.Parallel()

	doc := read(t, monitoringDoc)
	onlyKnown(t, monitoringDoc)

	for name, kind := range goldenNames(t) {
		if !regexp.MustCompile("(?m)^\\| `" + name + "` \\| " + kind + " \\| .+ \\|$").MatchString(doc) {
			t.Errorf("%s has no line for %s, a %s", monitoringDoc, name, kind)
		}
	}

	for _, alert := range alerts(t) {
		if !strings.Contains(doc, "`"+alert+"`") {
			t.Errorf("%s does not name the alert %s", monitoringDoc, alert)
		}
	}
}
