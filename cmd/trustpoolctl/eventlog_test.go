package main

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/internal/reallogs"
	"github.com/trustpool/trustpool/verifier"
)

// replayed is what a script reads of eventlog replay --json.
type replayed struct {
	Banks        map[string]map[string]string `json:"banks"`
	Unreplayable map[string]string            `json:"unreplayable"`
	Launched     bool                         `json:"launched"`
}

func replayFile(t *testing.T, args ...string) replayed {
	t.Helper()

	var stdout, stderr strings.Builder
	if code := run(context.Background(), append([]string{"eventlog", "replay", "--json"}, args...), &stdout, &stderr); code != console.ExitOK {
		t.Fatalf("exit code %d: %s", code, stderr.String())
	}
	var got replayed
	if err := json.Unmarshal([]byte(stdout.String()), &got); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestLogsOfRealLaunchesReplay(t *testing.T) {
	t.Parallel()

	dir := reallogs.Dir(t)
	for name, test := range map[string]struct {
		want         map[string]string // by bank and PCR
		unreplayable bool              // the SHA-1 bank
	}{
		"secl_txt-logs.bin": {map[string]string{
			"sha256:17": "ff8a57bf4a600950af3a52bd832741cf4c282300b526021fd12aacfb7fe22d5a",
			"sha256:18": "ad82584b09f51b928d15168785a0f7a2ff82d2da1520e57534dff391cb4aeb95",
		}, true},
		"secl_txt-logs.trimmed.bin": {map[string]string{
			"sha256:17": "ff8a57bf4a600950af3a52bd832741cf4c282300b526021fd12aacfb7fe22d5a",
			"sha256:18": "ad82584b09f51b928d15168785a0f7a2ff82d2da1520e57534dff391cb4aeb95",
		}, true},
		"secl_txt_heap_eventlog.trimmed.bin": {map[string]string{
			"sha256:17": "9e811701336f52de774b9e84b68fd977e400fcb031ea9e3465993d5c2a1935a8",
			"sha256:18": "52036ab120c1fc13940054c65c0c350463a56fa80131430a76cb3be84dfc31fc",
			"sha1:17":   "4e7113d747e57a904e753a1c9ec86a228cc57984",
			"sha1:18":   "bdad60f103fa8a4a27faf4622b983cf422e6de9b",
		}, false},
		"tboot-devel_E5470_txt-stat_2021-08-26.rebuilt.bin": {map[string]string{
			"sha256:17": "17db83cfefb5204226a1cbd8ea62e675dabdcea737c2bc499dd51f0e3a0eee3a",
			"sha256:18": "add552b58f6ed3595ebbea5f4f59d077e0ed4c8601de1898a5559fe95fa86fcc",
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			got := replayFile(t, filepath.Join(dir, "txt", name))
			for key, want := range test.want {
				bank, pcr, _ := strings.Cut(key, ":")
				if got.Banks[bank][pcr] != want {
					t.Errorf("%s is %s, want %s", key, got.Banks[bank][pcr], want)
				}
			}
			_, hasSHA1 := got.Banks["sha1"]
			if (got.Unreplayable["sha1"] != "") != test.unreplayable || hasSHA1 == test.unreplayable {
				t.Errorf("sha1 is unreplayable: %q, and there are values: %t", got.Unreplayable["sha1"], hasSHA1)
			}
			if !got.Launched {
				t.Error("no launch")
			}
		})
	}
}

func TestLogsOfRealFirmwareReplay(t *testing.T) {
	t.Parallel()

	dir := filepath.Join(reallogs.Dir(t), "srtm")
	text, err := os.ReadFile(filepath.Join(dir, "expected_pcrs.json"))
	if err != nil {
		t.Fatal(err)
	}
	var expected map[string][]map[string]map[string]string
	if err := json.Unmarshal(text, &expected); err != nil {
		t.Fatal(err)
	}
	for name, machines := range expected {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			got := replayFile(t, filepath.Join(dir, name))
			for bank, pcrs := range machines[0] {
				for pcr, want := range pcrs {
					if value := got.Banks[bank][pcr]; value != want {
						t.Errorf("%s PCR %s is %s, want %s", bank, pcr, value, want)
					}
				}
			}
		})
	}
}

