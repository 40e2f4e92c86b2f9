package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// measured is a full run of which every figure is at its bound, but for one.
func measured() *results {
	r := newResults(false)
	for _, f := range figures() {
		r.set(f.key, f.bound)
	}

	r.set("replay_ns_per_event", 165)
	r.Cases = []caseResult{{Case: caseMTLS, Key: ecdsa, P50: 610.4, P99: 2000, Ratio: 1.7}, {Case: "go-tpm-tools Attest", Key: rsa, Ratio: 5.3, Commands: 17}}
	r.Crowds = []crowdLine{{Key: rsa, Callers: 64, Alone: crowdWay{PerSecond: 483}, Together: crowdWay{PerSecond: 8795, P50: 6.9, P99: 20, DaemonCPU: 90, CallersCPU: 70}, Ratio: 18.2}}
	r.Go = map[string]goFigures{
		"Replay/1MiB":             {"ns/event": {Median: 170, Least: 165}, "allocs/op": {Median: 1, Least: 1}},
		"Hash":                    {"ns/op": {Median: 150, Least: 145}},
		"PoliteCaller":            {"ratio": {Median: 1.09, Least: 0.8}},
		"Handshake/key=file/full": {"ns/op": {Median: 1.87e6, Least: 1.5e6}},
	}

	return r
}

// pageOf is a page with all blocks, with something in each.
func pageOf() string {
	var page strings.Builder

	page.WriteString("# Figures\n")

	for _, b := range blocks() {
		page.WriteString("\nText of " + b.name + ".\n\n<!-- bench: " + b.name + " -->\nold\n<!-- bench: end -->\n")
	}

	return page.String()
}

func TestThePageGetsTheFiguresAndKeepsItsText(t *testing.T) {
	t.Parallel()

	page, err := measured().into(pageOf())
	if err != nil {
		t.Fatal(err)
	}

	for _, want := range []string{
		"| TPM commands per quote, PCRs unchanged | <= 1 | 1 |  | `tpm_commands_per_quote` |",
		"| replay of a 1 MiB log, ns per event | <= 150 | 165 | missed by 10 %: an event is one SHA-256",
		"| mTLS, kept | ecdsa-p256 | 0 |  | 610 | 2000 | 1.7 |",
		"| go-tpm-tools Attest | rsa-2048 | 0 | 17 |",
		"| 64 | rsa-2048 | 0 | 483 | - | - | 8795 | 6.9 | 20.0 | 18.2 | 90 | 70 |",
		"| in a file | 1.87 |", "| 1.09 |", "| one SHA-256 of 64 bytes | 145 |", "(bench/crowd.svg)", "(bench/latency.svg)",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("there is no %q in:\n%s", want, page)
		}
	}

	for _, b := range blocks() {
		if !strings.Contains(page, "\nText of "+b.name+".\n\n<!-- bench: "+b.name+" -->\n") {
			t.Errorf("the text before %s is gone", b.name)
		}
	}

	if strings.Contains(page, "old") {
		t.Error("what was there before is there still")
	}

	again, err := measured().into(page)
	if err != nil {
		t.Fatal(err)
	}

	// Only the time of the run may differ.
	_, page, _ = strings.Cut(page, "Text of goals")
	_, again, _ = strings.Cut(again, "Text of goals")

	if diff := cmp.Diff(page, again); diff != "" {
		t.Error(diff)
	}
}

func TestABlockThatIsNotThereOnceIsMissed(t *testing.T) {
	t.Parallel()

	for _, b := range blocks() {
		mark := "<!-- bench: " + b.name + " -->"

		for name, page := range map[string]string{
			"missing": strings.Replace(pageOf(), mark, "", 1),
			"double":  pageOf() + mark + "\n<!-- bench: end -->\n",
		} {
			if _, err := measured().into(page); err == nil || !strings.Contains(err.Error(), b.name) {
				t.Errorf("%s %s: %v", name, b.name, err)
			}
		}
	}
}

func TestOnlyAFullRunIsPublished(t *testing.T) {
	t.Parallel()

	dir := t.TempDir()
	path, page := filepath.Join(dir, "bench.json"), filepath.Join(dir, "page.md")

	if err := os.WriteFile(page, []byte(pageOf()), 0o600); err != nil {
		t.Fatal(err)
	}

	short, partial := measured(), measured()
	short.Run.Form = "short"
	delete(partial.figures, "start_ms")

	for name, test := range map[string]struct {
		results *results
		refused bool
	}{"a short run": {short, true}, "one part of a run": {partial, true}, "a full run": {measured(), false}} {
		if err := test.results.write(path); err != nil {
			t.Fatal(err)
		}

		if err := publish(path, dir, page); (err != nil) != test.refused {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestTheProjectsPageHasAllBlocks holds the page that make pictures writes to.
func TestTheProjectsPageHasAllBlocks(t *testing.T) {
	t.Parallel()

	page, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "performance.md"))
	if err != nil {
		t.Fatal(err)
	}

	if _, err := measured().into(string(page)); err != nil {
		t.Error(err)
	}
}
