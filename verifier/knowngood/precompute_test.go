package knowngood_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/tpmsim/tpmsimtest"
	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/eventlog"
	"github.com/trustpool/trustpool/verifier/knowngood"
)

// launched is what a simulated node measured into PCR 17 and 18, in two banks.
func launched(t *testing.T, options tpmsim.Options) verifier.KnownGood {
	t.Helper()
	log, err := eventlog.Parse(tpmsimtest.Start(t, options).EventLog())
	if err != nil {
		t.Fatal(err)
	}
	var known verifier.KnownGood
	for _, bank := range []eventlog.Alg{eventlog.AlgSHA256, eventlog.AlgSHA384} {
		for _, pcr := range []int{17, 18} {
			entry := verifier.KnownPCR{Bank: bank, PCR: pcr}
			for i := range log.Events {
				if digest, ok := log.Events[i].Digest(bank); ok && int(log.Events[i].PCR) == pcr && log.Events[i].Extended() {
					entry.Events = append(entry.Events, verifier.Slot{Type: log.Events[i].Type, Digests: []verifier.Hex{digest}})
				}
			}
			known.PCRs = append(known.PCRs, entry)
		}
	}
	return known
}

// What the simulated nodes boot.
const (
	xenCmdline = "dom0_mem=2048M,max:2048M ucode=scan iommu=force"
	otherXen   = "simulated xen.gz, version 4.17.3, changed by somebody"
	linuxLine  = "root=/dev/mapper/vg0-root ro intel_iommu=on"
)

func TestWhatIsComputedBeforeTheBootIsWhatTheBootMeasures(t *testing.T) {
	t.Parallel()
	before := launched(t, tpmsim.Options{})
	after := launched(t, tpmsim.Options{Scenario: tpmsim.OtherHypervisor})
	if cmp.Equal(before, after) {
		t.Fatal("the two boots measured the same")
	}
	draft, steps, err := knowngood.Precompute(before, []knowngood.Change{knowngood.Module{CommandLine: xenCmdline, Image: strings.NewReader(otherXen)}}, false)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(after, draft); diff != "" {
		t.Errorf("(-measured +computed)\n%s", diff)
	}
	if len(steps) != 2 || steps[0].Bank != "sha256" || steps[1].Bank != "sha384" || steps[0].Had {
		t.Errorf("steps are %+v", steps)
	}
}

func TestTheOldDigestStaysBesideTheNewOne(t *testing.T) {
	t.Parallel()
	before := launched(t, tpmsim.Options{})
	draft, _ := precompute(t, before, knowngood.Module{CommandLine: xenCmdline, Image: strings.NewReader(otherXen)})
	for _, d := range knowngood.Compare(before, draft) {
		if d.Kind != knowngood.DigestsDiffer || len(d.OnlyA) != 0 || len(d.OnlyB) != 1 || d.PCR != 17 {
			t.Errorf("%+v", d)
		}
	}
	if n := len(knowngood.Compare(before, draft)); n != 2 {
		t.Errorf("%d differences, want one in each bank", n)
	}
	same, steps := precompute(t, draft, knowngood.Module{CommandLine: xenCmdline, Image: strings.NewReader(otherXen)})
	if len(knowngood.Compare(same, draft)) != 0 || !steps[0].Had {
		t.Errorf("the same change again: %+v", steps)
	}
}

func TestSecureLaunchsInitrdAndCommandLineAreFoundByTheirOldContent(t *testing.T) {
	t.Parallel()
	before := launched(t, tpmsim.Options{Loader: tpmsim.TrenchBoot})
	draft, steps := precompute(
		t, before,
		knowngood.File{Old: strings.NewReader("simulated dom0 initrd, version 6.1.0"), New: strings.NewReader("new initrd")},
		knowngood.Text{Old: linuxLine, New: "quiet"},
	)
	if len(steps) != 4 || steps[0].PCR != 17 || steps[2].PCR != 18 {
		t.Fatalf("steps are %+v", steps)
	}
	if want := sha256.Sum256([]byte("quiet")); !bytes.Equal(draft.PCRs[1].Events[steps[2].Slot-1].Digests[1], want[:]) {
		t.Errorf("the command line's slot is %+v", draft.PCRs[1].Events[steps[2].Slot-1])
	}
}