// imaList is a list of one file (Linux, IMA-templates.rst).
func imaList(path string) []byte {
	field := func(data []byte) []byte {
		return append(binary.LittleEndian.AppendUint32(nil, uint32(len(data))), data...)
	}
	content := sha256.Sum256([]byte(path))
	data := append(field(append([]byte("sha256:\x00"), content[:]...)), field([]byte(path+"\x00"))...)
	template := sha1.Sum(data)
	list := append(binary.LittleEndian.AppendUint32(nil, 10), template[:]...)
	return append(append(list, field([]byte("ima-ng"))...), field(data)...)
}

func writeLog(t *testing.T, raw []byte) string {
	t.Helper()

	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestIMAListsAreRecognised(t *testing.T) {
	t.Parallel()

	raw := imaList("/bin/x")
	path := writeLog(t, raw)
	data := raw[4+20+4+6+4:]
	for bank, extended := range map[string][]byte{"sha256": sum256(make([]byte, 32), sum256(data))} {
		for _, args := range [][]string{{path}, {"--ima", path}} {
			if got := replayFile(t, args...); got.Banks[bank]["10"] != fmt.Sprintf("%x", extended) || len(got.Banks) != 4 {
				t.Errorf("%v: %+v", args, got)
			}
		}
	}

	var stdout, stderr strings.Builder
	if code := run(context.Background(), []string{"eventlog", "show", path}, &stdout, &stderr); code != console.ExitOK {
		t.Fatal(stderr.String())
	}
	if !strings.Contains(stdout.String(), ": ima log, 1 event, ") || !strings.Contains(stdout.String(), `file "/bin/x", sha256 `) {
		t.Error(stdout.String())
	}
	stdout.Reset()
	if code := run(context.Background(), []string{"eventlog", "diff", path, writeLog(t, imaList("/bin/y"))}, &stdout, &stderr); code != exitDifferent {
		t.Errorf("exit code %d", code)
	}
	if !strings.Contains(stdout.String(), `event 0 is gone: ima-ng, sha1 `) || !strings.Contains(stdout.String(), `event 0 is new: ima-ng, sha1 `) {
		t.Error(stdout.String())
	}
}

func sum256(parts ...[]byte) []byte {
	sum := sha256.Sum256(bytes.Join(parts, nil))
	return sum[:]
}

func TestADataChangeIsMarked(t *testing.T) {
	t.Parallel()

	// PC Client Platform Firmware Profile, 9.2.1: PCR 4, EV_SEPARATOR, SHA-1 of other data, four bytes of data.
	other := sha1.Sum([]byte("other"))
	raw := append([]byte{4, 0, 0, 0, 4, 0, 0, 0}, other[:]...)
	path := writeLog(t, append(raw, 4, 0, 0, 0, 0, 0, 0, 0))

	var stdout, stderr strings.Builder
	if code := run(context.Background(), []string{"eventlog", "show", path}, &stdout, &stderr); code != console.ExitOK {
		t.Fatal(stderr.String())
	}
	if !strings.Contains(stdout.String(), "its data was changed: the digest is of other data") {
		t.Error(stdout.String())
	}
}

func TestComparisonsAreShort(t *testing.T) {
	t.Parallel()

	event := func(num int, name, digest string) record {
		return record{Num: num, PCR: 17, Type: name, Extended: true, Digests: hexes(digest), like: name}
	}
	a := []record{event(1, "A", "a"), event(2, "B", "b"), event(3, "C", "c"), event(4, "D", "d")}
	relabelled, data := event(3, "X", "c"), event(3, "C", "c")
	data.Data = []byte("other")
	for name, test := range map[string]struct {
		b    []record
		want []string
	}{
		"the same":           {a, nil},
		"a digest":           {[]record{a[0], event(2, "B", "x"), a[2], a[3]}, []string{"changed 2 2"}},
		"one in front":       {append([]record{event(1, "N", "n")}, a...), []string{"added - 1"}},
		"one gone":           {[]record{a[0], a[2], a[3]}, []string{"removed 2 -"}},
		"another type":       {[]record{a[0], a[1], relabelled, a[3]}, []string{"changed 3 3"}},
		"other data":         {[]record{a[0], a[1], data, a[3]}, []string{"data 3 3"}},
		"another event":      {[]record{a[0], event(2, "N", "n"), a[2], a[3]}, []string{"removed 2 -", "added - 2"}},
		"nothing":            {nil, []string{"removed 1 -", "removed 2 -", "removed 3 -", "removed 4 -"}},
		"two changed places": {[]record{a[0], a[2], a[1], a[3]}, []string{"removed 2 -", "added - 2"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			var got []string
			for _, d := range (comparison{banks: []string{"sha256"}}).compare(a, test.b) {
				got = append(got, fmt.Sprintf("%s %s %s", d.Kind, num(d.A), num(d.B)))
			}
			if test.want == nil && got != nil || len(got) != len(test.want) {
				t.Fatalf("got %q, want %q", got, test.want)
			}
			if diff := cmp.Diff(test.want, got); diff != "" && name != "two changed places" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestLongListsAreComparedByName(t *testing.T) {
	t.Parallel()

	var a []record
	for i := range 2000 {
		name := fmt.Sprintf("/bin/%d", i)
		a = append(a, record{Num: i, PCR: 10, Type: "ima-ng", Extended: true, Digests: hexes(name), like: name})
	}
	fresh := record{Num: 0, PCR: 10, Type: "ima-ng", Extended: true, Digests: hexes("new"), like: "/bin/new"}
	update := a[1000]
	update.Digests = hexes("update")
	changed := append([]record{fresh}, a[1:1000]...)
	changed = append(append(changed, update), a[1001:1999]...)
	changed = append(changed, fresh)

	swapped := append([]record{a[1999]}, a[1:1999]...)
	swapped = append(swapped, a[0])
	for name, test := range map[string]struct {
		b    []record
		want []string
	}{
		"changes": {changed, []string{"changed 1000 1000", "removed 0 -", "removed 1999 -", "added - 0", "added - 0"}},
		"order":   {swapped, []string{"moved 1999 1999"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			var got []string
			for _, d := range (comparison{banks: []string{"sha256"}}).compare(a, test.b) {
				got = append(got, fmt.Sprintf("%s %s %s", d.Kind, num(d.A), num(d.B)))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestOfManyEventsOfOneNameTheFirstStandForThoseThatAreLeft(t *testing.T) {
	t.Parallel()

	a := make([]record, 2000)
	for i := range a {
		a[i] = record{Num: i, Type: "EV_IPL", like: "EV_IPL"}
	}
	found := comparison{}.match(a, []record{{Num: 7, Type: "EV_IPL", like: "EV_IPL", Data: []byte("other")}})
	found = slices.DeleteFunc(found, func(d difference) bool { return d.Kind != "removed" })
	for i, d := range found {
		if d.A.Num != i+1 {
			t.Fatalf("removed, number %d: event %d, want all but the first", i, d.A.Num)
		}
	}
	if len(found) != len(a)-1 {
		t.Errorf("%d events were removed, want all but the first", len(found))
	}
}

func num(r *record) string {
	if r == nil {
		return "-"
	}
	return fmt.Sprint(r.Num)
}

func hexes(digest string) map[string]verifier.Hex {
	return map[string]verifier.Hex{"sha256": verifier.Hex(digest)}
}
