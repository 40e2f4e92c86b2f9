// Package cel writes and reads event logs in TCG's canonical form, for consumers that ask for it: CEL-TLV and CEL-JSON (TCG Canonical Event Log Format, version 1.0, cited here as CEL).
//
// A record of that form holds what one record of a log holds: the PCR, a digest for each bank, and as its content (pcclient_std, CEL table 2) the event's type and data. The header of a
// log becomes the first record, so that nothing is lost: [Decode] gives back the very log that [Encode] was given, byte by byte.
//
// What the canonical form proves is what the log proves: see package eventlog. The number of a record (recnum) is bound by nothing.
//
// Content of other kinds (CEL management, IMA, systemd) and NV indices are refused, since no firmware log has them.
package cel

import (
	"bytes"
	"fmt"

	"github.com/trustpool/trustpool/verifier/eventlog"
)

// MaxSize bounds a log in canonical form, in bytes. One of eventlog.MaxLogSize may need more than that, if its events are many and small.
const MaxSize = 4 * eventlog.MaxLogSize

// Format is how the records are encoded.
type Format uint8

// The encodings. CEL-CBOR is not supported.
const (
	FormatUnknown Format = iota
	// FormatTLV is CEL-TLV (CEL 5.1): one byte of type, four of length in network order, value.
	FormatTLV
	// FormatJSON is CEL-JSON (CEL 5.3): an array of objects, with digests and data in hexadecimal digits.
	FormatJSON
)

// String gives "cel-tlv" or "cel-json".
func (f Format) String() string {
	switch f {
	case FormatTLV:
		return "cel-tlv"
	case FormatJSON:
		return "cel-json"
	default:
		return "unknown"
	}
}

// ParseFormat reads what [Format.String] gives.
func ParseFormat(s string) (Format, error) {
	for _, f := range []Format{FormatTLV, FormatJSON} {
		if f.String() == s {
			return f, nil
		}
	}
	return FormatUnknown, fmt.Errorf("unknown form %q of a log: write cel-json or cel-tlv", s)
}

// Detect tells by its first bytes in which form data is; FormatUnknown if in neither, as all logs of firmware are.
func Detect(data []byte) Format {
	if text := bytes.TrimLeft(data[:min(len(data), 64)], " \t\r\n"); len(text) > 0 && text[0] == '[' {
		return FormatJSON
	}
	// A log of firmware that begins so has a first digest that begins with nine bytes of the record's number and the PCR's tag.
	num, rest, err := takeTLV(data, tlvRecNum)
	if err == nil && len(num) > 0 && len(num) <= 8 && len(rest) > 0 && rest[0] == tlvPCR {
		return FormatTLV
	}
	return FormatUnknown
}

// Encode writes a log in canonical form. Each PCR's records are numbered from 0 (CEL 4.2.2), the header of the log among them.
func Encode(log *eventlog.Log, f Format) ([]byte, error) {
	var out []byte
	var err error
	switch f {
	case FormatTLV:
		out, err = encodeTLV(log)
	case FormatJSON:
		out, err = encodeJSON(log)
	default:
		err = fmt.Errorf("form %d is none", f)
	}
	if err == nil && len(out) > MaxSize {
		err = fmt.Errorf("it needs %d bytes, more than %d", len(out), MaxSize)
	}
	if err != nil {
		return nil, fmt.Errorf("writing the log as %s: %w", f, err)
	}
	return out, nil
}

// Decode reads a log in either form; [eventlog.Log.Bytes] of what it returns is the log as firmware would have written it. Every record has to have its place in that log: what does not come
// out of it again is an error. The numbers of a PCR's records have to rise, from wherever.
func Decode(data []byte) (*eventlog.Log, error) {
	f := Detect(data)
	log, err := decode(data, f)
	if err != nil {
		return nil, fmt.Errorf("reading the log as %s: %w", f, err)
	}
	return log, nil
}

func decode(data []byte, f Format) (*eventlog.Log, error) {
	var each func([]byte, func(*record) error) error
	switch f {
	case FormatTLV:
		each = eachTLV
	case FormatJSON:
		each = eachJSON
	default:
		return nil, fmt.Errorf("it is neither %s nor %s", FormatTLV, FormatJSON)
	}
	if len(data) > MaxSize {
		return nil, fmt.Errorf("%d bytes, more than %d", len(data), MaxSize)
	}

	var b builder
	if err := each(data, b.add); err != nil {
		return nil, err
	}
	log, err := eventlog.Parse(b.raw)
	if err != nil {
		return nil, err
	}
	c := comparer{rest: log.Events, header: headerOf(log)}
	if err := each(data, c.compare); err != nil {
		return nil, err
	}
	return log, nil
}
