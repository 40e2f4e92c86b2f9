package eventlog_test

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/trustpool/trustpool/internal/reallogs"
	"github.com/trustpool/trustpool/verifier/eventlog"
)

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
			l, err := eventlog.Parse(trimmed(t, reallogs.Read(t, tc.file)))
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

func TestRealLogWithoutSHA1DigestsOfTbootIsNotReplayableInSHA1(t *testing.T) {
	t.Parallel()
	r := parse(t, trimmed(t, reallogs.Read(t, "txt/secl_txt-logs.bin"))).Replay(s1)
	for pcr, event := range map[int]int{17: 16, 18: 17} {
		_, err := r.Value(pcr)
		var re *eventlog.ReplayError
		if !errors.As(err, &re) || re.Event != event || re.Type != eventlog.TypeTbootMeasurement || !strings.Contains(re.Reason, "no sha1 digest") {
			t.Errorf("PCR %d: %v, want event %d of tboot", pcr, err, event)
		}
	}
}

func TestRealContainersEndWhereTheirLogEnds(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]int{
		"txt/secl_txt-logs.bin":                  1634,
		"txt/secl_txt_heap_eventlog.trimmed.bin": 1722,
		"srtm/secl_uefi_event_log.bin":           0x48BB,
		"srtm/option_rom_eventlog":               72817,
		"srtm/short_no_action_eventlog":          49,
	} {
		raw := reallogs.Read(t, file)
		if n, err := eventlog.Trim(raw); err != nil || n != want {
			t.Errorf("%s ends at %d (%v), want %d", file, n, err, want)
		}
		if l := parse(t, raw[:want]); !bytes.Equal(l.Bytes(), raw[:want]) {
			t.Errorf("%s: written differently than read", file)
		}
	}
}

// The heap image has the log at its event log pointer, inside a buffer of 8 KiB.
func TestRealHeapImageHoldsTheLog(t *testing.T) {
	t.Parallel()
	image := reallogs.Read(t, "txt/secl_txt_heap_info.bin")
	heap := image[binary.LittleEndian.Uint64(image):]
	buffer := heap[0x1014C:][:0x2000]
	want := reallogs.Read(t, "txt/secl_txt_heap_eventlog.trimmed.bin")
	if got := trimmed(t, buffer); !bytes.Equal(got, want) {
		t.Errorf("%d bytes of log, want %d", len(got), len(want))
	}
}

func TestRealFirmwareLogsReplayToTheirMachinesPCRs(t *testing.T) {
	t.Parallel()
	var expected map[string][]map[string]map[string]string
	if err := json.Unmarshal(reallogs.Read(t, "srtm/expected_pcrs.json"), &expected); err != nil {
		t.Fatal(err)
	}
	if len(expected) == 0 {
		t.Fatal("no expectations")
	}
	for file, sets := range expected {
		l := parse(t, trimmed(t, reallogs.Read(t, "srtm/"+file)))
		for bank, pcrs := range sets[0] {
			r := l.Replay(alg(t, bank))
			for index, want := range pcrs {
				n, err := strconv.Atoi(index)
				if err != nil {
					t.Fatal(err)
				}
				if v, err := r.Value(n); err != nil || hex.EncodeToString(v) != want || r.PCRs[n].Events == 0 {
					t.Errorf("%s: %s PCR %d = %x (%v), %d events, want %s", file, bank, n, v, err, r.PCRs[n].Events, want)
				}
			}
			if r.Launched {
				t.Errorf("%s: a firmware log has a launch", file)
			}
		}
	}
}

// In no real log does data differ that its type binds.
func TestRealDataIsWhatItsDigestsSay(t *testing.T) {
	t.Parallel()
	for _, file := range []string{
		"txt/secl_txt-logs.bin", "txt/secl_txt_heap_eventlog.trimmed.bin", "txt/tboot-devel_E5470_txt-stat_2021-08-26.rebuilt.bin",
		"srtm/arch-linux-workstation.bin", "srtm/debian-10.bin", "srtm/glinux-alex.bin", "srtm/option_rom_eventlog", "srtm/rhel8-uefi.bin",
		"srtm/secl_uefi_event_log.bin", "srtm/ubuntu-2104-no-dbx.bin",
	} {
		l := parse(t, trimmed(t, reallogs.Read(t, file)))
		matches := 0
		for i := range l.Events {
			e := &l.Events[i]
			for _, a := range l.Algs {
				switch e.CheckData(a) {
				case eventlog.DataDiffers:
					t.Errorf("%s, event %d (%s): data differs from its %s digest", file, e.Num, e.Type, a)
				case eventlog.DataMatches:
					matches++
				case eventlog.DataUnbound:
				}
			}
			safe(t, e)
		}
		if matches == 0 {
			t.Errorf("%s: no digest vouches for any data", file)
		}
	}
}

