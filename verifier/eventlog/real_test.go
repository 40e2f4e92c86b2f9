package eventlog_test

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"

	"github.com/trustpool/trustpool/verifier/eventlog"
)

// realLog reads a log captured on a real machine. The captures are not part of the project: the folder that holds
// them is named by TRUSTPOOL_REAL_LOGS, which CI has to set.
func realLog(t testing.TB, name string) []byte {
	t.Helper()
	dir := os.Getenv("TRUSTPOOL_REAL_LOGS")
	if dir == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("TRUSTPOOL_REAL_LOGS is not set: it names the folder of logs captured on real machines")
		}
		t.Skip("TRUSTPOOL_REAL_LOGS is not set: not judged by logs of real machines")
	}
	raw, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}

	return raw
}

// trimmed cuts a log's padding off.
func trimmed(t testing.TB, raw []byte) []byte {
	t.Helper()
	n, err := eventlog.Trim(raw)
	if err != nil {
		t.Fatal(err)
	}

	return raw[:n]
}

func TestRealTXTLogsReplayToTheirPublishedValues(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		file   string
		events int
		want   map[eventlog.Alg]map[int]string
	}{
		{"txt/secl_txt-logs.bin", 19, map[eventlog.Alg]map[int]string{eventlog.AlgSHA256: {
			17: "ff8a57bf4a600950af3a52bd832741cf4c282300b526021fd12aacfb7fe22d5a",
			18: "ad82584b09f51b928d15168785a0f7a2ff82d2da1520e57534dff391cb4aeb95",
		}}},
		{"txt/secl_txt_heap_eventlog.trimmed.bin", 19, map[eventlog.Alg]map[int]string{
			eventlog.AlgSHA256: {
				17: "9e811701336f52de774b9e84b68fd977e400fcb031ea9e3465993d5c2a1935a8",
				18: "52036ab120c1fc13940054c65c0c350463a56fa80131430a76cb3be84dfc31fc",
			},
			eventlog.AlgSHA1: {17: "4e7113d747e57a904e753a1c9ec86a228cc57984", 18: "bdad60f103fa8a4a27faf4622b983cf422e6de9b"},
		}},
		{"txt/tboot-devel_E5470_txt-stat_2021-08-26.rebuilt.bin", 20, map[eventlog.Alg]map[int]string{eventlog.AlgSHA256: {
			17: "17db83cfefb5204226a1cbd8ea62e675dabdcea737c2bc499dd51f0e3a0eee3a",
			18: "add552b58f6ed3595ebbea5f4f59d077e0ed4c8601de1898a5559fe95fa86fcc",
		}}},
	} {
		t.Run(filepath.Base(tc.file), func(t *testing.T) {
			t.Parallel()
			l, err := eventlog.Parse(trimmed(t, realLog(t, tc.file)))
			if err != nil {
				t.Fatal(err)
			}
			for a, pcrs := range tc.want {
				r := l.Replay(a)
				if !r.Launched {
					t.Errorf("%s: not launched", a)
				}
				for n, want := range pcrs {
					v, err := r.Value(n)
					if err != nil || hex.EncodeToString(v) != want {
						t.Errorf("%s PCR %d = %x (%v), want %s", a, n, v, err, want)
					}
				}
			}
			if len(l.Events) != tc.events {
				t.Errorf("%d events, want %d", len(l.Events), tc.events)
			}
		})
	}
}
