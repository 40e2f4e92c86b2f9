package cel

import (
	"encoding/binary"
	"fmt"

	"github.com/trustpool/trustpool/verifier/eventlog"
)

// Types of CEL-TLV (CEL 5.1).
const (
	tlvRecNum   = 0
	tlvPCR      = 1
	tlvDigests  = 3
	tlvPCClient = 5 // the content

	// In the content of pcclient_std.
	tlvEventType = 0
	tlvEventData = 1
)

// encodeTLV writes integers as others do who read no other length: eight bytes for the number of a record, one for a PCR, four for an event's type.
func encodeTLV(log *eventlog.Log) ([]byte, error) {
	var out []byte
	err := each(log, func(r *record) error {
		out = appendTLV(out, tlvRecNum, binary.BigEndian.AppendUint64(nil, r.num))
		out = appendTLV(out, tlvPCR, pcrValue(r.pcr))
		var digests []byte
		for _, d := range r.digests {
			if d.alg > 0xFF {
				return fmt.Errorf("the number of algorithm %s does not fit into one byte", d.alg)
			}
			digests = appendTLV(digests, byte(d.alg), d.value)
		}
		out = appendTLV(out, tlvDigests, digests)
		content := appendTLV(nil, tlvEventType, binary.BigEndian.AppendUint32(nil, uint32(r.typ)))
		out = appendTLV(out, tlvPCClient, appendTLV(content, tlvEventData, r.data))
		return nil
	})
	return out, err
}

// pcrValue needs four bytes only for the events of Windows that belong to no PCR.
func pcrValue(pcr uint32) []byte {
	if pcr <= 0xFF {
		return []byte{byte(pcr)}
	}
	return binary.BigEndian.AppendUint32(nil, pcr)
}

func appendTLV(b []byte, typ byte, value []byte) []byte {
	b = binary.BigEndian.AppendUint32(append(b, typ), uint32(len(value))) //nolint:gosec // a log has at most MaxLogSize
	return append(b, value...)
}

// eachTLV calls yield for every record of data. What it yields aliases data.
func eachTLV(data []byte, yield func(*record) error) error {
	for n := 0; len(data) > 0; n++ {
		var r record
		var err error
		if data, err = r.takeTLV(data); err == nil {
			err = yield(&r)
		}
		if err != nil {
			return fmt.Errorf("record %d: %w", n, err)
		}
	}
	return nil
}

// takeTLV takes a record off the head of data.
func (r *record) takeTLV(data []byte) (rest []byte, err error) {
	if r.num, data, err = takeUint(data, tlvRecNum, 8); err != nil {
		return nil, fmt.Errorf("its number: %w", err)
	}
	pcr, data, err := takeUint(data, tlvPCR, 4)
	if err != nil {
		return nil, fmt.Errorf("its PCR: %w", err)
	}
	r.pcr = uint32(pcr) //nolint:gosec // four bytes
	digests, data, err := takeTLV(data, tlvDigests)
	if err != nil {
		return nil, fmt.Errorf("its digests: %w", err)
	}
	if r.digests, err = splitDigests(digests); err != nil {
		return nil, fmt.Errorf("its digests: %w", err)
	}
	content, rest, err := takeTLV(data, tlvPCClient)
	if err != nil {
		return nil, fmt.Errorf("its content, pcclient_std: %w", err)
	}

	typ, content, err := takeUint(content, tlvEventType, 4)
	if err != nil {
		return nil, fmt.Errorf("the event's type: %w", err)
	}
	r.typ = eventlog.EventType(typ) //nolint:gosec // four bytes
	if r.data, content, err = takeTLV(content, tlvEventData); err != nil {
		return nil, fmt.Errorf("the event's data: %w", err)
	}
	if len(content) > 0 {
		return nil, fmt.Errorf("%d bytes follow the event's data", len(content))
	}
	return rest, nil
}

func splitDigests(data []byte) ([]digest, error) {
	var digests []digest
	for len(data) > 0 {
		if len(digests) == eventlog.MaxAlgs {
			return nil, fmt.Errorf("there are more than %d", eventlog.MaxAlgs)
		}
		value, rest, err := takeTLV(data, data[0])
		if err != nil {
			return nil, err
		}
		digests, data = append(digests, digest{eventlog.Alg(data[0]), value}), rest
	}
	return digests, nil
}

// takeUint takes an integer in network order, of one byte to most.
func takeUint(data []byte, typ byte, most int) (n uint64, rest []byte, err error) {
	value, rest, err := takeTLV(data, typ)
	if err != nil {
		return 0, nil, err
	}
	if len(value) < 1 || len(value) > most {
		return 0, nil, fmt.Errorf("it has %d bytes, and not 1 to %d", len(value), most)
	}
	for _, b := range value {
		n = n<<8 | uint64(b)
	}
	return n, rest, nil
}

// takeTLV takes the value of an entry of that type off the head of data.
func takeTLV(data []byte, typ byte) (value, rest []byte, err error) {
	const head = 1 + 4
	if len(data) < head {
		return nil, nil, fmt.Errorf("it breaks off, %d bytes are left", len(data))
	}
	if data[0] != typ {
		return nil, nil, fmt.Errorf("an entry of type %d stands where one of type %d is expected", data[0], typ)
	}
	size := int(binary.BigEndian.Uint32(data[1:])) // an int has 64 bits on what this is built for; on others it may be negative
	if size < 0 || size > len(data)-head {
		return nil, nil, fmt.Errorf("it has %d bytes, and %d are left", size, len(data)-head)
	}
	return data[head:][:size:size], data[head+size:], nil
}
