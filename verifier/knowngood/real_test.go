package knowngood_test

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/trustpool/trustpool/internal/reallogs"
	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/eventlog"
	"github.com/trustpool/trustpool/verifier/knowngood"
)

// realEvents reads the events of one PCR from a log that was captured on a real machine.
func realEvents(t *testing.T, name string, pcr uint32) []eventlog.Event {
	t.Helper()
	log, err := eventlog.Parse(reallogs.Read(t, "srtm/"+name))
	if err != nil {
		t.Fatal(err)
	}
	var events []eventlog.Event
	for _, e := range log.Events {
		if e.PCR == pcr && e.Type == eventlog.TypeIPL {
			events = append(events, e)
		}
	}
	return events
}

// TestCommandLinesOfRealMachines takes each text from what the boot loader logged beside it, and finds its slot by it.
func TestCommandLinesOfRealMachines(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		file string
		text func(data []byte) string
		// want is how many texts there are at least, none how many of the events have another digest than that of their text.
		want, none int
	}{
		{"ubuntu-2104-no-dbx.bin", grubText, 60, 0},
		{"rhel8-uefi.bin", grubText, 50, 0},
		{"arch-linux-workstation.bin", utf16Text, 1, 0},
	} {
		found, lost := 0, 0
		for _, e := range realEvents(t, tc.file, 8) {
			old := tc.text(e.Data)
			digest, _ := e.Digest(eventlog.AlgSHA256)
			known := verifier.KnownGood{PCRs: []verifier.KnownPCR{{
				Bank: eventlog.AlgSHA256, PCR: 8, Events: []verifier.Slot{{Type: e.Type, Digests: []verifier.Hex{bytes.Clone(digest)}}},
			}}}
			_, steps, err := knowngood.Precompute(known, []knowngood.Change{knowngood.Text{Old: old, New: old + " quiet"}}, true)
			if err != nil || len(steps) != 1 {
				lost++
				t.Logf("%s: event %d, %q: %v", tc.file, e.Num, old, err)
				continue
			}
			found++
		}
		if found < tc.want || lost != tc.none {
			t.Errorf("%s: the texts of %d events were found, and of %d not", tc.file, found, lost)
		}
	}
}

// grubText is what GRUB logs: what it is about, a colon since 2.04, and the text. The logger's zero byte is not measured.
func grubText(data []byte) string {
	text := strings.TrimRight(string(data), "\x00")
	for _, kind := range []string{"grub_cmd", "kernel_cmdline", "grub_kernel_cmdline", "module_cmdline"} {
		if rest, ok := strings.CutPrefix(text, kind); ok {
			return strings.TrimPrefix(strings.TrimPrefix(rest, ":"), " ")
		}
	}
	return text
}

// utf16Text is what systemd-boot logs.
func utf16Text(data []byte) string {
	units := make([]uint16, 0, len(data)/2)
	for i := 0; i+1 < len(data); i += 2 {
		units = append(units, uint16(data[i])|uint16(data[i+1])<<8)
	}
	return strings.TrimRight(string(utf16.Decode(units)), "\x00")
}
