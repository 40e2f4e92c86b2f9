package eventlog_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"github.com/trustpool/trustpool/verifier/eventlog"
)

// event makes one event of a log.
func event(t testing.TB, r rec) *eventlog.Event {
	t.Helper()

	return &parse(t, agile(bothBanks, r)).Events[0]
}

func utf16le(s string) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = append(b, u16(int(u))...)
	}

	return b
}

// guid16 is an EFI_GUID whose text is ffeeddcc-bbaa-9988-7766-554433221100 with b's bytes in the file's order.
func guid16() []byte {
	return []byte{0xCC, 0xDD, 0xEE, 0xFF, 0xAA, 0xBB, 0x88, 0x99, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0x00}
}

const guidText = "ffeeddcc-bbaa-9988-7766-554433221100"

func variable(guid []byte, name string, value []byte) []byte {
	return slices.Concat(guid, u64(len(name)), u64(len(value)), utf16le(name), value)
}

func node(kind, sub byte, body ...byte) []byte {
	return slices.Concat([]byte{kind, sub}, u16(4+len(body)), body)
}

func nvPublic(index uint32, policy byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, index)
	b = binary.BigEndian.AppendUint16(b, 0x000B)
	b = binary.BigEndian.AppendUint32(b, 0x62044408)
	b = binary.BigEndian.AppendUint16(b, 4)
	b = append(b, bytes.Repeat([]byte{policy}, 4)...)

	return binary.BigEndian.AppendUint16(b, 104)
}

