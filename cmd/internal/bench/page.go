package main

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
)

// block is one part of the page that is written from the results. In the page it stands between <!-- bench: NAME --> and <!-- bench: end -->.
type block struct {
	name  string
	write func(*results) string
}

func blocks() []block {
	return []block{
		{"run", (*results).runBlock},
		{"goals", (*results).goalsBlock},
		{"latency", (*results).latencyBlock},
		{"crowd", (*results).crowdBlock},
		{"handshakes", (*results).handshakesBlock},
		{"polite", (*results).politeBlock},
		{"replay", (*results).replayBlock},
	}
}

// publish draws the results of a file, and writes them into the page, if there is to be one. Only a full run is published.
func publish(from, pictures, page string) error {
	r, err := readResults(from)
	if err != nil {
		return err
	}

	if r.Run.Form != "full" {
		return fmt.Errorf("publishing: %s holds a run in %s form: make bench first", from, r.Run.Form)
	}

	if err := r.complete(); err != nil {
		return fmt.Errorf("publishing %s: %w", from, err)
	}

	if err := r.draw(pictures); err != nil || page == "" {
		return err
	}

	text, err := os.ReadFile(page)
	if err != nil {
		return fmt.Errorf("publishing: %w", err)
	}

	written, err := r.into(string(text))
	if err != nil {
		return fmt.Errorf("publishing: %s: %w", page, err)
	}

	return os.WriteFile(page, []byte(written), 0o644) //nolint:gosec // a page that everybody reads
}

// into writes all blocks into a page, and leaves the rest of it alone. Each block has to be there once.
func (r *results) into(page string) (string, error) {
	var errs []error

	for _, b := range blocks() {
		between := regexp.MustCompile(`(?s)<!-- bench: ` + b.name + ` -->\n.*?<!-- bench: end -->`)

		if n := len(between.FindAllStringIndex(page, -1)); n != 1 {
			errs = append(errs, fmt.Errorf("there are %d blocks between <!-- bench: %s --> and <!-- bench: end -->, not one", n, b.name))

			continue
		}

		text := "<!-- bench: " + b.name + " -->\n" + b.write(r) + "\n<!-- bench: end -->"
		page = between.ReplaceAllLiteralString(page, text)
	}

	return page, errors.Join(errs...)
}

func (r *results) runBlock() string {
	return fmt.Sprintf("Measured on %s with %d CPUs (%s), Linux %s, %s, %s; the machine's load was %s before and %s at the end.\n", r.Run.Time, r.Run.CPUs, r.Run.CPU,
		r.Run.Kernel, r.Run.Go, r.Run.SWTPM, r.Run.LoadBefore, r.Run.LoadAfter)
}

// goalsBlock has what was reached of each goal, and what a miss is due to.
func (r *results) goalsBlock() string {
	rows := [][]string{{"what", "goal", "reached", "", "key"}}

	for _, f := range figures() {
		value, ok := r.figures[f.key]
		if !ok {
			continue
		}

		verdict := f.verdict(value)
		if verdict != "" && f.why != "" {
			verdict += ": " + f.why
		}

		rows = append(rows, []string{f.what, f.goal(), fmt.Sprintf("%.4g", value), verdict, "`" + f.key + "`"})
	}

	return table(rows)
}

func (r *results) latencyBlock() string {
	rows := [][]string{{"case", "key", "added ms", "TPM commands", "p50, us", "p99, us", "ratio"}}

	for _, c := range r.Cases {
		commands := ""
		if c.Commands > 0 {
			commands = fmt.Sprint(c.Commands)
		}

		rows = append(rows, []string{
			c.Case, c.Key, fmt.Sprintf("%.0f", c.DelayMS), commands, fmt.Sprintf("%.0f", c.P50), fmt.Sprintf("%.0f", c.P99), fmt.Sprintf("%.4g", c.Ratio),
		})
	}

	return picture("latency.svg", r.latencyChart().title) + table(rows)
}

func (r *results) crowdBlock() string {
	rows := [][]string{{
		"callers", "key", "added ms", "one by one /s", "p50, ms", "p99, ms", "aggregated /s", "p50, ms", "p99, ms", "ratio", "CPU of the daemon, us", "of the caller, us",
	}}

	for _, c := range r.Crowds {
		rows = append(rows, []string{
			fmt.Sprint(c.Callers), c.Key, fmt.Sprintf("%.0f", c.DelayMS), number(c.Alone.PerSecond), orDash(c.Alone.P50), orDash(c.Alone.P99),
			number(c.Together.PerSecond), orDash(c.Together.P50), orDash(c.Together.P99), fmt.Sprintf("%.4g", c.Ratio),
			fmt.Sprintf("%.0f", c.Together.DaemonCPU), fmt.Sprintf("%.0f", c.Together.CallersCPU),
		})
	}

	return picture("crowd.svg", r.crowdChart().title) + table(rows)
}

func (r *results) handshakesBlock() string {
	rows := [][]string{{"server's key", "full handshake, ms", "resumed session, ms"}}

	for _, key := range []struct{ name, what string }{{"file", "in a file"}, {"tpm", "in the TPM (`tls.key: tpm`)"}} {
		row := []string{key.what}
		for _, kind := range []string{"full", "resumed"} {
			row = append(row, fmt.Sprintf("%.2f", r.Go["Handshake/key="+key.name+"/"+kind]["ns/op"].Median/1e6))
		}

		rows = append(rows, row)
	}

	return table(rows)
}

func (r *results) politeBlock() string {
	polite := r.Go["PoliteCaller"]

	return table([][]string{
		{"quiet, ms", "in the crowd, ms", "ratio"},
		{fmt.Sprintf("%.1f", polite["quiet-p99-ms"].Median), fmt.Sprintf("%.1f", polite["crowd-p99-ms"].Median), fmt.Sprintf("%.2f", polite["ratio"].Median)},
	})
}

func (r *results) replayBlock() string {
	rows := [][]string{{"what", "64 KiB, ns per event", "1 MiB, ns per event", "allocations of each"}}

	for _, one := range []struct{ name, what string }{
		{"Replay", "replay"}, {"ParseAndReplay", "parse and replay"}, {"GoAttestation", "go-attestation, parse and verify"},
	} {
		small, large := r.Go[one.name+"/64KiB"], r.Go[one.name+"/1MiB"]
		rows = append(rows, []string{
			one.what, fmt.Sprintf("%.0f", small["ns/event"].Least), fmt.Sprintf("%.0f", large["ns/event"].Least),
			fmt.Sprintf("%.0f and %.0f", small["allocs/op"].Least, large["allocs/op"].Least),
		})
	}

	hash := fmt.Sprintf("%.0f", r.Go["Hash"]["ns/op"].Least)

	return table(slices.Insert(rows, 1, []string{"one SHA-256 of 64 bytes", hash, hash, "0"}))
}

func picture(file, title string) string {
	return fmt.Sprintf("![%s](bench/%s)\n\n", title, file)
}

// table writes rows in Markdown, the first as its head.
func table(rows [][]string) string {
	var text strings.Builder

	for i, row := range rows {
		text.WriteString("| " + strings.Join(row, " | ") + " |\n")

		if i == 0 {
			text.WriteString("|" + strings.Repeat(" --- |", len(row)) + "\n")
		}
	}

	return text.String()
}
