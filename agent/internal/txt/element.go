package txt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// Layout of OsSinitData behind its size field, and of the elements in it (MLE C.4). Everything is packed and little-endian.
const (
	osSinitVersion  = 0  // u32
	osSinitElements = 92 // where the list of elements begins
	elementsSince   = 6  // the first version that has elements

	elementHead = 4 + 4 // u32 type, u32 size including these 8 bytes

	elementEnd      = 0
	elementLog12    = 5 // HEAP_EVENT_LOG_POINTER_ELEMENT: TPM 1.2
	elementLogs     = 7 // HEAP_EVENT_LOG_POINTER_ELEMENT2: TPM 2.0, one log an algorithm
	elementAgileLog = 8 // HEAP_EVENT_LOG_POINTER_ELEMENT2_1: TPM 2.0, one crypto-agile log

	pointerSize   = 8 + 4 + 4 + 4       // u64 address, u32 allocated, u32 first record, u32 next record
	algorithmSize = 2 + 2 + pointerSize // u16 algorithm, u16 reserved, pointer

	// maxLogs bounds the logs of one host: a TPM has at most five banks.
	maxLogs = 8
)

// element is one extended data element.
type element struct {
	kind uint32
	data []byte
}

// extendedData lists the elements of OsSinitData. Those of unknown types are kept out.
func extendedData(table []byte) ([]element, error) {
	if len(table) < 4 {
		return nil, fmt.Errorf("OsSinitData of %d bytes breaks off", len(table))
	}

	if version := binary.LittleEndian.Uint32(table[osSinitVersion:]); version < elementsSince {
		return nil, fmt.Errorf("%w: OsSinitData has version %d, of a launch for TPM 1.2, which is out of scope", ErrNoLog, version)
	}

	if len(table) < osSinitElements {
		return nil, fmt.Errorf("OsSinitData of %d bytes breaks off", len(table))
	}

	var elements []element

	for rest := table[osSinitElements:]; ; {
		if len(rest) < elementHead {
			return nil, errors.New("OsSinitData's list of elements has no end")
		}

		kind, size := binary.LittleEndian.Uint32(rest), binary.LittleEndian.Uint32(rest[4:])
		if size < elementHead || uint64(size) > uint64(len(rest)) {
			return nil, fmt.Errorf("element of type %d in OsSinitData: says %d bytes, %d are left", kind, size, len(rest))
		}

		switch kind {
		case elementEnd:
			return elements, nil
		case elementLog12, elementLogs, elementAgileLog:
			elements = append(elements, element{kind, rest[elementHead:size]})
		}

		rest = rest[size:]
	}
}

// logs reads the pointers to logs out of the elements.
func (h heap) logs(elements []element) ([]Area, error) {
	var areas []Area

	for _, e := range elements {
		var (
			found []Area
			err   error
		)

		switch e.kind {
		case elementLogs:
			found, err = h.singleLogs(e.data)
		case elementAgileLog:
			found, err = h.agileLog(e.data)
		}

		if err != nil {
			return nil, fmt.Errorf("element of type %d in OsSinitData: %w", e.kind, err)
		}

		areas = append(areas, found...)
	}

	for i, a := range areas {
		if slices.ContainsFunc(areas[:i], func(b Area) bool { return a.Alg == b.Alg }) {
			return nil, errors.New("OsSinitData points to two logs of the same kind")
		}
	}

	switch {
	case len(areas) > 0:
		return areas, nil
	case len(elements) > 0:
		return nil, fmt.Errorf("%w: the launch was logged for TPM 1.2, which is out of scope", ErrNoLog)
	default:
		return nil, fmt.Errorf("%w: the launch set up none (OsSinitData has no element of type 7 or 8)", ErrNoLog)
	}
}

// agileLog reads element type 8: the pointer alone.
func (h heap) agileLog(data []byte) ([]Area, error) {
	if len(data) != pointerSize {
		return nil, fmt.Errorf("%d bytes of data, not %d", len(data), pointerSize)
	}

	area, err := h.area(data)

	return []Area{area}, err
}

// singleLogs reads element type 7: a count, and that many pairs of algorithm and pointer.
func (h heap) singleLogs(data []byte) ([]Area, error) {
	if len(data) < 4 {
		return nil, fmt.Errorf("%d bytes of data break off", len(data))
	}

	count, rest := binary.LittleEndian.Uint32(data), data[4:]
	if count < 1 || count > maxLogs || len(rest) != int(count)*algorithmSize {
		return nil, fmt.Errorf("says %d logs in %d bytes: 1 to %d are possible, with %d bytes each", count, len(rest), maxLogs, algorithmSize)
	}

	areas := make([]Area, 0, count)

	for entry := range slices.Chunk(rest, algorithmSize) {
		area, err := h.area(entry[4:])
		if err != nil {
			return nil, err
		}

		area.Alg = binary.LittleEndian.Uint16(entry)
		if area.Alg == 0 {
			return nil, errors.New("algorithm 0 is none")
		}

		areas = append(areas, area)
	}

	return areas, nil
}

// area checks a pointer: the log's buffer lies in the heap, and its records in the buffer. Following a pointer out of the heap would hand out whatever memory
// it names.
func (h heap) area(pointer []byte) (Area, error) {
	address := binary.LittleEndian.Uint64(pointer)
	allocated := binary.LittleEndian.Uint32(pointer[8:])
	first := binary.LittleEndian.Uint32(pointer[12:])
	next := binary.LittleEndian.Uint32(pointer[16:])

	base, size := uint64(h.base), uint64(h.size) // #nosec G115 -- neither is negative
	if address < base || address-base > size || uint64(allocated) > size-(address-base) {
		return Area{}, fmt.Errorf("%d bytes at %#x are not all in the heap at %#x of %#x bytes; the log of a Secure Launch is found through securityfs",
			allocated, address, base, size)
	}

	if first > next || next > allocated {
		return Area{}, fmt.Errorf("records from %#x to %#x do not lie in a buffer of %#x bytes", first, next, allocated)
	}

	return Area{Address: int64(address) + int64(first), Size: int64(next - first)}, nil // #nosec G115 -- the address lies in the heap
}
