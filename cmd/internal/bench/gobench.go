package main

import (
	"bufio"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
)

// goFigures are the metrics of one Go benchmark by their units, as in "ns/op".
type goFigures map[string]float64

// readGoBench reads what go test -bench printed (https://go.dev/design/14313-benchmark-format). Of a benchmark that ran several times, each unit has the median. Names
// lose the -N of GOMAXPROCS.
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

	return medians(all), scanner.Err()
}

func medians(all map[string]map[string][]float64) map[string]goFigures {
	found := make(map[string]goFigures, len(all))

	for name, units := range all {
		found[name] = make(goFigures)
		for unit, values := range units {
			found[name][unit] = quantile(values, 0.5)
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

	small, large := all["Replay/64KiB"], all["Replay/1MiB"]
	if small == nil || large == nil {
		return fmt.Errorf("%s has no BenchmarkReplay", path)
	}

	// How many events there were follows from the two times of the whole and of one. What a replay allocates once, whatever the log, is no event's.
	events := func(f goFigures) float64 { return f["ns/op"] / f["ns/event"] }

	r.set("replay_ns_per_event", large["ns/event"])
	r.set("replay_allocs_per_event", (large["allocs/op"]-small["allocs/op"])/(events(large)-events(small)))

	if hash := all["Hash"]; hash != nil {
		r.set("hash_ns", hash["ns/op"])
		r.set("replay_over_hash", large["ns/event"]/hash["ns/op"])
	}

	if peer := all["GoAttestation/1MiB"]; peer != nil {
		r.set("peer_replay_ns_per_event", peer["ns/event"])
	}

	if crowd := all["PoliteCaller"]; crowd != nil {
		r.set("polite_caller_p99_ratio", crowd["ratio"])
	}

	if file, held := all["Handshake/key=file/full"], all["Handshake/key=tpm/full"]; file != nil && held != nil {
		r.set("handshake_tpm_over_file", held["ns/op"]/file["ns/op"])
	}

	return nil
}
