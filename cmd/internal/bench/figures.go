package main

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
)

// figure is one number that the file has at its top.
type figure struct {
	key, what string
	// bound is what it shall be at most, or at least. 0 with neither: it is only told.
	bound  float64
	atMost bool
	// hard gates fail the run: no busy machine can excuse them.
	hard bool
}

// figures lists those with a bound, and what else is told, in the order of the table.
func figures() []figure {
	const most, hard = true, true

	return []figure{
		{"tpm_commands_per_quote", "TPM commands per quote, PCRs unchanged", 1, most, hard},
		{"tpm_commands_after_pcr_change", "TPM commands for the first quote after a PCR moved", 2, most, hard},
		{"reply_bytes_known_logs", "bytes of a reply whose logs and AK certificate the caller knows", 2048, most, hard},
		{"reply_bytes_all", "bytes of a reply with both, simulated node", 0, false, false},
		{"mtls_over_raw_ecdsa", "kept mTLS connection / raw TPM2_Quote, ECDSA P-256", 1.8, most, false},
		{"bare_grpc_over_raw_ecdsa", "a bare gRPC server / raw TPM2_Quote, ECDSA P-256", 0, false, false},
		{"mtls_over_raw_rsa", "the same, RSA-2048", 1.2, most, false},
		{"mtls_over_raw_250ms", "the same, 250 ms more per quote", 1.01, most, false},
		{"aggregate_64_ecdsa", "64 callers, aggregated / one by one, ECDSA P-256", 4, false, false},
		{"aggregate_64_rsa", "the same, RSA-2048", 15, false, false},
		{"aggregate_64_250ms", "the same, 250 ms more per quote", 0.95 * 64, false, false},
		{"aggregate_64_250ms_p99_quote_times", "their p99, in quote times", 2.5, most, false},
		{"aggregate_256_250ms", "256 callers, 250 ms more per quote", 0.95 * 256, false, false},
		{"aggregate_256_250ms_p99_quote_times", "their p99, in quote times", 2.5, most, false},
		{"aggregate_1_ecdsa", "one caller, aggregated / not, ECDSA P-256", 0.95, false, false},
		{"aggregate_1_250ms", "the same, 250 ms more per quote", 0.95, false, false},
		{"replay_ns_per_event", "replay of a 1 MiB log, ns per event", 150, most, false},
		{"replay_over_hash", "the same / one SHA-256 of 64 bytes", 0, false, false},
		{"peer_replay_ns_per_event", "the same by go-attestation, with parsing", 0, false, false},
		{"replay_allocs_per_event", "its allocations per event", 0, most, hard},
		{"polite_caller_p99_ratio", "p99 of a polite caller in a crowd / alone", 2, most, false},
		{"handshake_tpm_over_file", "mTLS handshake, key in the TPM / in a file", 0, false, false},
		{"binary_mib", "daemon's binary, MiB", 20, most, hard},
		{"start_ms", "exec to the first quote, key in the TPM, ms", 50, most, false},
		{"start_above_tpm_ms", "of that not in the TPM, ms", 30, most, false},
		{"idle_rss_mib", "resident memory, idle, MiB", 20, most, false},
		{"rss_after_quotes_mib", "after many quotes, MiB", 0, false, false},
		{"rss_after_64_connections_mib", "after 64 connections came and went, MiB", 28, most, false},
		{"idle_cpu_percent", "CPU when idle, % of a core", 0.1, most, false},
	}
}

// isTold says that a figure has no bound.
func (f figure) isTold() bool { return f.bound == 0 && !f.atMost }

// meets says whether a value is within the bound.
func (f figure) meets(value float64) bool {
	switch {
	case f.isTold():
		return true
	case f.atMost:
		return value <= f.bound
	default:
		return value >= f.bound
	}
}

// goal tells the bound in words.
func (f figure) goal() string {
	switch {
	case f.isTold():
		return ""
	case f.atMost:
		return fmt.Sprintf("<= %.4g", f.bound)
	default:
		return fmt.Sprintf(">= %.4g", f.bound)
	}
}

// hardGates fails for each hard gate that was measured and is not met.
func (r *results) hardGates() error {
	var errs []error

	for _, f := range figures() {
		if value, ok := r.figures[f.key]; ok && f.hard && !f.meets(value) {
			errs = append(errs, fmt.Errorf("%s is %.4g, and has to be %s", f.key, value, f.goal()))
		}
	}

	return errors.Join(errs...)
}

// print writes the tables.
func (r *results) print(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	defer w.Flush() //nolint:errcheck // a table on a terminal

	fmt.Fprintf(w, "%s form, %s, %d CPUs (%s), Linux %s, %s, %s, load %s before and %s after\n", r.Run.Form, r.Run.Time, r.Run.CPUs, r.Run.CPU, r.Run.Kernel,
		r.Run.Go, r.Run.SWTPM, r.Run.LoadBefore, r.Run.LoadAfter)

	fmt.Fprintln(w, "\ncase\tkey\tadded ms\tp50 us\tp99 us\tratio")

	for _, c := range r.Cases {
		fmt.Fprintf(w, "%s\t%s\t%.0f\t%.0f\t%.0f\t%.3f\n", c.Case, c.Key, c.DelayMS, c.P50, c.P99, c.Ratio)
	}

	fmt.Fprintln(w, "\ncallers\tkey\tadded ms\tone by one /s\tp50 ms\tp99 ms\taggregated /s\tp50 ms\tp99 ms\tratio\tCPU us, daemon\tcallers")

	for _, c := range r.Crowds {
		fmt.Fprintf(w, "%d\t%s\t%.0f\t%.1f\t%s\t%s\t%.1f\t%s\t%s\t%.2f\t%.0f\t%.0f\n", c.Callers, c.Key, c.DelayMS, c.Alone.PerSecond, orDash(c.Alone.P50), orDash(c.Alone.P99),
			c.Together.PerSecond, orDash(c.Together.P50), orDash(c.Together.P99), c.Ratio, c.Together.DaemonCPU, c.Together.CallersCPU)
	}

	fmt.Fprintln(w, "\nfigure\twhat\tvalue\tgoal\t")

	for _, f := range figures() {
		value, ok := r.figures[f.key]
		if !ok {
			continue
		}

		verdict := ""
		if !f.meets(value) {
			verdict = "missed"
		}

		fmt.Fprintf(w, "%s\t%s\t%.4g\t%s\t%s\n", f.key, f.what, value, f.goal(), verdict)
	}
}

func orDash(ms float64) string {
	if ms == 0 {
		return "-"
	}

	return fmt.Sprintf("%.1f", ms)
}
