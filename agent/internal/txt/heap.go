package txt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// ErrNoLog says that this host has no TXT event log, for a reason that the wrapping error tells: there is nothing wrong.
var ErrNoLog = errors.New("no TXT event log")

// Bounds on what a heap may declare.
const (
	// MaxHeap is the largest heap, in bytes. Real ones have about 1 MiB, and all of the memory that TXT protects has at most 255 MiB (MLE appendix B, TXT.DPR).
	MaxHeap = 64 << 20
	// maxOSSinitData is the largest OsSinitData table, in bytes; real ones stay below 1 KiB.
	maxOSSinitData = 64 << 10
	// physicalBits is how wide an x86 physical address can be.
	physicalBits = 52
)

// Area is where a log lies in memory.
type Area struct {
	// Alg is the TPM_ALG_ID of the one bank that this log is for; 0 for a log with the digests of all banks.
	Alg uint16
	// Address is the physical address of the log's first byte, Size the number of its bytes, not counting what is free behind it. Size is 0 if nothing was logged.
	Address int64
	Size    int64
}

// FindLogs walks from the registers through the heap to the logs: one with all banks (element type 8), or one a bank (type 7). An error that wraps ErrNoLog
// means that there are none; any other that they can't be read, or that the heap is malformed.
func FindLogs(memory io.ReaderAt) ([]Area, error) {
	h, err := openHeap(memory)
	if err != nil {
		return nil, err
	}

	table, err := h.osSinitData()
	if err != nil {
		return nil, err
	}

	elements, err := extendedData(table)
	if err != nil {
		return nil, err
	}

	return h.logs(elements)
}

// heap is the TXT heap, with offsets counted from its beginning.
type heap struct {
	memory io.ReaderAt
	base   int64
	size   int64
}

// openHeap reads where the heap is (MLE appendix B: TXT.HEAP.BASE, TXT.HEAP.SIZE).
func openHeap(memory io.ReaderAt) (heap, error) {
	base, err := readRegister(memory, regHeapBase)
	if err != nil {
		return heap{}, err
	}

	size, err := readRegister(memory, regHeapSize)
	if err != nil {
		return heap{}, err
	}

	const nothing = ^uint64(0) // what a bus without device answers

	switch {
	case base == nothing && size == nothing:
		return heap{}, fmt.Errorf("%w: this platform has no TXT registers", ErrNoLog)
	case base == 0 || size == 0:
		return heap{}, fmt.Errorf("%w: the firmware has set up no TXT heap; TXT may be switched off there", ErrNoLog)
	case base >= 1<<physicalBits:
		return heap{}, fmt.Errorf("TXT heap at %#x: beyond physical memory", base)
	case size > MaxHeap:
		return heap{}, fmt.Errorf("TXT heap of %d bytes: more than %d", size, MaxHeap)
	}

	return heap{memory: memory, base: int64(base), size: int64(size)}, nil // #nosec G115 -- both were bounded just now
}

// osSinitData returns that table, without its size field. It is the third of four tables that lie one behind the other: BiosData, OsMleData, OsSinitData,
// SinitMleData. Each begins with its size in bytes, this field included (MLE appendix C). Sizes that are no multiple of 8 are against the guide, but real.
func (h heap) osSinitData() ([]byte, error) {
	off := int64(0)

	for _, name := range []string{"BiosData", "OsMleData"} {
		size, err := h.tableSize(name, off)
		if err != nil {
			return nil, err
		}

		off += size
	}

	size, err := h.tableSize("OsSinitData", off)
	if err != nil {
		return nil, err
	}

	if size > maxOSSinitData {
		return nil, fmt.Errorf("OsSinitData of %d bytes: more than %d", size, maxOSSinitData)
	}

	return h.read("OsSinitData", off+sizeField, size-sizeField)
}

// sizeField is the length of the field that each table begins with.
const sizeField = 8

// tableSize reads the size of the table at off and holds it against what is left of the heap.
func (h heap) tableSize(name string, off int64) (int64, error) {
	field, err := h.read(name, off, sizeField)
	if err != nil {
		return 0, err
	}

	switch size := binary.LittleEndian.Uint64(field); {
	case size == 0:
		return 0, fmt.Errorf("%w: %s is empty, and a launch would have filled it in", ErrNoLog, name)
	case size < sizeField || size > uint64(h.size-off): // #nosec G115 -- read() saw to it that off lies in the heap
		return 0, fmt.Errorf("%s at heap offset %#x: says %d bytes, %d are left", name, off, size, h.size-off)
	default:
		return int64(size), nil // #nosec G115 -- at most h.size
	}
}

// read returns n bytes from off on, which must lie in the heap.
func (h heap) read(what string, off, n int64) ([]byte, error) {
	if off < 0 || n < 0 || off > h.size || n > h.size-off {
		return nil, fmt.Errorf("%s: %d bytes at heap offset %#x, the heap has %#x", what, n, off, h.size)
	}

	b := make([]byte, n)
	if got, err := h.memory.ReadAt(b, h.base+off); got < len(b) {
		return nil, fmt.Errorf("reading %s at %#x: %w", what, h.base+off, err)
	}

	return b, nil
}
