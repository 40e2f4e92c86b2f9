package eventlog

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // the list's digests are SHA-1, whatever the bank
	"encoding/binary"
	"fmt"
	"slices"
)

// Replay computes what PCR pcr of bank a holds after the first n records of the list (all of them if n is negative). Events of other PCRs are
// passed over. A list grows while the machine runs, so a quote made before the list was read equals the
// replay of a prefix.
//
// The SHA-1 bank is extended with a record's own digest, which must be that of its data; the other banks with the bank's hash of
// the data, as Linux does since 5.8.
//
// BUG: Linux before 5.8 extended the other banks with the SHA-1 digest and zeros behind it. Such a PCR does not replay here.
func (l *IMALog) Replay(a Alg, pcr, n int) (PCR, error) {
	if a.Hash() == 0 || pcr < 0 || pcr >= NumPCRs {
		return PCR{}, fmt.Errorf("replaying IMA list: no PCR %d of bank %s", pcr, a)
	}
	if n < 0 {
		n = len(l.Events)
	}
	p := PCR{Value: make([]byte, a.Size())}
	digest := make([]byte, 0, maxDigest)
	h := a.Hash().New()
	for i := range l.Events[:min(n, len(l.Events))] {
		e := &l.Events[i]
		if int(e.PCR) != pcr {
			continue
		}
		p.Events++
		switch {
		case e.Violation():
			digest = bytes.Repeat([]byte{imaViolation}, a.Size())
		case !e.dataMatches():
			p.Value, p.Err = nil, fmt.Errorf("replaying %s PCR %d: IMA record %d: its digest is not that of its data", a, pcr, e.Num)

			return p, nil
		default:
			h.Reset()
			h.Write(e.Data)
			digest = h.Sum(digest[:0])
		}
		extend(a, p.Value, digest)
	}

	return p, nil
}

// dataMatches tells whether the record's digest is the SHA-1 of its data (IMA-templates.rst: of all fields with their lengths).
func (e *IMAEvent) dataMatches() bool {
	sum := sha1.Sum(e.Data) //nolint:gosec // see the import

	return bytes.Equal(sum[:], e.Template)
}

// Bytes encodes the list: ParseIMA, then Bytes gives the parsed bytes back.
func (l *IMALog) Bytes() []byte {
	var b []byte
	for i := range l.Events {
		e := &l.Events[i]
		b = put32(b, int(e.PCR))
		b = append(b, e.Template...)
		b = appendField(b, []byte(e.Name))
		b = appendField(b, e.data())
	}

	return b
}

// data encodes the template's fields.
func (e *IMAEvent) data() []byte {
	b := appendField(nil, slices.Concat(e.FileAlg, []byte(":\x00"), e.FileDigest))
	b = appendField(b, append(bytes.Clone(e.Path), 0))
	if e.Name == "ima-sig" {
		b = appendField(b, e.Signature)
	}

	return b
}

func appendField(b, field []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(field))) //nolint:gosec // bounded by MaxDataSize

	return append(b, field...)
}
