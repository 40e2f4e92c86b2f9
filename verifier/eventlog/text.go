package eventlog

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Bounds of what is shown of hostile data.
const (
	maxText  = 4096 // bytes of text; a kernel command line has at most 2048
	maxHex   = 64   // bytes in hex
	maxItems = 64   // entries of a list
)

// text quotes data that is text: UTF-8 or UTF-16, zeros at its end left off. Control characters, direction marks and the like
// come out escaped, so that nothing of it acts on a terminal.
func text(data []byte) (string, bool) {
	s := strings.TrimRight(string(data[:min(len(data), maxText+4)]), "\x00")
	if len(s) > maxText {
		for s = s[:maxText]; !utf8.ValidString(s) && len(s) > maxText-utf8.UTFMax; {
			s = s[:len(s)-1] // a character that the cut went through
		}
	}
	if readable(s) {
		return quote(s, len(data)), true
	}
	if len(data)%2 != 0 {
		return "", false
	}
	s = wide(data[:min(len(data), maxText)])

	return quote(s, len(data)), readable(s) && mostlyASCII(s)
}

// mostlyASCII tells UTF-16 text from numbers, nearly all of which are some character of UTF-16.
func mostlyASCII(s string) bool {
	ascii := 0
	for _, r := range s {
		if r < utf8.RuneSelf {
			ascii++
		}
	}

	return 2*ascii >= utf8.RuneCountInString(s)
}

// quote makes a string safe to print; size tells in how many bytes it stood before it was cut.
func quote(s string, size int) string {
	if size > maxText {
		return strconv.Quote(s) + " and more"
	}

	return strconv.Quote(s)
}

// wide decodes UTF-16LE, zeros at its end left off.
func wide(data []byte) string {
	units := make([]uint16, len(data)/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(data[2*i:])
	}

	return strings.TrimRight(string(utf16.Decode(units)), "\x00")
}

// readable tells text from other bytes.
func readable(s string) bool {
	if s == "" || !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if r == utf8.RuneError || !unicode.IsPrint(r) && !unicode.IsSpace(r) {
			return false
		}
	}

	return true
}

// hexa shows the head of data.
func hexa(data []byte) string {
	if len(data) > maxHex {
		return fmt.Sprintf("%x... (%d bytes)", data[:maxHex], len(data))
	}

	return hex.EncodeToString(data)
}

// guid formats an EFI_GUID (UEFI 2.10, appendix A): the first three fields are little-endian.
func guid(b []byte) string {
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x", le32(b), le16(b[4:]), le16(b[6:]), b[8:10], b[10:16])
}

// decoder takes fields off the head of hostile data. After the first field that is not there all others are zero and ok is false.
type decoder struct {
	rest []byte
	bad  bool
}

func (d *decoder) ok() bool { return !d.bad }

// take returns the next n bytes, or nil.
func (d *decoder) take(n uint64) []byte {
	if d.bad || n > uint64(len(d.rest)) {
		d.bad = true

		return nil
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]

	return b
}

func (d *decoder) u8() uint8   { return uint8(d.uint(1)) }  //nolint:gosec // one byte
func (d *decoder) u16() uint16 { return uint16(d.uint(2)) } //nolint:gosec // two bytes
func (d *decoder) u32() uint32 { return uint32(d.uint(4)) } //nolint:gosec // four bytes
func (d *decoder) u64() uint64 { return d.uint(8) }

func (d *decoder) uint(n int) (v uint64) {
	for i, b := range d.take(uint64(n)) { //nolint:gosec // 1 to 8
		v |= uint64(b) << (8 * i)
	}

	return v
}

// guid takes an EFI_GUID.
func (d *decoder) guid() string {
	b := d.take(16)
	if b == nil {
		return ""
	}

	return guid(b)
}
