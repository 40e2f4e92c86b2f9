package eventlog

import (
	"errors"
	"fmt"
)

// NumPCRs is the number of PCRs a PC platform has (PFP 3.3.4).
const NumPCRs = 24

// mappingPCR is the index that EVTYPE_PCR_MAPPING carries instead of a PCR (MLE table E-6).
const mappingPCR = 0xFF

// Event is one record. Only Parse makes one that has digests.
type Event struct {
	// Num is the record's position in the file, counted from 0. The header record of crypto-agile and original TXT logs
	// is 0, so their events begin at 1.
	Num int

	PCR  uint32 // 0 to 23, or 0xFF for EVTYPE_PCR_MAPPING
	Type EventType
	Data []byte // aliases the input

	digests []byte // as in the file; aliases the input
	layout  *layout
}

// Digest returns the digest for bank a, aliasing the input, and whether the event has one.
func (e *Event) Digest(a Alg) ([]byte, bool) {
	if e.layout == nil {
		return nil, false
	}
	if e.layout.format != FormatCryptoAgile {
		return e.digests, a == e.layout.algs[0].id
	}
	for rest := e.digests; len(rest) > 0; {
		id, size := e.layout.digest(rest)
		if id == a {
			return rest[2:][:size:size], true
		}
		rest = rest[2+size:]
	}

	return nil, false
}

// Algs lists the banks for which the event has a digest, in the order of the file.
func (e *Event) Algs() []Alg {
	if e.layout == nil {
		return nil
	}
	if e.layout.format != FormatCryptoAgile {
		return []Alg{e.layout.algs[0].id}
	}
	var algs []Alg
	for rest := e.digests; len(rest) > 0; {
		id, size := e.layout.digest(rest)
		algs = append(algs, id)
		rest = rest[2+size:]
	}

	return algs
}

// Extended tells whether the event's digest was extended into its PCR. EV_NO_ACTION (PFP 9.4.5), EVTYPE_PCR_MAPPING (MLE table E-6) and
// the markers around Secure Launch's events only inform.
func (e *Event) Extended() bool {
	switch e.Type {
	case TypeNoAction, TypePCRMapping, TypeSlaunchStart, TypeSlaunchEnd:
		return false
	default:
		return true
	}
}

// layout is what a log's header says about the shape of its records.
type layout struct {
	format Format
	empty  int // length of a record of zeros: that many zeros are padding
	n      int // used entries of algs
	algs   [MaxAlgs]struct {
		id   Alg
		size int
	}
}

// add declares a bank of the log.
func (y *layout) add(a Alg, size int) error {
	switch known := a.Size(); {
	case y.index(a) >= 0:
		return fmt.Errorf("algorithm %s is listed twice", a)
	case known != 0 && size != known:
		return fmt.Errorf("digests of %s have %d bytes, not %d", a, known, size)
	case size < 1 || size > maxDigest:
		return fmt.Errorf("digest size %d of algorithm %s is out of range", size, a)
	}
	y.algs[y.n].id, y.algs[y.n].size = a, size
	y.n++

	return nil
}

// index is a's position in the header, or -1.
func (y *layout) index(a Alg) int {
	for i := range y.n {
		if y.algs[i].id == a {
			return i
		}
	}

	return -1
}

// digest tells algorithm and digest size at the head of a list that next has checked.
func (y *layout) digest(list []byte) (Alg, int) {
	a := Alg(le16(list))

	return a, y.algs[y.index(a)].size
}

// next decodes the record at off into e, all but its Num, and returns the offset behind it.
func (y *layout) next(raw []byte, off int, e *Event) (int, error) {
	rest := raw[off:]
	if len(rest) < 8 {
		return 0, errBreaksOff()
	}
	e.PCR, e.Type, e.layout = le32(rest), EventType(le32(rest[4:])), y
	if e.PCR >= NumPCRs && (e.PCR != mappingPCR || e.Type != TypePCRMapping) {
		return 0, fmt.Errorf("PCR index %d of type %s is out of range", e.PCR, e.Type)
	}

	digests, size := 8, y.algs[0].size
	if y.format == FormatCryptoAgile {
		var err error
		digests = 12
		if size, err = y.digestList(rest[8:]); err != nil {
			return 0, err
		}
	}
	data := digests + size + 4
	if len(rest) < data {
		return 0, errBreaksOff()
	}
	e.digests = rest[digests:][:size:size]
	if (e.Type == TypeSlaunchStart || e.Type == TypeSlaunchEnd) && !e.zeroDigests() {
		// The kernel logs its markers with zero digests and does not extend them; a digest there would hide from every replay.
		return 0, fmt.Errorf("marker %s has a digest", e.Type)
	}

	n := le32(rest[data-4:])
	if n > MaxDataSize || uint64(n) > uint64(len(rest)-data) {
		return 0, fmt.Errorf("data of %d bytes: %d are left, and %d are possible", n, len(rest)-data, MaxDataSize)
	}
	e.Data = rest[data:][:n:n]

	return off + data + int(n), nil
}

// digestList checks a TPML_DIGEST_VALUES (TPM2 Part 2, 10.9.6, here little-endian) and returns its length without the count.
func (y *layout) digestList(rest []byte) (int, error) {
	if len(rest) < 4 {
		return 0, errBreaksOff()
	}
	count := le32(rest)
	if count < 1 || count > uint32(y.n) {
		return 0, fmt.Errorf("%d digests, but the header lists %d algorithms", count, y.n)
	}
	rest = rest[4:]

	size, seen := 0, uint(0)
	for range count {
		if len(rest)-size < 2 {
			return 0, errBreaksOff()
		}
		i := y.index(Alg(le16(rest[size:])))
		if i < 0 {
			return 0, fmt.Errorf("algorithm %s is not in the header", Alg(le16(rest[size:])))
		}
		if seen&(1<<i) != 0 {
			return 0, fmt.Errorf("two digests of %s", y.algs[i].id)
		}
		seen |= 1 << i
		size += 2 + y.algs[i].size
		if len(rest) < size {
			return 0, errBreaksOff()
		}
	}

	return size, nil
}

// zeroDigests tells whether all digests of e are zero.
func (e *Event) zeroDigests() bool {
	if e.layout.format != FormatCryptoAgile {
		return all(e.digests, 0)
	}
	for rest := e.digests; len(rest) > 0; {
		_, size := e.layout.digest(rest)
		if !all(rest[2:2+size], 0) {
			return false
		}
		rest = rest[2+size:]
	}

	return true
}

func errBreaksOff() error { return errors.New("the record breaks off") }
