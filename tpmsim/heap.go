package tpmsim

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// The TXT heap of a laptop with tboot, and what tboot has in its OsMleData: 64
// KiB of launch control policy among other things, then five pages for logs.
const (
	heapBase = 0xb9f20000
	heapSize = 0xe0000

	biosDataSize = 0x2c // no multiple of 8, against the guide, as on real machines
	logsOffset   = 0x10118
	logsSize     = 5 * pageSize

	pageSize = 0x1000
)

// Extended data elements of OsSinitData. Intel TXT MLE Developer's Guide,
// appendix C.5.
const (
	elementEnd         = 0
	elementCustom      = 4
	elementBankLogs    = 7
	elementCryptoAgile = 8
	elementMCFG        = 9
	elementUnassigned  = 0x7f
)

// area is where a log lies: a buffer in memory and the bytes of it that count.
type area struct {
	physical  uint64
	allocated uint32
	log       []byte
}

// agileHeap returns a heap with one log of all banks.
func agileHeap(records []record) ([]byte, error) {
	a := areaAt(0, 2*pageSize, cryptoAgileLog(activeBanks(), records))
	return heap([]area{a}, element(elementCryptoAgile, a.pointer()))
}

// bankHeap returns a heap with one log a bank.
func bankHeap(records []record) ([]byte, error) {
	banks := activeBanks()
	areas := make([]area, 0, len(banks))
	list := le32(uint32(len(banks))) //nolint:gosec // three
	for i, b := range banks {
		a := areaAt(i*pageSize, pageSize, bankLog(b, records))
		areas = append(areas, a)

		list = binary.LittleEndian.AppendUint16(list, uint16(b.alg))
		list = append(list, 0, 0) // reserved
		list = append(list, a.pointer()...)
	}
	return heap(areas, element(elementBankLogs, list))
}

// unusedHeap returns the heap of a machine that was not launched: what firmware
// leaves there, and nothing behind it.
func unusedHeap() []byte { return biosData() }

// areaAt is at an offset in the space for logs.
func areaAt(offset, allocated int, log []byte) area {
	return area{
		physical:  uint64(heapBase + biosDataSize + sizeField + logsOffset + offset), //nolint:gosec // positive
		allocated: uint32(allocated),                                                 //nolint:gosec // at most two pages
		log:       log,
	}
}

// pointer returns how an element points to the area: its address and size, where
// the first event begins, and where the next one would.
func (a area) pointer() []byte {
	b := binary.LittleEndian.AppendUint64(nil, a.physical)
	b = binary.LittleEndian.AppendUint32(b, a.allocated)
	b = binary.LittleEndian.AppendUint32(b, 0)
	return binary.LittleEndian.AppendUint32(b, uint32(len(a.log))) //nolint:gosec // at most allocated
}

// heap returns a heap up to the end of its last table: BiosData, OsMleData with
// the logs, OsSinitData that points to them, SinitMleData.
func heap(areas []area, logs []byte) ([]byte, error) {
	memory := slices.Concat(biosData(), osMLEData(), osSinitData(logs), sinitMLEData())
	for _, a := range areas {
		if len(a.log) > int(a.allocated) {
			return nil, fmt.Errorf("log of %d bytes is larger than its buffer of %d", len(a.log), a.allocated)
		}
		copy(memory[a.physical-heapBase:], a.log)
	}
	return memory, nil
}

// biosData returns version 4 of the table that the firmware leaves.
func biosData() []byte {
	const version, processors = 4, 4

	b := le32(version)
	b = binary.LittleEndian.AppendUint32(b, 0) // no SINIT in the firmware
	b = binary.LittleEndian.AppendUint64(b, 0) // launch control policy: none
	b = binary.LittleEndian.AppendUint64(b, 0)
	b = binary.LittleEndian.AppendUint32(b, processors)
	b = binary.LittleEndian.AppendUint64(b, 0) // flags
	return sized(b)
}

// osMLEData returns the table that is the launched software's own.
func osMLEData() []byte {
	const version = 3

	b := make([]byte, logsOffset+logsSize)
	copy(b, le32(version))
	return sized(b)
}

// osSinitData returns version 7, which a TPM 2.0 needs, of what SINIT is told.
// Other elements, one of a type that nobody has assigned, surround that of the
// logs.
func osSinitData(logs []byte) []byte {
	const (
		version                  = 7
		maxPerformance           = 1
		mleTable, mleSize        = 0x00800000, 0x00060000
		mleHeader                = 0x00019c40
		protectedLow, rsdpMemory = 0x7a000000, 0x000f05b0
	)

	b := append(le32(version), le32(maxPerformance)...)
	for _, v := range []uint64{
		mleTable, mleSize, mleHeader, 0, protectedLow, 0, 0, // protected memory: low base and size, high base and size
		0, 0, // launch control policy of the owner: none
	} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	b = binary.LittleEndian.AppendUint32(b, sinitCapabilities)
	b = binary.LittleEndian.AppendUint64(b, rsdpMemory)

	b = append(b, element(elementCustom, []byte("simulated, of odd size"), le32(elementCryptoAgile))...)
	b = append(b, element(elementUnassigned, []byte{1, 2, 3})...)
	b = append(b, logs...)
	b = append(b, element(elementMCFG, make([]byte, 12))...)
	return sized(append(b, element(elementEnd)...))
}

// sinitMLEData returns as much of the table that SINIT leaves as nobody misses.
func sinitMLEData() []byte {
	const version = 9
	return sized(le32(version))
}

// element returns a HEAP_EXT_DATA_ELEMENT; its size counts its header.
func element(kind uint32, data ...[]byte) []byte {
	const header = 8

	content := slices.Concat(data...)
	return slices.Concat(le32(kind), le32(uint32(header+len(content))), content) //nolint:gosec // some hundred bytes
}

// sizeField is the length of the field that each table begins with.
const sizeField = 8

// sized returns a table: its size, which counts itself, and its content.
func sized(content []byte) []byte {
	return append(binary.LittleEndian.AppendUint64(nil, uint64(sizeField+len(content))), content...)
}