func TestDetailsSayWhatAPersonWantsToKnow(t *testing.T) {
	t.Parallel()
	sinit := bytes.Repeat([]byte{0xAB}, 32)
	global := []byte{0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c}
	path := slices.Concat(
		node(2, 1, 0xD0, 0x41, 0x03, 0x0A, 0, 0, 0, 0), node(1, 1, 2, 3),
		node(4, 1, slices.Concat(u32(1), make([]byte, 16), guid16(), []byte{2, 2})...),
		node(4, 4, utf16le(`\EFI\x.efi`+"\x00")...), node(9, 9), node(0x7F, 0xFF))
	gpt := slices.Concat(make([]byte, 56), guid16(), make([]byte, 20), u64(1), make([]byte, 16), guid16(), make([]byte, 24), utf16le("EFI"), make([]byte, 66))
	disk := func(n int) []byte {
		return slices.Concat(gpt[:92], u64(n), bytes.Repeat(gpt[100:], n))
	}
	tables := func(n int) []byte { return append(u64(n), bytes.Repeat(append(guid16(), u64(0)...), n)...) }
	image := func(path []byte) []byte { return slices.Concat(u64(4096), u64(77), u64(0), u64(len(path)), path) }
	sigs := func(head, body, size int) []byte {
		return slices.Concat(guid16(), u32(28+head+body), u32(head), u32(size), make([]byte, head+body))
	}
	long, wide := strings.Repeat("a", 4096), strings.Repeat("a", 2047)+"ä"
	sigList := slices.Concat(guid16(), u32(28+48), u32(0), u32(24), make([]byte, 48))
	for name, tc := range map[string]struct {
		typ  eventlog.EventType
		data []byte
		want string
	}{
		"HASH_START":           {eventlog.TypeHashStart, append(bytes.Clone(sinit), 0x78, 0x56, 0x34, 0x12), "SINIT hash " + strings.Repeat("ab", 32) + "|EDX 0x12345678"},
		"PCR mapping":          {eventlog.TypePCRMapping, u32(1), "mapping details and authorities"},
		"legacy PCR mapping":   {eventlog.TypePCRMapping, u32(0), "mapping legacy"},
		"S-CRTM in the CPU":    {eventlog.TypeCPUSCRTMStat, u32(1), "S-CRTM in the CPU"},
		"LCP control":          {eventlog.TypeLCPControlHash, u32(2), "policy control 0x00000002"},
		"capabilities":         {eventlog.TypeOsSinitDataCap, u32(0x80000201), "capabilities 0x80000201 (RLP wake-up by GETSEC; TCG event log; bit 31)"},
		"registration":         {eventlog.TypeBIOSACRegData, sinit, "registration data " + strings.Repeat("ab", 32)},
		"no STM":               {eventlog.TypeSTMHash, []byte{0}, "STM none"},
		"no policy":            {eventlog.TypeLCPDetailsHash, []byte{0}, "policy none in force, any launch is allowed"},
		"MLE":                  {eventlog.TypeMLEHash, nil, "sha256 " + strings.Repeat("11", 32)},
		"key of SINIT":         {eventlog.TypeSINITPubkeyHash, nil, "sha256 " + strings.Repeat("11", 32)},
		"NV indices":           {eventlog.TypeNVInfoHash, slices.Concat([]byte{1}, nvPublic(0x01C10102, 0xEF), []byte{0, 0}), "AUX index 0x01c10102 (104 bytes, name algorithm sha256, attributes 0x62044408, policy efefefef)|platform supplier index not defined|platform owner index not defined"},
		"NV indices, cut":      {eventlog.TypeNVInfoHash, slices.Concat([]byte{1}, nvPublic(0x01C10102, 0xEF)[:9]), "data 0101c10102000b620444"},
		"NV indices, more":     {eventlog.TypeNVInfoHash, []byte{0, 0, 0, 0xFE}, "data 000000fe"},
		"Secure Launch":        {eventlog.TypeSlaunch, []byte("Measured initrd\x00"), `text "Measured initrd"`},
		"locality":             {eventlog.TypeNoAction, []byte("StartupLocality\x00\x03"), "locality of TPM2_Startup 3"},
		"reference manifest":   {eventlog.TypeNoAction, slices.Concat([]byte("SP800-155 Event\x00"), u32(7), guid16()), "reference manifest " + guidText + "|vendor 7"},
		"separator":            {eventlog.TypeSeparator, u32(0), "separator end of the firmware's measurements"},
		"error separator":      {eventlog.TypeSeparator, u32(1), "separator the firmware reports an error"},
		"text separator":       {eventlog.TypeSeparator, []byte("WBCL"), `text "WBCL"`},
		"action":               {eventlog.TypeEFIAction, []byte("Exit Boot Services"), `text "Exit Boot Services"`},
		"UTF-16 version":       {eventlog.TypeSCRTMVersion, utf16le("v1 ä\x00"), `text "v1 ä"`},
		"command line":         {eventlog.TypeIPL, []byte("kernel_cmdline: /vmlinuz ro quiet\x00"), `kernel command line "/vmlinuz ro quiet"`},
		"command line, old":    {eventlog.TypeIPL, []byte("grub_kernel_cmdline /vmlinuz ro\x00"), `kernel command line "/vmlinuz ro"`},
		"GRUB command":         {eventlog.TypeIPL, []byte("grub_cmd: linux /x\x00"), `GRUB command "linux /x"`},
		"UTF-16 command line":  {eventlog.TypeIPL, utf16le("root=/dev/vda1\x00"), `text "root=/dev/vda1"`},
		"load options":         {eventlog.TypeEventTag, slices.Concat(u32(0x8F3B22ED), u32(5), []byte("quiet")), `tag Linux load options (kernel command line)|text "quiet"`},
		"other tag":            {eventlog.TypeEventTag, slices.Concat(u32(1), u32(1), []byte{0xFE}), "tag 0x00000001|data fe"},
		"SecureBoot":           {eventlog.TypeEFIVariableConfig, variable(global, "SecureBoot", []byte{1}), `variable "SecureBoot"|of EFI_GLOBAL_VARIABLE|value on`},
		"BootOrder":            {eventlog.TypeEFIVariableBoot, variable(global, "BootOrder", []byte{1, 0, 0x0A, 0}), `variable "BootOrder"|of EFI_GLOBAL_VARIABLE|order 0001 000A`},
		"boot entry":           {eventlog.TypeEFIVariableBoot, variable(global, "Boot0001", slices.Concat(u32(1), u16(len(path)), utf16le("Linux\x00"), path)), `variable "Boot0001"|of EFI_GLOBAL_VARIABLE|entry "Linux"|path PciRoot(0)/Pci(3,2)/HD(1,` + guidText + `)/"\\EFI\\x.efi"/Path(9,9)`},
		"signatures":           {eventlog.TypeEFIVariableConfig, variable(guid16(), "dbx", sigList), `variable "dbx"|of ` + guidText + `|other signatures 2`},
		"signatures, a head":   {eventlog.TypeEFIVariableConfig, variable(guid16(), "dbx", sigs(24, 48, 24)), `variable "dbx"|of ` + guidText + `|other signatures 2`},
		"signature too small":  {eventlog.TypeEFIVariableConfig, variable(guid16(), "dbx", sigs(0, 16, 16)), `variable "dbx"|of ` + guidText + `|value ` + hexOf(sigs(0, 16, 16))},
		"signatures cut":       {eventlog.TypeEFIVariableConfig, variable(guid16(), "dbx", sigs(0, 20, 24)), `variable "dbx"|of ` + guidText + `|value ` + hexOf(sigs(0, 20, 24))},
		"signatures cut, head": {eventlog.TypeEFIVariableConfig, variable(guid16(), "dbx", sigs(8, 20, 24)), `variable "dbx"|of ` + guidText + `|value ` + hexOf(sigs(8, 20, 24))},
		"list shorter than its head": {
			eventlog.TypeEFIVariableConfig, variable(guid16(), "dbx", slices.Concat(guid16(), u32(28), u32(8), u32(24), make([]byte, 8))),
			`variable "dbx"|of ` + guidText + `|value ` + hexOf(slices.Concat(guid16(), u32(28), u32(8), u32(24), make([]byte, 8))),
		},
		"boot entry without the end of its name": {
			eventlog.TypeEFIVariableBoot, variable(global, "Boot0001", slices.Concat(u32(1), u16(0), utf16le("xy"))),
			`variable "Boot0001"|of EFI_GLOBAL_VARIABLE|value 01000000000078007900`,
		},
		"boot entry cut in a character": {
			eventlog.TypeEFIVariableBoot, variable(global, "Boot0001", slices.Concat(u32(1), u16(0), utf16le("xy")[:3])),
			`variable "Boot0001"|of EFI_GLOBAL_VARIABLE|value 010000000000780079`,
		},
		"64 boot entries":              {eventlog.TypeEFIVariableBoot, variable(global, "BootOrder", make([]byte, 128)), `variable "BootOrder"|of EFI_GLOBAL_VARIABLE|order 0000` + strings.Repeat(" 0000", 63)},
		"65 boot entries":              {eventlog.TypeEFIVariableBoot, variable(global, "BootOrder", make([]byte, 130)), `variable "BootOrder"|of EFI_GLOBAL_VARIABLE|value ` + hexOf(make([]byte, 130))},
		"PCIe root":                    {eventlog.TypeEFIBootServicesApp, image(node(2, 1, 0xD0, 0x41, 0x08, 0x0A, 7, 0, 0, 0)), "image PciRoot(7)|size 77"},
		"another ACPI node":            {eventlog.TypeEFIBootServicesApp, image(node(2, 1, 0xD0, 0x41, 0x09, 0x0A, 7, 0, 0, 0)), "image Acpi(0x0a0941d0,7)|size 77"},
		"path of 65 nodes":             {eventlog.TypeEFIBootServicesApp, image(bytes.Repeat(node(9, 9), 65)), "image Path(9,9)" + strings.Repeat("/Path(9,9)", 63) + "|size 77"},
		"two partitions":               {eventlog.TypeEFIGPT, disk(2), "disk " + guidText + "|partitions 2" + strings.Repeat("|partition "+guidText+` "EFI"`, 2)},
		"1024 partitions":              {eventlog.TypeEFIGPT, disk(1024), "disk " + guidText + "|partitions 1024" + strings.Repeat("|partition "+guidText+` "EFI"`, 64)},
		"1025 partitions":              {eventlog.TypeEFIGPT, disk(1025), "data " + hexOf(disk(1025))},
		"64 tables":                    {eventlog.TypeEFIHandoffTables, tables(64), "table " + guidText + strings.Repeat("|table "+guidText, 63)},
		"65 tables":                    {eventlog.TypeEFIHandoffTables, tables(65), "data " + hexOf(tables(65))},
		"64 bytes":                     {0xABC, bytes.Repeat([]byte{1}, 64), "data " + strings.Repeat("01", 64)},
		"4096 characters":              {eventlog.TypeEFIAction, []byte(long), `text "` + long + `"`},
		"4097 characters":              {eventlog.TypeEFIAction, []byte(long + "a"), `text "` + long + `" and more`},
		"cut in a character":           {eventlog.TypeEFIAction, []byte(long[1:] + "é"), `text "` + long[1:] + `" and more`},
		"no character where it is cut": {eventlog.TypeEFIAction, append([]byte(long[5:]), bytes.Repeat([]byte{0xFF}, 9)...), "data " + strings.Repeat("61", 64) + "... (4100 bytes)"},
		"2048 characters of UTF-16":    {eventlog.TypeSCRTMVersion, utf16le(wide), `text "` + wide + `"`},
		"2049 characters of UTF-16":    {eventlog.TypeSCRTMVersion, utf16le(wide + "a"), `text "` + wide + `" and more`},
		"half of it ASCII":             {eventlog.TypeSCRTMVersion, utf16le("ab漢字"), `text "ab漢字"`},
		"less than half of it ASCII":   {eventlog.TypeSCRTMVersion, utf16le("a漢字"), "data 6100226f575b"},
		"empty variable":               {eventlog.TypeEFIVariableConfig, variable(guid16(), "x", nil), `variable "x"|of ` + guidText + `|value empty`},
		"authority":                    {eventlog.TypeEFIVariableAuthority, variable(guid16(), "db", []byte{0xFE}), `variable "db"|of ` + guidText + `|value fe`},
		"huge variable name":           {eventlog.TypeEFIVariableConfig, slices.Concat(guid16(), bytes.Repeat([]byte{0xFF}, 16)), "data ccddeeffaabb88997766554433221100ffffffffffffffffffffffffffffffff"},
		"image":                        {eventlog.TypeEFIBootServicesApp, slices.Concat(u64(4096), u64(77), u64(0), u64(len(path)), path, make([]byte, 8)), `image PciRoot(0)/Pci(3,2)/HD(1,` + guidText + `)/"\\EFI\\x.efi"/Path(9,9)|size 77`},
		"image without a path":         {eventlog.TypeEFIBootServicesApp, slices.Concat(u64(4096), u64(77), u64(0), u64(0)), "image no path|size 77"},
		"path of no length":            {eventlog.TypeEFIBootServicesApp, slices.Concat(u64(0), u64(77), u64(0), u64(4), []byte{1, 1, 0, 0}), "image unreadable path 01010000|size 77"},
		"partitions":                   {eventlog.TypeEFIGPT, gpt, "disk " + guidText + "|partitions 1|partition " + guidText + ` "EFI"`},
		"firmware":                     {eventlog.TypeEFIFirmwareBlob, slices.Concat(u64(0xFF000000), u64(4096)), "firmware 4096 bytes at 0xff000000"},
		"named firmware":               {eventlog.TypeEFIFirmwareBlob2, slices.Concat([]byte{3}, []byte("BIO"), u64(0xFF000000), u64(4096)), `firmware 4096 bytes at 0xff000000|name "BIO"`},
		"tables":                       {eventlog.TypeEFIHandoffTables, slices.Concat(u64(1), guid16(), u64(0)), "table " + guidText},
		"named tables":                 {eventlog.TypeEFIHandoffTables2, slices.Concat([]byte{1}, []byte("x"), u64(1), guid16(), u64(0)), `name "x"|table ` + guidText},
		"unknown":                      {0xABC, []byte{1, 2}, "data 0102"},
		"unknown and long":             {0xABC, bytes.Repeat([]byte{1}, 65), "data " + strings.Repeat("01", 64) + "... (65 bytes)"},
		"nothing":                      {0xABC, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pcr := uint32(0)
			if tc.typ == eventlog.TypePCRMapping {
				pcr = 0xFF
			}
			e := event(t, rec{pcr, uint32(tc.typ), []dig{{s256, bytes.Repeat([]byte{0x11}, 32)}}, tc.data})
			var got []string
			for _, d := range e.Details() {
				got = append(got, d.Name+" "+d.Value)
			}
			if diff := cmp.Diff(tc.want, strings.Join(got, "|")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// hexOf is how data that says nothing else is shown.
func hexOf(b []byte) string {
	if len(b) <= 64 {
		return hex.EncodeToString(b)
	}

	return fmt.Sprintf("%x... (%d bytes)", b[:64], len(b))
}

func TestDescribePutsTheMeaningFirst(t *testing.T) {
	t.Parallel()
	for want, r := range map[string]rec{
		"launch control policy: policy control 0x00000002": hashed(17, eventlog.TypeLCPControlHash, u32(2), s256),
		"measured by tboot": filled(17, eventlog.TypeTbootMeasurement, 1, s256),
		`text "hello"`:      hashed(4, eventlog.TypeEFIAction, []byte("hello"), s256),
		"EV_POST_CODE":      filled(4, eventlog.TypePostCode, 1, s256),
	} {
		if got := event(t, r).Describe(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestWhatALogSaysCannotActOnATerminal(t *testing.T) {
	t.Parallel()
	for _, hostile := range []string{"\x1b[2J\x1b]0;trusted\x07", "ok\r\nverdict: trusted", "\u202Edetsurt", "\u2028", "\x9b31m", "a\x00b", strings.Repeat("\x1b", 1<<16), "\xff\xfe"} {
		for _, typ := range []eventlog.EventType{eventlog.TypeIPL, eventlog.TypeEFIAction, eventlog.TypeSlaunch, eventlog.TypeNoAction} {
			safe(t, event(t, rec{4, uint32(typ), filled(0, 0, 1, s256).digests, []byte(hostile)}))
		}
		safe(t, event(t, rec{1, uint32(eventlog.TypeEFIVariableBoot), filled(0, 0, 1, s256).digests, variable(guid16(), hostile, []byte(hostile))}))
	}
}

// safe demands that what is said of an event is one printable line of bounded length.
func safe(t testing.TB, e *eventlog.Event) {
	t.Helper()
	line := e.Describe()
	if i := strings.IndexFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
		t.Errorf("%s: %q is not printable", e.Type, line[i:])
	}
	if len(line) > 1<<20 {
		t.Errorf("%s: %d bytes for %d", e.Type, len(line), len(e.Data))
	}
}

func TestLabelsNameTbootsMeasurementsByPosition(t *testing.T) {
	t.Parallel()
	recs := append(launch(bothBanks...), filled(17, 0x501, 2, s256), filled(19, 0x501, 3, s256), filled(22, 0x501, 3, s256),
		rec{17, uint32(eventlog.TypeSlaunch), filled(0, 0, 1, s256).digests, []byte("Measured initrd")}, filled(0, 0xABC, 1, s256))
	got := parse(t, agile(bothBanks, recs...)).Labels()
	want := []string{
		"SINIT ACM", "how SINIT maps its measurements to PCRs", "launch control policy", "MLE (tboot or kernel)", "launch control policy",
		"tboot policy", "tboot policy", "tboot module 0 (kernel or hypervisor)", "tboot module 1 (initrd, or a hypervisor's kernel)", "tboot module 2", "measured by tboot",
		`"Measured initrd"`, "0x00000abc",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// FuzzDescribe: whatever an event holds, what is said of it is short and safe to print.
func FuzzDescribe(f *testing.F) {
	for _, raw := range logSeeds() {
		for i, e := range parse(f, raw).Events {
			f.Add(uint32(e.Type), e.Data, i%2 == 0)
		}
	}
	f.Add(uint32(eventlog.TypeEFIVariableBoot), variable(guid16(), "Boot0001", slices.Concat(u32(1), u16(4), utf16le("x\x00"), node(0x7F, 0xFF))), true)
	for _, folder := range []string{"txt", "srtm"} {
		for _, raw := range realSeeds(f, folder) {
			n, err := eventlog.Trim(raw)
			if err != nil {
				continue
			}
			for _, e := range parse(f, raw[:n]).Events {
				f.Add(uint32(e.Type), e.Data, true)
			}
		}
	}
	f.Fuzz(func(t *testing.T, typ uint32, data []byte, extended bool) {
		r := rec{0, typ, []dig{{s256, make([]byte, 32)}}, data}
		if typ == uint32(eventlog.TypePCRMapping) {
			r.pcr = 0xFF
		}
		if extended {
			r.digests[0].sum = sum(s256, data)
		}
		l, err := eventlog.Parse(agile(bothBanks, r))
		if err != nil {
			return
		}
		safe(t, &l.Events[0])
		for _, label := range l.Labels() {
			if strings.ContainsFunc(label, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("label %q", label)
			}
		}
		l.Events[0].CheckData(s256)
	})
}
