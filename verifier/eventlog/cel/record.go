package cel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/trustpool/trustpool/verifier/eventlog"
)

// record is one record, in whichever form.
type record struct {
	num     uint64
	pcr     uint32
	digests []digest
	typ     eventlog.EventType
	data    []byte
}

type digest struct {
	alg   eventlog.Alg
	value []byte
}

// Signatures that begin the data of a header record (PFP 9.4.5.1; MLE appendix E).
const (
	signatureAgile = "Spec ID Event03\x00"
	signatureTXT   = "FRMT ID EVENT00\x00"
)

// legacyHead is what stands before the data of a header record: PCR, type, SHA-1 digest, length (PFP 9.2.1).
const legacyHead = 4 + 4 + 20 + 4

// headerOf returns the header of a log as a record, nil if its format has none.
func headerOf(log *eventlog.Log) *record {
	if log.Format == eventlog.FormatSHA1 {
		return nil
	}
	raw := log.Bytes()
	size := binary.LittleEndian.Uint32(raw[legacyHead-4:])
	return &record{
		typ: eventlog.TypeNoAction, data: raw[legacyHead:][:size],
		digests: []digest{{eventlog.AlgSHA1, make([]byte, eventlog.AlgSHA1.Size())}},
	}
}

// isHeader tells whether the first record of a log is its header.
func (r *record) isHeader() bool {
	return r.pcr == 0 && r.typ == eventlog.TypeNoAction && (bytes.HasPrefix(r.data, []byte(signatureAgile)) || bytes.HasPrefix(r.data, []byte(signatureTXT)))
}

// each calls yield for every record of a log, with the numbers that they get.
func each(log *eventlog.Log, yield func(*record) error) error {
	next := make(map[uint32]uint64)
	number := func(r *record) error {
		r.num = next[r.pcr]
		next[r.pcr]++
		return yield(r)
	}
	if header := headerOf(log); header != nil {
		if err := number(header); err != nil {
			return err
		}
	}
	for i := range log.Events {
		e := &log.Events[i]
		r := record{pcr: e.PCR, typ: e.Type, data: e.Data}
		for _, alg := range e.Algs() {
			value, _ := e.Digest(alg)
			r.digests = append(r.digests, digest{alg, value})
		}
		if err := number(&r); err != nil {
			return fmt.Errorf("event %d: %w", e.Num, err)
		}
	}
	return nil
}

// builder makes a log of firmware's own form out of records.
type builder struct {
	raw    []byte
	begun  bool
	agile  bool
	latest map[uint32]uint64
}

func (b *builder) add(r *record) error {
	if !b.begun {
		b.begun, b.agile, b.latest = true, bytes.HasPrefix(r.data, []byte(signatureAgile)) && r.isHeader(), make(map[uint32]uint64)
		b.append(r, r.isHeader() || !b.agile)
	} else {
		b.append(r, !b.agile)
	}
	if latest, more := b.latest[r.pcr]; more && r.num <= latest {
		return fmt.Errorf("its number is %d, and the one before it for PCR %d has %d: they have to rise", r.num, r.pcr, latest)
	}
	b.latest[r.pcr] = r.num
	if len(b.raw) > eventlog.MaxLogSize {
		return fmt.Errorf("the log has more than %d bytes", eventlog.MaxLogSize)
	}
	return nil
}

// append writes a record: TCG_PCR_EVENT2 (PFP 9.2.2), or as plain one of a log with one digest per event.
func (b *builder) append(r *record, plain bool) {
	b.raw = binary.LittleEndian.AppendUint32(b.raw, r.pcr)
	b.raw = binary.LittleEndian.AppendUint32(b.raw, uint32(r.typ))
	if !plain {
		b.raw = binary.LittleEndian.AppendUint32(b.raw, uint32(len(r.digests))) //nolint:gosec // at most eventlog.MaxAlgs
	}
	for _, d := range r.digests {
		if !plain {
			b.raw = binary.LittleEndian.AppendUint16(b.raw, uint16(d.alg))
		}
		b.raw = append(b.raw, d.value...)
	}
	b.raw = binary.LittleEndian.AppendUint32(b.raw, uint32(len(r.data))) //nolint:gosec // at most MaxSize
	b.raw = append(b.raw, r.data...)
}

// comparer looks whether the log that was built has the records that it was built of: a digest of the wrong length, or too many of them, would move all that follows.
type comparer struct {
	header *record
	rest   []eventlog.Event
}

var errNotSame = errors.New("its digests are not those that the log's header announces")

func (c *comparer) compare(r *record) error {
	if c.header != nil {
		same := r.pcr == 0 && r.typ == c.header.typ && bytes.Equal(r.data, c.header.data) && slices.EqualFunc(r.digests, c.header.digests, sameDigest)
		c.header = nil
		if !same {
			return errors.New("it is no header as logs have it: PCR 0 and one SHA-1 digest of zeros")
		}
		return nil
	}
	if len(c.rest) == 0 {
		return errNotSame
	}
	e := &c.rest[0]
	c.rest = c.rest[1:]
	if r.pcr != e.PCR || r.typ != e.Type || !bytes.Equal(r.data, e.Data) || len(r.digests) != len(e.Algs()) {
		return errNotSame
	}
	for _, d := range r.digests {
		if value, ok := e.Digest(d.alg); !ok || !bytes.Equal(value, d.value) {
			return errNotSame
		}
	}
	return nil
}

func sameDigest(a, b digest) bool { return a.alg == b.alg && bytes.Equal(a.value, b.value) }