func TestWhatHasNoPlaceIsAnErrorThatSaysWhatToDo(t *testing.T) {
	t.Parallel()
	byEvents := slots(17, eventlog.TypeTbootMeasurement, []byte("policy"), []byte("module 0"))
	byValue := verifier.KnownGood{PCRs: []verifier.KnownPCR{{Bank: eventlog.AlgSHA256, PCR: 17, Values: []verifier.Hex{make([]byte, 32)}}}}
	for _, tc := range []struct {
		rule, want string
		known      verifier.KnownGood
		change     knowngood.Change
	}{
		{"no such module", "module 1", byEvents, knowngood.Module{Number: 1, Image: text("x")}},
		{"a PCR that is known by its value", "learn such a set", byValue, knowngood.Module{Image: text("x")}},
		{"another old file", "old file's digest", byEvents, knowngood.File{Old: text("x"), New: text("y")}},
		{"another old command line", `"a text"`, byEvents, knowngood.Text{Old: "a text", New: "y"}},
		{"an empty old command line", "is empty", byEvents, knowngood.Text{New: "y"}},
		{"an empty file", "is empty", byEvents, knowngood.File{Old: text("module 0"), New: text("")}},
		{"no MLE event", "EVTYPE_MLE_HASH", byEvents, knowngood.MLE{File: text("x")}},
	} {
		_, _, err := knowngood.Precompute(tc.known, []knowngood.Change{tc.change}, true)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", tc.rule, err)
		}
	}
	if _, _, err := knowngood.Precompute(byEvents, nil, true); err == nil {
		t.Error("nothing that changes is taken")
	}
}

func text(s string) *strings.Reader { return strings.NewReader(s) }

func TestEachPlaceOfTheOldContentChanges(t *testing.T) {
	t.Parallel()
	known := slots(9, eventlog.TypeIPL, []byte("grubenv"), []byte("kernel"), []byte("grubenv"))
	draft, steps := precompute(t, known, knowngood.File{Old: text("grubenv"), New: text("new")})
	if len(steps) != 2 || steps[0].Slot != 1 || steps[1].Slot != 3 || len(draft.PCRs[0].Events[1].Digests) != 1 {
		t.Errorf("steps are %+v", steps)
	}
	if len(known.PCRs[0].Events[0].Digests) != 1 {
		t.Error("the caller's values were changed")
	}
}

// mleFile is a 32-bit ELF file with one segment, of which the bytes 16 to 256 are an MLE with room for a command line of 15 bytes.
func mleFile() []byte {
	le := binary.LittleEndian
	file := make([]byte, 0x100)
	copy(file, "\x7fELF\x01\x01\x01")
	for at, v := range map[int]uint16{16: 2, 18: 3, 20: 1, 40: 52, 42: 32, 44: 1} {
		le.PutUint16(file[at:], v)
	}
	le.PutUint32(file[28:], 52)
	for i, v := range []uint32{1, 0x100, 0x800000, 0x800000, 0x100, 0x200} { // PT_LOAD, of which half is not in the file
		le.PutUint32(file[52+4*i:], v)
	}
	segment := bytes.Repeat([]byte{0xAB}, 0x100)
	copy(segment[32:], "\x5a\xac\x82\x90\x6f\x47\xa7\x74\x0f\x5c\x55\xa2\xcb\x51\xb6\x42")
	for i, v := range []uint32{52, 0x20001, 0, 0, 16, 0x140, 0, 128, 144} {
		le.PutUint32(segment[48+4*i:], v)
	}
	return append(file, segment...)
}

func TestTbootItselfIsTheHashOfItsPagesWithItsCommandLine(t *testing.T) {
	t.Parallel()
	file := mleFile()
	pages := append(bytes.Clone(file[0x110:0x200]), make([]byte, 0x40)...) // zeros where the file has nothing
	copy(pages[128-16:144-16], "logging=serial\x00\x00")
	want := sha256.Sum256(pages)

	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	if _, err := z.Write(file); err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	for name, raw := range map[string][]byte{"plain": file, "in gzip": zipped.Bytes()} {
		known := slots(17, eventlog.TypeMLEHash, []byte("tboot"))
		draft, _ := precompute(t, known, knowngood.MLE{File: bytes.NewReader(raw), CommandLine: "logging=serial"})
		if !bytes.Equal(draft.PCRs[0].Events[0].Digests[1], want[:]) {
			t.Errorf("%s: %s, want %x", name, draft.PCRs[0].Events[0].Digests[1], want)
		}
		if _, _, err := knowngood.Precompute(known, []knowngood.Change{knowngood.MLE{File: bytes.NewReader(raw), CommandLine: strings.Repeat("x", 16)}}, true); err == nil {
			t.Errorf("%s: a command line that has no room is taken", name)
		}
	}
}

// FuzzMLE: no MLE, packed or not, stops the precomputation.
func FuzzMLE(f *testing.F) {
	f.Add(mleFile(), "logging=serial")
	f.Add([]byte{0x1f, 0x8b, 8}, "")
	f.Fuzz(func(_ *testing.T, file []byte, line string) {
		_, _, _ = knowngood.Precompute(slots(17, eventlog.TypeMLEHash, []byte("x")), []knowngood.Change{knowngood.MLE{File: bytes.NewReader(file), CommandLine: line}}, true) //nolint:dogsled // it only must not panic
	})
}
