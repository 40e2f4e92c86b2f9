package cel_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"testing"

	"github.com/trustpool/trustpool/internal/reallogs"
	"github.com/trustpool/trustpool/verifier/eventlog"
)

// The tests write logs by a few lines of their own, so that a misreading of the format cannot hide in parser and writer at once.

func u16(n int) []byte { return binary.LittleEndian.AppendUint16(nil, uint16(n)) }
func u32(n int) []byte { return binary.LittleEndian.AppendUint32(nil, uint32(n)) }

// legacy writes a TCG_PCClientPCREvent.
func legacy(pcr, typ int, digest, data []byte) []byte {
	return slices.Concat(u32(pcr), u32(typ), digest, u32(len(data)), data)
}

// agile writes a crypto-agile log of SHA-1 and SHA-256, and a third algorithm that nobody knows.
func agile(records ...[]byte) []byte {
	header := slices.Concat([]byte("Spec ID Event03\x00"), u32(0), []byte{0, 2, 1, 2}, u32(3), u16(4), u16(20), u16(0xB), u16(32), u16(0xFF), u16(24), []byte{2, 'h', 'i'})
	return slices.Concat(legacy(0, 3, make([]byte, 20), header), slices.Concat(records...))
}

// event writes a TCG_PCR_EVENT2 with digests of SHA-256 and SHA-1, in this order.
func event(pcr, typ int, fill byte, data []byte) []byte {
	return slices.Concat(u32(pcr), u32(typ), u32(2), u16(0xB), bytes.Repeat([]byte{fill}, 32), u16(4), bytes.Repeat([]byte{fill}, 20), u32(len(data)), data)
}

// samples are logs of every format.
func samples() map[string][]byte {
	txt := slices.Concat([]byte("FRMT ID EVENT00\x00"), u32(1), u32(2), u32(32))
	return map[string][]byte{
		"crypto-agile": agile(
			event(0, 8, 1, []byte("version")), event(17, 0x402, 2, nil), event(0xFF, 0x401, 0, u32(1)), event(17, 0x501, 3, []byte{0}),
			event(0, 3, 0, []byte("StartupLocality\x00\x03")), event(0xFFFFFFFF, 3, 0, []byte("of no PCR")), event(7, 0x800000E0, 4, bytes.Repeat([]byte{0xA5}, 1000)),
			slices.Concat(u32(5), u32(4), u32(1), u16(0xFF), bytes.Repeat([]byte{9}, 24), u32(0)),
		),
		"header alone": agile(),
		"sha1":         slices.Concat(legacy(0, 8, bytes.Repeat([]byte{7}, 20), []byte("SHA-1")), legacy(4, 13, bytes.Repeat([]byte{8}, 20), nil)),
		"txt":          slices.Concat(legacy(0, 3, make([]byte, 20), txt), u32(17), u32(0x402), bytes.Repeat([]byte{6}, 32), u32(2), []byte("ok")),
	}
}

func parse(t testing.TB, raw []byte) *eventlog.Log {
	t.Helper()
	log, err := eventlog.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return log
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// realLogs are logs of real machines, trimmed.
func realLogs(t testing.TB) map[string][]byte {
	t.Helper()
	logs := make(map[string][]byte)
	for _, name := range []string{
		"txt/secl_txt-logs.trimmed.bin", "txt/secl_txt_heap_eventlog.trimmed.bin", "txt/tboot-devel_E5470_txt-stat_2021-08-26.rebuilt.bin",
		"srtm/arch-linux-workstation.bin", "srtm/debian-10.bin", "srtm/glinux-alex.bin", "srtm/option_rom_eventlog", "srtm/rhel8-uefi.bin", "srtm/secl_uefi_event_log.bin",
		"srtm/short_no_action_eventlog", "srtm/ubuntu-2104-no-dbx.bin",
	} {
		raw := reallogs.Read(t, name)
		end, err := eventlog.Trim(raw)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		logs[name] = raw[:end]
	}
	return logs
}
