package eventlog

import (
	"errors"
	"fmt"
)

// NumPCRs is the number of PCRs a PC platform has (PFP 3.3.4).
const NumPCRs = 24

// Indices that some events carry instead of a PCR.
const (
	mappingPCR = 0xFF
	noPCR      = 0xFFFFFFFF
)

// Event is one record. Only Parse makes one that has digests.
type Event struct {
	// Num is the record's position in the file, counted from 0. The header record of crypto-agile and original TXT logs
	// is 0, so their events begin at 1.
	Num int

	PCR  uint32 // 0 to 23; 0xFF for EVTYPE_PCR_MAPPING, 0xFFFFFFFF for some EV_NO_ACTION of Windows
	Type EventType
	Data []byte // aliases the input

	// Where the digests are in the file's bytes. Offsets, because pointers make a garbage collector's work on large logs.
	begin, end uint32
	file       *file
}

// Digest returns the digest for bank a, aliasing the input, and whether the event has one.
func (e *Event) Digest(a Alg) ([]byte, bool) {
	if e.file == nil {
		return nil, false
	}
	if e.file.format != FormatCryptoAgile {
		if a != e.file.algs[0].id {
			return nil, false
		}

		return e.list(), true
	}
	for i, rest := 0, e.list(); len(rest) > 0; i++ {
		id, size := e.file.digest(i, rest)
		if id == a {
			return rest[2:size:size], true
		}
		rest = rest[size:]
	}

	return nil, false
}

// Algs lists the banks for which the event has a digest, in the order of the file.
func (e *Event) Algs() []Alg {
	if e.file == nil {
		return nil
	}
	if e.file.format != FormatCryptoAgile {
		return []Alg{e.file.algs[0].id}
	}
	var algs []Alg
	for i, rest := 0, e.list(); len(rest) > 0; i++ {
		id, size := e.file.digest(i, rest)
		algs = append(algs, id)
		rest = rest[size:]
	}

	return algs
}

// list is the event's digests as they are in the file.
func (e *Event) list() []byte {
	if e.file == nil {
		return nil
	}

	return e.file.raw[e.begin:e.end:e.end]
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

// file is a log's bytes and what its header says about the shape of its records.
type file struct {
	raw    []byte
	format Format
	empty  int // length of a record of zeros: that many zeros are padding, and no record is shorter
	n      int // used entries of algs
	algs   [MaxAlgs]struct {
		id   Alg
		size int
	}
}

// add declares a bank of the log.
func (f *file) add(a Alg, size int) error {
	switch known := a.Size(); {
	case f.index(a) >= 0:
		return fmt.Errorf("algorithm %s is listed twice", a)
	case known != 0 && size != known:
		return fmt.Errorf("digests of %s have %d bytes, not %d", a, known, size)
	case size < AlgSHA1.Size() || size > maxDigest:
		return fmt.Errorf("digest size %d of algorithm %s is out of range", size, a)
	}
	f.algs[f.n].id, f.algs[f.n].size = a, size
	f.n++

	return nil
}

// index is a's position in the header, or -1.
func (f *file) index(a Alg) int {
	for i := range f.n {
		if f.algs[i].id == a {
			return i
		}
	}

	return -1
}

// digest tells the algorithm of the i-th entry of a list that next has checked, and the entry's length. list begins with it.
func (f *file) digest(i int, list []byte) (Alg, int) {
	a := Alg(le16(list))
	if f.algs[i].id != a { // The header's order is the usual one.
		i = f.index(a)
	}

	return a, 2 + f.algs[i].size
}

// next decodes the record at off into e, all but its Num, and returns the offset behind it.
func (f *file) next(off int, e *Event) (int, error) {
	rest := f.raw[off:]
	if len(rest) < f.empty {
		return 0, errBreaksOff()
	}
	e.PCR, e.Type, e.file = le32(rest), EventType(le32(rest[4:])), f
	if e.PCR >= NumPCRs && !e.noPCR() {
		return 0, fmt.Errorf("PCR index %d of type %s is out of range", e.PCR, e.Type)
	}

	begin, end := 8, 8+f.algs[0].size
	if f.format == FormatCryptoAgile {
		var err error
		begin = 12
		if end, err = f.digestList(rest); err != nil {
			return 0, err
		}
	}
	if len(rest)-end < 4 {
		return 0, errBreaksOff()
	}
	e.begin, e.end = uint32(off+begin), uint32(off+end) //nolint:gosec // a log has at most MaxLogSize
	if (e.Type == TypeSlaunchStart || e.Type == TypeSlaunchEnd) && !e.zeroDigests() {
		// The kernel logs its markers with zero digests and does not extend them; a digest there would hide from every replay.
		return 0, fmt.Errorf("marker %s has a digest", e.Type)
	}

	n := le32(rest[end:])
	begin = end + 4
	if n > MaxDataSize || int(n) > len(rest)-begin {
		return 0, fmt.Errorf("data of %d bytes: %d are left, and %d are possible", n, len(rest)-begin, MaxDataSize)
	}
	end = begin + int(n)
	e.Data = rest[begin:end:end]

	return off + end, nil
}

// noPCR tells whether the event may have a PCR index that is none: EVTYPE_PCR_MAPPING has 0xFF (MLE table E-6), and
// Windows' EV_NO_ACTION events have FFFFFFFF.
func (e *Event) noPCR() bool {
	return e.PCR == mappingPCR && e.Type == TypePCRMapping || e.PCR == noPCR && e.Type == TypeNoAction
}

// digestList checks the TPML_DIGEST_VALUES (TPM2 Part 2, 10.9.6, here little-endian) of a crypto-agile record and returns the
// offset behind it.
func (f *file) digestList(rest []byte) (int, error) {
	count := le32(rest[8:])
	if count < 1 || count > uint32(f.n) { //nolint:gosec // n is at most MaxAlgs
		return 0, fmt.Errorf("%d digests, but the header lists %d algorithms", count, f.n)
	}

	end, seen := 12, uint(0)
	for i := range int(count) {
		if len(rest)-end < 2 {
			return 0, errBreaksOff()
		}
		a := Alg(le16(rest[end:]))
		if f.algs[i].id != a { // The header's order is the usual one.
			i = f.index(a)
		}
		switch {
		case i < 0:
			return 0, fmt.Errorf("algorithm %s is not in the header", a)
		case seen&(1<<i) != 0:
			return 0, fmt.Errorf("two digests of %s", a)
		}
		seen |= 1 << i
		if end += 2 + f.algs[i].size; end > len(rest) {
			return 0, errBreaksOff()
		}
	}

	return end, nil
}

// zeroDigests tells whether all digests of e are zero.
func (e *Event) zeroDigests() bool {
	if e.file.format != FormatCryptoAgile {
		return all(e.list(), 0)
	}
	for i, rest := 0, e.list(); len(rest) > 0; i++ {
		_, size := e.file.digest(i, rest)
		if !all(rest[2:size], 0) {
			return false
		}
		rest = rest[size:]
	}

	return true
}

func errBreaksOff() error { return errors.New("the record breaks off") }
