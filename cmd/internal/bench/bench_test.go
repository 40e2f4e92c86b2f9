package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestEachNodeHasAFolderOfItsOwn(t *testing.T) {
	t.Parallel()

	b := newBench(options{}, t.TempDir(), io.Discard)
	have := make(map[string]bool)

	for range 2 {
		s := &stage{bench: b}

		for range 3 {
			dir, err := s.folder()
			if err != nil {
				t.Fatal(err)
			}

			if have[dir] {
				t.Errorf("two nodes have %s", dir)
			}

			have[dir] = true
		}
	}
}

func TestARatioIsTheMedianOfTheRoundsRatios(t *testing.T) {
	t.Parallel()

	// The machine was ten times as slow in the second round, for both.
	reference := &series{rounds: [][]time.Duration{{10, 11, 12}, {100, 110, 120}, {10, 10, 10}}}
	one := &series{rounds: [][]time.Duration{{20, 22, 90}, {200, 220, 230}, {50, 50, 50}}}

	if got := one.over(reference); got != 2 {
		t.Errorf("got %v, want 2", got)
	}
}

func TestAQuantileIsAValueThatWasMeasured(t *testing.T) {
	t.Parallel()

	values := make([]int, 0, 100)
	for i := range 100 {
		values = append(values, 100-i)
	}

	for _, test := range []struct {
		p    float64
		want int
	}{{0.01, 1}, {0.5, 50}, {0.99, 99}, {1, 100}} {
		if got := quantile(values, test.p); got != test.want {
			t.Errorf("%v: got %d, want %d", test.p, got, test.want)
		}
	}

	if got := quantile([]int(nil), 0.5); got != 0 {
		t.Errorf("of nothing: %d", got)
	}
}

func TestARateCountsFromTheEndOfTheWarmUp(t *testing.T) {
	t.Parallel()

	// A TPM of 100 ms answers a first caller alone, then four at a time.
	var answers []answer
	for i, n := range []int{1, 3, 4, 4, 4} {
		for range n {
			answers = append(answers, answer{at: time.Duration(i+1) * 100 * time.Millisecond, took: 100 * time.Millisecond})
		}
	}

	for name, test := range map[string]struct {
		warmUp time.Duration
		want   float64
	}{"of two and a half quotes": {250 * time.Millisecond, 40}, "of none": {0, 32}} {
		got, err := count(answers, test.warmUp)
		if err != nil {
			t.Fatal(err)
		}

		if got.perSecond != test.want {
			t.Errorf("%s: %v a second, want %v", name, got.perSecond, test.want)
		}
	}

	if _, err := count(answers, time.Second); err == nil {
		t.Error("no error where nothing is left to count")
	}
}

func TestGoBenchmarksBecomeFigures(t *testing.T) {
	t.Parallel()

	path := filepath.Join(t.TempDir(), "bench.txt")
	text := `goos: linux
BenchmarkReplay/64KiB-2   	  100	  19200 ns/op	  100 ns/event	  2 B/op	  1 allocs/op
BenchmarkReplay/1MiB-2    	  100	  280000 ns/op	  100 ns/event	  2 B/op	  1 allocs/op
BenchmarkReplay/1MiB-2    	  100	  560000 ns/op	  200 ns/event	  2 B/op	  1 allocs/op
BenchmarkReplay/1MiB-2    	  100	  840000 ns/op	  300 ns/event	  2 B/op	  1 allocs/op
BenchmarkHash-2           	  100	  160 ns/op
PASS
`

	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}

	r := &results{figures: make(map[string]float64)}
	if err := r.addGoBench(path); err != nil {
		t.Fatal(err)
	}

	want := map[string]float64{"replay_ns_per_event": 100, "replay_allocs_per_event": 0, "hash_ns": 160, "replay_over_hash": 0.625}
	if diff := cmp.Diff(want, r.figures); diff != "" {
		t.Error(diff)
	}

	if got, want := r.Go["Replay/1MiB"]["ns/event"], (goFigure{Median: 200, Least: 100}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}

	text = strings.ReplaceAll(text, "1MiB", "2MiB")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}

	if err := r.addGoBench(path); err == nil {
		t.Error("no error without the replay")
	}
}

