package eventlog_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/trustpool/trustpool/internal/reallogs"
	"github.com/trustpool/trustpool/verifier/eventlog"
)

// TestTPM2EventlogReplaysAsWeDo has tpm2_eventlog read logs of firmware and of TXT launches. It has no start value but zero (PFP 9.4.5.3) and passes over events that lack a bank's digest.
func TestTPM2EventlogReplaysAsWeDo(t *testing.T) {
	t.Parallel()
	for _, file := range []string{
		"srtm/arch-linux-workstation.bin", "srtm/debian-10.bin", "srtm/glinux-alex.bin", "srtm/rhel8-uefi.bin", "srtm/ubuntu-2104-no-dbx.bin",
		"txt/secl_txt-logs.trimmed.bin", "txt/secl_txt_heap_eventlog.trimmed.bin",
	} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			raw := trimmed(t, reallogs.Read(t, file))
			log, err := eventlog.Parse(raw)
			if err != nil {
				t.Fatal(err)
			}
			text, err := tpm2Eventlog(t, raw)
			if err != nil {
				t.Fatal(err)
			}
			theirs, compared := replayOf(t, text), 0
			for _, bank := range log.Algs {
				replay := log.Replay(bank)
				for i, pcr := range replay.PCRs {
					if pcr.Err != nil || pcr.Events == 0 || i == 0 && bytes.Contains(raw, []byte("StartupLocality")) {
						continue
					}
					compared++
					if value := theirs[bank.String()][i]; !bytes.Equal(value, pcr.Value) {
						t.Errorf("%s PCR %d: %x here, and tpm2_eventlog says %x", bank, i, pcr.Value, value)
					}
				}
			}
			if compared == 0 {
				t.Error("nothing was compared")
			}
		})
	}
}

// TestTPM2EventlogStopsAtEventsOfNoPCR: what docs/evidence.md says. Newer SINIT modules log such events.
func TestTPM2EventlogStopsAtEventsOfNoPCR(t *testing.T) {
	t.Parallel()
	for name, raw := range map[string][]byte{
		"TXT": reallogs.Read(t, "txt/tboot-devel_E5470_txt-stat_2021-08-26.rebuilt.bin"), "our own": agile(bothBanks, launch(bothBanks...)...),
	} {
		if _, err := eventlog.Parse(trimmed(t, raw)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		_, err := tpm2Eventlog(t, trimmed(t, raw))
		if exit, ok := errors.AsType[*exec.ExitError](err); !ok || !bytes.Contains(exit.Stderr, []byte("is out of bounds")) {
			t.Errorf("%s: tpm2_eventlog reads it now, and the documentation has to say so: %v", name, err)
		}
	}
}

// tpm2Eventlog returns what tpm2_eventlog prints about a log.
func tpm2Eventlog(t *testing.T, raw []byte) (string, error) {
	t.Helper()
	tool, err := exec.LookPath("tpm2_eventlog")
	if err != nil {
		t.Fatalf("install the package tpm2-tools: %v", err)
	}
	file := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	text, err := exec.CommandContext(t.Context(), tool, file).Output()
	return string(text), err
}

// replayOf reads the values at the end of what tpm2_eventlog prints: for each bank, PCRs and what they have to hold.
func replayOf(t *testing.T, text string) map[string]map[int][]byte {
	t.Helper()
	_, list, ok := strings.Cut(text, "\npcrs:\n")
	if !ok {
		t.Fatalf("there are no values in\n%s", text)
	}
	banks, values := make(map[string]map[int][]byte), map[int][]byte(nil)
	line := regexp.MustCompile(`(?m)^  (?:([a-z0-9_]+):|  ([0-9]+) *: 0x([0-9a-f]+))$`)
	for _, found := range line.FindAllStringSubmatch(list, -1) {
		if found[1] != "" {
			values = make(map[int][]byte)
			banks[found[1]] = values
			continue
		}
		pcr, err := strconv.Atoi(found[2])
		if err != nil || values == nil {
			t.Fatalf("PCR %q of no bank: %v", found[2], err)
		}
		if values[pcr], err = hex.DecodeString(found[3]); err != nil {
			t.Fatal(err)
		}
	}
	return banks
}
