package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// results are all that a run found. In the file, the figures stand at the top, each under its own key; the rest is below "run", "cases", "crowds" and "go".
type results struct {
	figures map[string]float64
	Run     runInfo      `json:"run"`
	Cases   []caseResult `json:"cases"`
	Crowds  []crowdLine  `json:"crowds"`
	// Go are Go's own benchmarks by their names, without "Benchmark".
	Go map[string]goFigures `json:"go"`
}

// runInfo says where and how it was measured.
type runInfo struct {
	Form    string  `json:"form"` // short or full
	Time    string  `json:"time"`
	Seconds float64 `json:"seconds"`
	CPUs    int     `json:"cpus"`
	CPU     string  `json:"cpu"`
	Kernel  string  `json:"kernel"`
	Go      string  `json:"go"`
	SWTPM   string  `json:"swtpm"`
	// LoadBefore and LoadAfter are the machine's load average over one minute; before, it is what others do.
	LoadBefore string `json:"load_before"`
	LoadAfter  string `json:"load_after"`
}

// caseResult is one case of callers who come one after the other.
type caseResult struct {
	Case    string  `json:"case"`
	Key     string  `json:"key"`
	DelayMS float64 `json:"delay_ms"`
	Rounds  int     `json:"rounds"`
	Calls   int     `json:"calls"` // a round
	P50     float64 `json:"p50_us"`
	P99     float64 `json:"p99_us"`
	Ratio   float64 `json:"ratio"` // to the raw quote of the same key and delay
	// Commands is how many TPM commands a call takes; 0: not counted here.
	Commands int `json:"commands,omitempty"`
}

// crowdLine is one size of a crowd.
type crowdLine struct {
	Key      string   `json:"key"`
	DelayMS  float64  `json:"delay_ms"`
	Callers  int      `json:"callers"`
	Rounds   int      `json:"rounds"`
	Alone    crowdWay `json:"one_by_one"`
	Together crowdWay `json:"aggregated"`
	Ratio    float64  `json:"ratio"` // median over the rounds of aggregated a second / one by one a second
}

// crowdWay is one way to serve it. Percentiles are 0 where not every caller was answered twice in a round: those who were not would be missing.
type crowdWay struct {
	PerSecond float64 `json:"per_second"`
	P50       float64 `json:"p50_ms"`
	P99       float64 `json:"p99_ms"`
	// DaemonCPU and CallersCPU are what one call takes of each, in microseconds.
	DaemonCPU  float64 `json:"daemon_cpu_us"`
	CallersCPU float64 `json:"callers_cpu_us"`
}

func newResults(short bool) *results {
	r := &results{figures: make(map[string]float64), Run: runInfo{
		Form: "full", Time: time.Now().UTC().Format(time.RFC3339), CPUs: runtime.NumCPU(), Go: runtime.Version(), LoadBefore: loadAverage(),
		CPU: cpuModel(), Kernel: firstLine("/proc/sys/kernel/osrelease"), SWTPM: swtpmVersion(),
	}}
	if short {
		r.Run.Form = "short"
	}

	return r
}

// took notes the end.
func (r *results) took(d time.Duration) {
	r.Run.Seconds, r.Run.LoadAfter = d.Seconds(), loadAverage()
}

func (r *results) set(key string, value float64) { r.figures[key] = value }

// keySuffix is how figures name a kind of key.
func keySuffix(kind string) string {
	if kind == rsa {
		return "rsa"
	}

	return "ecdsa"
}

// addSeries takes over cases, the reference first.
func (r *results) addSeries(kind string, delay time.Duration, set []*series) {
	for _, s := range set {
		r.Cases = append(r.Cases, caseResult{
			Case: s.name, Key: kind, DelayMS: milliseconds(delay), Rounds: len(s.rounds), Calls: s.calls,
			P50: 1000 * milliseconds(s.quantile(0.5)), P99: 1000 * milliseconds(s.quantile(0.99)), Ratio: s.over(set[0]), Commands: s.commands,
		})
	}

	suffix := keySuffix(kind)
	if delay > 0 {
		suffix = fmt.Sprintf("%.0fms", milliseconds(delay))
	}

	for name, key := range map[string]string{
		caseMinimal: "bare_grpc_over_raw_", caseMTLS: "mtls_over_raw_", caseUnix: "unix_over_raw_", caseNew: "new_connection_over_raw_", caseResumed: "resumed_over_raw_",
		"go-attestation AttestPlatform": "go_attestation_over_raw_", "go-tpm-tools Attest": "go_tpm_tools_over_raw_", "tpm2_quote": "tpm2_quote_over_raw_",
	} {
		for _, s := range set {
			if s.name == name {
				r.set(key+suffix, s.over(set[0]))
			}
		}
	}
}

