package main

import (
	"bufio"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// goFigures are the metrics of one Go benchmark by their units, as in "ns/op".
type goFigures map[string]goFigure

// goFigure is what a benchmark that ran several times gave: the median, and the least, since what else the machine does can only add to what a computation takes.
type goFigure struct {
	Median float64 `json:"median"`
	Least  float64 `json:"least"`
}

// readGoBench reads what go test -bench printed (https://go.dev/design/14313-benchmark-format). Names lose the -N of GOMAXPROCS.
func readGoBench(path string) (map[string]goFigures, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading Go's benchmarks: %w", err)
	}
	defer file.Close() //nolint:errcheck // read only

	all := make(map[string]map[string][]float64)
	procs := regexp.MustCompile(`-[0-9]+$`)

	scanner := bufio.NewScanner(file)
	for scanner.Scan() {
		fields := strings.Fields(scanner.Text())
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}

		name := procs.ReplaceAllString(strings.TrimPrefix(fields[0], "Benchmark"), "")
		if all[name] == nil {
			all[name] = make(map[string][]float64)
		}

		for i := 2; i+1 < len(fields); i += 2 {
			value, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				return nil, fmt.Errorf("reading Go's benchmarks: %q: %w", scanner.Text(), err)
			}

			all[name][fields[i+1]] = append(all[name][fields[i+1]], value)
		}
	}

	return summarised(all), scanner.Err()
}

func summarised(all map[string]map[string][]float64) map[string]goFigures {
	found := make(map[string]goFigures, len(all))

	for name, units := range all {
		found[name] = make(goFigures)
		for unit, values := range units {
			found[name][unit] = goFigure{Median: quantile(values, 0.5), Least: slices.Min(values)}
		}
	}

	return found
}

// addGoBench makes figures of Go's benchmarks; of those that are there.
func (r *results) addGoBench(path string) error {
	all, err := readGoBench(path)
	if err != nil {
		return err
	}

	r.Go = all

	small, large := all["Replay/64KiB"], all["Replay/1MiB"]
	if small == nil || large == nil {
		return fmt.Errorf("%s has no BenchmarkReplay", path)
	}

	// How many events there were follows from the two times of the whole and of one. What a replay allocates once, whatever the log, is no event's.
	events := func(f goFigures) float64 { return f["ns/op"].Least / f["ns/event"].Least }
	perEvent := large["ns/event"].Least

	r.set("replay_ns_per_event", perEvent)
	r.set("replay_allocs_per_event", (large["allocs/op"].Least-small["allocs/op"].Least)/(events(large)-events(small)))

	if hash := all["Hash"]; hash != nil {
		r.set("hash_ns", hash["ns/op"].Least)
		r.set("replay_over_hash", perEvent/hash["ns/op"].Least)
	}

	if peer := all["GoAttestation/1MiB"]; peer != nil {
		r.set("peer_replay_ns_per_event", peer["ns/event"].Least)
	}

	if crowd := all["PoliteCaller"]; crowd != nil {
		r.set("polite_caller_p99_ratio", crowd["ratio"].Median)
	}

	if file, held := all["Handshake/key=file/full"], all["Handshake/key=tpm/full"]; file != nil && held != nil {
		r.set("handshake_tpm_over_file", held["ns/op"].Median/file["ns/op"].Median)
	}

	return nil
}
