package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"text/tabwriter"
)

// figure is one number that the file has at its top.
type figure struct {
	key, what string
	// bound is what it shall be at most, or at least. 0 with neither: it is only told.
	bound  float64
	atMost bool
	// gate fails the run: what no busy machine can excuse, which may be far from the bound. nil: nothing does.
	gate *float64
	// why says what a missed bound is due to.
	why string
}

// The kinds of bounds. A hard one fails the run itself.
func told(key, what string) figure { return figure{key: key, what: what} }

func most(key, what string, bound float64, why string) figure {
	return figure{key: key, what: what, bound: bound, atMost: true, why: why}
}

func least(key, what string, bound float64, why string) figure {
	return figure{key: key, what: what, bound: bound, why: why}
}

func hard(key, what string, bound float64) figure {
	return most(key, what, bound, "").gated(bound)
}

func (f figure) gated(gate float64) figure {
	f.gate = &gate

	return f
}

// figures lists those with a bound, and what else is told, in the order of the table.
func figures() []figure {
	const (
		shared  = "client, daemon and TPM share these CPUs: see the bare gRPC server, which does nothing else"
		cpu     = "callers and daemon share these CPUs, and what a call takes of them is in the table"
		comeAll = "all callers have to be back before the next quote begins: " + cpu
	)

	return []figure{
		hard("tpm_commands_per_quote", "TPM commands per quote, PCRs unchanged", 1),
		hard("tpm_commands_after_pcr_change", "TPM commands for the first quote after a PCR moved", 2),
		hard("reply_bytes_known_logs", "bytes of a reply whose logs and AK certificate the caller knows", 2048),
		hard("reply_bytes_known_logs_of_256", "the same, signed together with 255 others", 2048),
		told("reply_bytes_all", "bytes of a reply with both, simulated node"),
		most("mtls_over_raw_ecdsa", "kept mTLS connection / raw TPM2_Quote, ECDSA P-256", 1.8, shared),
		told("bare_grpc_over_raw_ecdsa", "a bare gRPC server / raw TPM2_Quote, ECDSA P-256"),
		most("mtls_over_raw_rsa", "kept mTLS connection / raw TPM2_Quote, RSA-2048", 1.2, shared),
		told("bare_grpc_over_raw_rsa", "a bare gRPC server / raw TPM2_Quote, RSA-2048"),
		most("mtls_over_raw_250ms", "kept mTLS connection / raw TPM2_Quote, 250 ms more per quote", 1.01, shared),
		least("aggregate_64_ecdsa", "64 callers, aggregated / one by one, ECDSA P-256", 4, cpu),
		least("aggregate_64_rsa", "64 callers, aggregated / one by one, RSA-2048", 15, cpu),
		least("aggregate_64_250ms", "64 callers, aggregated / one by one, 250 ms more per quote", 0.95*64, comeAll),
		most("aggregate_64_250ms_p99_quote_times", "their p99, in quote times", 2.5, comeAll),
		least("aggregate_256_250ms", "256 callers, aggregated / one by one, 250 ms more per quote", 0.95*256, comeAll).gated(16),
		most("aggregate_256_250ms_p99_quote_times", "their p99, in quote times", 2.5, comeAll),
		least("aggregate_1_ecdsa", "one caller, aggregated / not, ECDSA P-256", 0.95, "the time of one caller's quotes differs from round to round by more than that"),
		least("aggregate_1_250ms", "one caller, aggregated / not, 250 ms more per quote", 0.95, "").gated(0.8),
		most("replay_ns_per_event", "replay of a 1 MiB log, ns per event", 150, "an event is one SHA-256 of 64 bytes, and that alone takes what hash_ns says"),
		told("hash_ns", "one SHA-256 of 64 bytes, ns"),
		told("replay_over_hash", "replay per event / one SHA-256 of 64 bytes"),
		told("peer_replay_ns_per_event", "replay by go-attestation, with parsing, ns per event"),
		hard("replay_allocs_per_event", "allocations of a replay per event", 0),
		most("polite_caller_p99_ratio", "p99 of a polite caller in a crowd / alone", 2, "the crowd and the caller share these CPUs with whatever else the machine does"),
		told("handshake_tpm_over_file", "mTLS handshake, key in the TPM / in a file"),
		hard("binary_mib", "daemon's binary, MiB", 20),
		most("start_ms", "exec to the first quote, key in the TPM, ms", 50, ""),
		most("start_above_tpm_ms", "of that not in the TPM, ms", 30, ""),
		most("idle_rss_mib", "resident memory, idle, MiB", 20, ""),
		told("rss_after_quotes_mib", "after 10,000 quotes (in short form 1,000), MiB"),
		most("rss_after_64_connections_mib", "after 64 connections came and went, MiB", 28, ""),
		most("idle_cpu_percent", "CPU when idle, % of a core", 0.1, ""),
	}
}

// requiredKeys are the figures that every run of all parts has.
func requiredKeys() []string {
	return []string{
		"tpm_commands_per_quote", "mtls_over_raw_ecdsa", "mtls_over_raw_rsa", "mtls_over_raw_250ms", "aggregate_64_ecdsa", "aggregate_64_rsa", "aggregate_256_250ms",
		"replay_ns_per_event", "replay_allocs_per_event", "binary_mib", "start_ms", "idle_rss_mib", "reply_bytes_known_logs",
	}
}

// isTold says that a figure has no bound.
func (f figure) isTold() bool { return f.bound == 0 && !f.atMost }

// meets says whether a value is within the bound.
func (f figure) meets(value float64) bool { return f.isTold() || f.within(value, f.bound) }

func (f figure) within(value, bound float64) bool {
	if f.atMost {
		return value <= bound
	}

	return value >= bound
}

// goal tells the bound in words.
func (f figure) goal() string {
	if f.isTold() {
		return ""
	}

	return f.words(f.bound)
}

func (f figure) words(bound float64) string {
	if f.atMost {
		return fmt.Sprintf("<= %.4g", bound)
	}

	return fmt.Sprintf(">= %.4g", bound)
}

// verdict says by how much a value misses the bound, in percent of it; nothing if it does not.
func (f figure) verdict(value float64) string {
	switch {
	case f.meets(value):
		return ""
	case f.bound == 0:
		return "missed"
	default:
		return fmt.Sprintf("missed by %.0f %%", math.Ceil(100*math.Abs(value-f.bound)/f.bound))
	}
}

// hardGates fails for each hard gate that was measured and is not met.
func (r *results) hardGates() error {
	var errs []error

	for _, f := range figures() {
		if value, ok := r.figures[f.key]; ok && f.gate != nil && !f.within(value, *f.gate) {
			errs = append(errs, fmt.Errorf("%s is %.4g, and has to be %s", f.key, value, f.words(*f.gate)))
		}
	}

	return errors.Join(errs...)
}

// complete fails for each required figure that is not there.
func (r *results) complete() error {
	var errs []error

	for _, key := range requiredKeys() {
		if _, ok := r.figures[key]; !ok {
			errs = append(errs, fmt.Errorf("%s was not measured", key))
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

		fmt.Fprintf(w, "%s\t%s\t%.4g\t%s\t%s\n", f.key, f.what, value, f.goal(), f.verdict(value))
	}
}

func orDash(ms float64) string {
	if ms == 0 {
		return "-"
	}

	return fmt.Sprintf("%.1f", ms)
}