func TestAnAllocationPerEventIsSeen(t *testing.T) {
	t.Parallel()

	path := filepath.Join(t.TempDir(), "bench.txt")
	text := "BenchmarkReplay/64KiB 1 20000 ns/op 100 ns/event 201 allocs/op\nBenchmarkReplay/1MiB 1 280000 ns/op 100 ns/event 2801 allocs/op\n"

	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}

	r := &results{figures: make(map[string]float64)}
	if err := r.addGoBench(path); err != nil {
		t.Fatal(err)
	}

	if got := r.figures["replay_allocs_per_event"]; got != 1 {
		t.Errorf("got %v, want 1", got)
	}

	if err := r.hardGates(); err == nil || !strings.Contains(err.Error(), "replay_allocs_per_event") {
		t.Errorf("hardGates: %v", err)
	}
}

func TestOnlyHardGatesFailTheRun(t *testing.T) {
	t.Parallel()

	for _, f := range figures() {
		if f.isTold() {
			continue
		}

		fails := func(bound float64) bool {
			beyond := bound + 1
			if !f.atMost {
				beyond = bound / 2
			}

			return (&results{figures: map[string]float64{f.key: beyond}}).hardGates() != nil
		}

		if f.gate == nil && fails(f.bound) {
			t.Errorf("%s fails a run", f.key)
		}

		if f.gate != nil && !fails(*f.gate) {
			t.Errorf("%s beyond its gate fails no run", f.key)
		}

		r := &results{figures: map[string]float64{f.key: f.bound}}
		if err := r.hardGates(); err != nil {
			t.Errorf("%s at its bound: %v", f.key, err)
		}
	}
}

func TestARunWithoutARequiredFigureIsNotComplete(t *testing.T) {
	t.Parallel()

	r := &results{figures: make(map[string]float64)}
	for _, key := range requiredKeys() {
		r.set(key, 1)
	}

	if err := r.complete(); err != nil {
		t.Error(err)
	}

	for _, key := range requiredKeys() {
		if !slices.ContainsFunc(figures(), func(f figure) bool { return f.key == key }) {
			t.Errorf("%s is in no table", key)
		}

		delete(r.figures, key)

		if err := r.complete(); err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("without %s: %v", key, err)
		}

		r.set(key, 1)
	}
}

func TestResultsComeBackFromTheirFile(t *testing.T) {
	t.Parallel()

	dir := t.TempDir()
	path := filepath.Join(dir, "made", "bench.json")

	r := newResults(true)
	r.set("binary_mib", 15.5)
	r.Cases = []caseResult{{Case: caseMTLS, Key: ecdsa, Ratio: 1.7}}
	r.Crowds = []crowdLine{{Key: rsa, Callers: 64, Alone: crowdWay{PerSecond: 4}, Together: crowdWay{PerSecond: 250}}}

	if err := r.write(path); err != nil {
		t.Fatal(err)
	}

	got, err := readResults(path)
	if err != nil {
		t.Fatal(err)
	}

	if diff := cmp.Diff(r, got, cmp.AllowUnexported(results{})); diff != "" {
		t.Error(diff)
	}

	if err := got.draw(dir); err != nil {
		t.Fatal(err)
	}

	for _, name := range []string{"latency.svg", "crowd.svg"} {
		picture, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}

		wellFormed(t, picture)
	}
}

func wellFormed(t *testing.T, text []byte) {
	t.Helper()

	decoder := xml.NewDecoder(bytes.NewReader(text))

	for {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("%v in %s", err, text)
		}
	}
}

func TestAFrameIsReadToItsEnd(t *testing.T) {
	t.Parallel()

	ours, theirs := net.Pipe()
	defer ours.Close()

	frame := []byte{0x80, 1, 0, 0, 0, 12, 0, 0, 0, 0, 7, 8}

	go func() {
		for _, b := range frame {
			_, _ = theirs.Write([]byte{b})
		}

		_ = theirs.Close()
	}()

	got, err := readFrame(ours)
	if err != nil {
		t.Fatal(err)
	}

	if diff := cmp.Diff(frame, got); diff != "" {
		t.Error(diff)
	}

	for name, bad := range map[string][]byte{
		"shorter than its header": {0x80, 1, 0, 0, 0, 9, 0, 0, 0, 0},
		"longer than any":         {0x80, 1, 0, 0, 0x10, 1, 0, 0, 0, 0},
		"cut off":                 frame[:11],
	} {
		if _, err := readFrame(bytes.NewReader(bad)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