// addCrowd takes over one size of a crowd.
func (r *results) addCrowd(plan crowdPlan, result crowdResult) {
	line := crowdLine{
		Key: plan.kind, DelayMS: milliseconds(plan.delay), Callers: plan.callers, Rounds: len(result.alone),
		Alone: summary(result.alone, plan.callers), Together: summary(result.together, plan.callers),
	}

	ratios := make([]float64, 0, len(result.alone))
	for i := range result.alone {
		ratios = append(ratios, result.together[i].perSecond/result.alone[i].perSecond)
	}

	line.Ratio = quantile(ratios, 0.5)
	r.Crowds = append(r.Crowds, line)

	suffix := keySuffix(plan.kind)
	if plan.delay > 0 {
		suffix = fmt.Sprintf("%.0fms", milliseconds(plan.delay))
		// One quote takes the TPM as long as that and a little more, which is left out: it makes this ratio no smaller.
		if line.Together.P99 > 0 {
			r.set(fmt.Sprintf("aggregate_%d_%s_p99_quote_times", plan.callers, suffix), line.Together.P99/milliseconds(plan.delay))
		}
	}

	r.set(fmt.Sprintf("aggregate_%d_%s", plan.callers, suffix), line.Ratio)
}

// summary gives the medians over the rounds of rates, and the percentiles of all calls.
func summary(rounds []tally, callers int) crowdWay {
	var (
		rates, daemon, callersOwn []float64
		times                     []time.Duration
		complete                  = true
	)

	for _, round := range rounds {
		rates = append(rates, round.perSecond)
		daemon = append(daemon, 1000*milliseconds(round.daemon))
		callersOwn = append(callersOwn, 1000*milliseconds(round.callers))
		times = append(times, round.times...)
		complete = complete && len(round.times) >= 2*callers
	}

	way := crowdWay{PerSecond: quantile(rates, 0.5), DaemonCPU: quantile(daemon, 0.5), CallersCPU: quantile(callersOwn, 0.5)}
	if complete {
		way.P50, way.P99 = milliseconds(quantile(times, 0.5)), milliseconds(quantile(times, 0.99))
	}

	return way
}

// write writes the file.
func (r *results) write(path string) error {
	all := map[string]any{"run": r.Run, "cases": r.Cases, "crowds": r.Crowds, "go": r.Go}
	for key, value := range r.figures {
		all[key] = value
	}

	text, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return fmt.Errorf("writing the results: %w", err)
	}

	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return fmt.Errorf("writing the results: %w", err)
	}

	if err := os.WriteFile(path, append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("writing the results: %w", err)
	}

	return nil
}

// readResults reads what write wrote.
func readResults(path string) (*results, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the results: %w", err)
	}

	r := &results{figures: make(map[string]float64)}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("reading the results: %w", err)
	}

	var all map[string]any
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("reading the results: %w", err)
	}

	for key, value := range all {
		if number, ok := value.(float64); ok {
			r.figures[key] = number
		}
	}

	return r, nil
}

func loadAverage() string {
	load, _, _ := strings.Cut(firstLine("/proc/loadavg"), " ")

	return load
}

func cpuModel() string {
	text, _ := os.ReadFile("/proc/cpuinfo") // only a name

	for line := range strings.Lines(string(text)) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}

	return runtime.GOARCH
}

func swtpmVersion() string {
	said, _ := exec.Command("swtpm", "--version").Output() // it will fail where it matters
	line, _, _ := strings.Cut(string(said), ",")

	return line
}

func firstLine(path string) string {
	text, _ := os.ReadFile(path) // empty where there is none
	line, _, _ := strings.Cut(string(text), "\n")

	return line
}