// manifestLog is one PCR of one bank as SecL's host manifests list it.
type manifestLog struct {
	PCR struct {
		Index uint32
		Bank  string
	}
	Events []struct {
		Type        string `json:"type_id"`
		Measurement string
	} `json:"tpm_events"`
}

// fromManifest writes the log that a host manifest was made from: the banks of a PCR list the same events in the same order.
func fromManifest(t *testing.T, lists []manifestLog) []byte {
	t.Helper()
	byPCR := map[uint32][]rec{}
	for _, list := range lists {
		recs := byPCR[list.PCR.Index]
		for i, e := range list.Events {
			typ, err := eventlog.ParseEventType(e.Type)
			if err != nil {
				t.Fatal(err)
			}
			if i == len(recs) {
				recs = append(recs, rec{pcr: list.PCR.Index, typ: uint32(typ)})
			}
			if recs[i].typ != uint32(typ) {
				t.Fatalf("PCR %d, event %d: type %s in one bank, %s in another", list.PCR.Index, i, eventlog.EventType(recs[i].typ), typ)
			}
			recs[i].digests = append(recs[i].digests, dig{alg(t, strings.ToLower(list.PCR.Bank)), unhex(t, e.Measurement)})
		}
		byPCR[list.PCR.Index] = recs
	}
	var all []rec
	for _, pcr := range []uint32{17, 18} {
		all = append(all, byPCR[pcr]...)
	}
	for _, r := range all {
		slices.SortFunc(r.digests, func(a, b dig) int { return cmp.Compare(a.alg, b.alg) })
	}

	return agile(bothBanks, all...)
}

func TestRealLogOfAnOldTbootDoesNotReplayToItsPCRs(t *testing.T) {
	t.Parallel()
	var manifest struct {
		PCRs struct {
			SHA1 []struct{ Index, Value string } `json:"sha1pcrs"`
			SHA2 []struct{ Index, Value string } `json:"sha2pcrs"`
			Logs map[string][]manifestLog        `json:"pcr_event_log_map"`
		} `json:"pcr_manifest"`
	}
	if err := json.Unmarshal(reallogs.Read(t, "txt/secl_rhel81_S2600WT_HostManifest1.json"), &manifest); err != nil {
		t.Fatal(err)
	}
	l := parse(t, fromManifest(t, slices.Concat(manifest.PCRs.Logs["SHA1"], manifest.PCRs.Logs["SHA256"])))
	compared := 0
	for a, values := range map[eventlog.Alg][]struct{ Index, Value string }{s1: manifest.PCRs.SHA1, s256: manifest.PCRs.SHA2} {
		r := l.Replay(a)
		if !r.Launched {
			t.Errorf("%s: not launched", a)
		}
		for _, v := range values {
			n := map[string]int{"pcr_17": 17, "pcr_18": 18}[v.Index]
			if n == 0 {
				continue
			}
			compared++
			got, err := r.Value(n)
			if err != nil || r.PCRs[n].Events == 0 || hex.EncodeToString(got) == v.Value {
				t.Errorf("%s PCR %d = %x (%v): its log lacks what tboot extended", a, n, got, err)
			}
		}
	}
	if compared != 4 {
		t.Errorf("%d PCRs compared, want 4", compared)
	}
	if slices.ContainsFunc(l.Events, func(e eventlog.Event) bool { return e.Type == eventlog.TypeTbootMeasurement }) {
		t.Error("this log has no events of tboot: that is why it does not replay")
	}
}

func TestRealCBnTLogReplaysWithADoubt(t *testing.T) {
	t.Parallel()
	var lists []manifestLog
	if err := json.Unmarshal(reallogs.Read(t, "txt/tboot-devel_WLYDCRB1_eventlog_2021-12-01.json"), &lists); err != nil {
		t.Fatal(err)
	}
	r := parse(t, fromManifest(t, lists)).Replay(s256)
	if p := r.PCRs[17]; p.Err != nil || p.Events != 15 || !strings.Contains(p.Doubt, "event 2 (EVTYPE_KM_HASH)") {
		t.Errorf("PCR 17: %d events, doubt %q (%v)", p.Events, p.Doubt, p.Err)
	}
	if p := r.PCRs[18]; p.Err != nil || p.Events != 7 || p.Doubt != "" {
		t.Errorf("PCR 18: %d events, doubt %q (%v)", p.Events, p.Doubt, p.Err)
	}
}

func alg(t *testing.T, name string) eventlog.Alg {
	t.Helper()
	a, err := eventlog.ParseAlg(name)
	if err != nil {
		t.Fatal(err)
	}

	return a
}
