package eventlog

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Bounds that no log may exceed, whatever it declares.
const (
	// MaxLogSize is the longest input that Parse and Trim take, in bytes.
	MaxLogSize = 16 << 20

	// MaxDataSize bounds the data of one event, in bytes. TXT events stay below 200 bytes; firmware puts whole variables into its events,
	// and a revocation list (dbx) alone exceeds 64 KiB on machines that have all updates.
	MaxDataSize = 1 << 20

	// MaxAlgs bounds the banks of one log. TPMs have at most five.
	MaxAlgs = 8

	// typicalEvent is the length of a record from which Parse guesses how many there are: firmware's have 300 to 1300 bytes, SINIT's 90.
	typicalEvent = 256
)

// ErrEmpty is returned for a log area that holds no log: no bytes at all, or padding only. A machine that was
// not launched leaves its log area like that, so callers tell it from a malformed log.
var ErrEmpty = errors.New("the log is empty: no bytes, or padding only")

// Format is how a log's records are laid out.
type Format uint8

// The formats that Parse reads.
const (
	FormatUnknown Format = iota

	// FormatCryptoAgile has a Spec ID Event03 header and TCG_PCR_EVENT2 records with a digest per bank (PFP 9.2.2, 9.4.5.1).
	FormatCryptoAgile

	// FormatSHA1 has TCG_PCClientPCREvent records with one SHA-1 digest (PFP 9.2.1).
	FormatSHA1

	// FormatTXT is Intel's original TPM 2.0 log: one buffer per algorithm, with a FRMT ID EVENT00 header (MLE appendix E).
	// Its SHA-1 buffer has no header and reads as FormatSHA1.
	FormatTXT
)

// String names the format in lower case.
func (f Format) String() string {
	switch f {
	case FormatCryptoAgile:
		return "crypto-agile"
	case FormatSHA1:
		return "sha1"
	case FormatTXT:
		return "txt"
	default:
		return "unknown"
	}
}

// Log is a parsed log. Only Parse makes one.
type Log struct {
	Format Format
	Algs   []Alg   // the banks the header declares, in its order
	Spec   SpecID  // zero unless Format is FormatCryptoAgile
	Events []Event // without the header record

	file *file
}

// SpecID is what the header of a crypto-agile log says beside its algorithms (PFP 9.4.5.1, TCG_EfiSpecIDEvent).
// Nothing signs it.
type SpecID struct {
	PlatformClass uint32 // 0 client, 1 server; real TXT logs of servers say 0 too
	Major, Minor  uint8
	Errata        uint8
	UintnSize     uint8  // 1: UINTN has 32 bits, 2: 64 bits
	VendorInfo    []byte // aliases the input
}

// Parse reads a log that ends where raw ends; for a padded buffer find its end with [Trim] first. The result aliases raw. Errors name
// the record and its offset; a buffer without a log gives [ErrEmpty].
func Parse(raw []byte) (*Log, error) {
	l, first, err := parseHeader(raw)
	if err != nil {
		return nil, fmt.Errorf("parsing event log: %w", err)
	}
	l.Events = make([]Event, 0, len(raw)/typicalEvent+1)
	end, err := l.file.scan(first, &l.Events)
	if err != nil {
		return nil, fmt.Errorf("parsing event log: %w", err)
	}
	if end != len(raw) {
		return nil, fmt.Errorf("parsing event log: %d bytes of padding follow the last event at offset %d: cut them off with Trim", len(raw)-end, end)
	}

	return l, nil
}

// Trim finds where the log in a padded buffer ends and returns that offset: the padding behind it must be all
// zeros or all FF. Other bytes there are an error, as is a log that breaks off.
func Trim(raw []byte) (int, error) {
	l, first, err := parseHeader(raw)
	if err != nil {
		return 0, fmt.Errorf("finding the end of the event log: %w", err)
	}
	end, err := l.file.scan(first, nil)
	if err != nil {
		return 0, fmt.Errorf("finding the end of the event log: %w", err)
	}

	return end, nil
}

// headers is the number of records before the first event.
func (f Format) headers() int {
	if f == FormatSHA1 {
		return 0
	}

	return 1
}

// scan walks the records from off to the log's end. It appends them to events if that is not nil.
func (f *file) scan(off int, events *[]Event) (end int, err error) {
	var e Event
	for e.Num = f.format.headers(); off < len(f.raw); e.Num++ {
		padded, err := f.padding(f.raw[off:])
		if err != nil {
			return 0, fmt.Errorf("before event %d, at offset %d: %w", e.Num, off, err)
		}
		if padded {
			break
		}
		next, err := f.next(off, &e)
		if err != nil {
			return 0, fmt.Errorf("event %d at offset %d: %w", e.Num, off, err)
		}
		off = next
		if events != nil {
			*events = append(f.grow(*events, off), e)
		}
	}

	return off, nil
}

// grow makes room for one more event, never for more than the bytes from off can hold.
func (f *file) grow(events []Event, off int) []Event {
	if len(events) < cap(events) {
		return events
	}
	most := len(events) + 1 + (len(f.raw)-off)/f.empty

	return append(make([]Event, 0, min(2*cap(events), most)), events...)
}

// padding tells whether only padding is left in rest, which is not empty. A record cannot begin like padding: type FFFFFFFF
// has no PCR, and a record of zeros alone measures nothing into PCR 0.
func (f *file) padding(rest []byte) (bool, error) {
	pad, head := rest[0], f.empty
	if pad == 0xFF {
		head = 8
	}
	if pad != 0 && pad != 0xFF || !all(rest[:min(head, len(rest))], pad) {
		return false, nil
	}
	if !all(rest, pad) {
		return false, fmt.Errorf("padding of %02x begins, but other bytes follow", pad)
	}

	return true, nil
}

// all tells whether b holds nothing but c.
func all(b []byte, c byte) bool {
	for _, x := range b {
		if x != c {
			return false
		}
	}

	return true
}

// cut takes a field with its 32-bit length off the head of b.
func cut(b []byte, limit uint32) (field, rest []byte, err error) {
	if len(b) < 4 {
		return nil, nil, errBreaksOff()
	}
	n := le32(b)
	if n > limit || int(n) > len(b)-4 {
		return nil, nil, fmt.Errorf("%d bytes: %d are left, and %d are possible", n, len(b)-4, limit)
	}

	return b[4:][:n:n], b[4+n:], nil
}

func le16(b []byte) uint16 { return binary.LittleEndian.Uint16(b) }
func le32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }
