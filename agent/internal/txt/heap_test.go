package txt_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trustpool/trustpool/agent/internal/txt"
	"github.com/trustpool/trustpool/internal/reallogs"
)

// memory is physical memory with a heap in it, and the registers that lead there.
type memory struct {
	base, size uint64
	registers  map[int64]uint64
	heap       []byte
}

const space = 0xFED30000

func (m memory) ReadAt(p []byte, off int64) (int, error) {
	if off >= space {
		all := map[int64]uint64{0x300: m.base, 0x308: m.size}
		for k, v := range m.registers {
			all[k] = v
		}

		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], all[off-space])

		return copy(p, b[:]), nil
	}

	return bytes.NewReader(m.heap).ReadAt(p, off-int64(m.base))
}

// layout is what a heap is built of; each field is a thing to get wrong.
type layout struct {
	bios, mle, sinit uint64 // sizes as they are told; 0: the right ones
	version          uint32
	elements         []byte
	cut              int // bytes missing at the heap's end
	size             uint64
	base             uint64
}

const (
	heapBase = 0xb9f20000
	logAt    = 0x2c + 8 // in OsMleData
	logSpace = 0x2000
)

// pointer is how an element points to a log.
func pointer(address uint64, allocated, first, next uint32) []byte {
	b := binary.LittleEndian.AppendUint64(nil, address)
	b = binary.LittleEndian.AppendUint32(b, allocated)
	b = binary.LittleEndian.AppendUint32(b, first)

	return binary.LittleEndian.AppendUint32(b, next)
}

func element(kind uint32, data ...byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, kind)
	b = binary.LittleEndian.AppendUint32(b, uint32(8+len(data)))

	return append(b, data...)
}

func single(alg uint16, p []byte) []byte {
	return append(binary.LittleEndian.AppendUint16(nil, alg), append([]byte{0, 0}, p...)...)
}

func logList(entries ...[]byte) []byte {
	return append(binary.LittleEndian.AppendUint32(nil, uint32(len(entries))), bytes.Join(entries, nil)...)
}

func end() []byte { return element(0) }

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// build lays out a heap.
func (l layout) build() memory {
	or := func(told, right uint64) uint64 {
		if told != 0 {
			return told
		}

		return right
	}
	table := func(told uint64, content []byte) []byte {
		return append(binary.LittleEndian.AppendUint64(nil, or(told, uint64(8+len(content)))), content...)
	}

	sinit := make([]byte, 92)
	binary.LittleEndian.PutUint32(sinit, uint32(or(uint64(l.version), 7)))
	sinit = append(sinit, l.elements...)

	heap := join(table(l.bios, make([]byte, 0x2c-8)), table(l.mle, make([]byte, logSpace)), table(l.sinit, sinit))
	heap = heap[:len(heap)-l.cut]

	return memory{base: or(l.base, heapBase), size: or(l.size, uint64(len(heap))), heap: heap}
}

// agile is the element of the usual log.
func agile() []byte { return element(8, pointer(heapBase+logAt, logSpace, 0, 0x6ba)...) }

func TestLogsAreFoundThroughTheHeap(t *testing.T) {
	t.Parallel()

	whole := txt.Area{Address: heapBase + logAt, Size: 0x6ba}

	for name, tc := range map[string]struct {
		elements []byte
		version  uint32
		want     []txt.Area
	}{
		"one log of all banks":          {elements: join(agile(), end()), want: []txt.Area{whole}},
		"unknown elements are skipped":  {elements: join(element(4, 1, 2, 3), element(99), agile(), element(15, 9), end()), want: []txt.Area{whole}},
		"version 6 has elements":        {version: 6, elements: join(agile(), end()), want: []txt.Area{whole}},
		"what is behind the end counts": {elements: join(agile(), end(), agile(), []byte{1}), want: []txt.Area{whole}},
		"a TPM 1.2 log beside it":       {elements: join(element(5, 0, 0, 0, 0, 0, 0, 0, 0), agile(), end()), want: []txt.Area{whole}},
		"the first record's offset": {
			elements: join(element(8, pointer(heapBase+logAt, logSpace, 16, 20)...), end()),
			want:     []txt.Area{{Address: heapBase + logAt + 16, Size: 4}},
		},
		"nothing logged": {
			elements: join(element(8, pointer(heapBase+logAt, logSpace, 0, 0)...), end()),
			want:     []txt.Area{{Address: heapBase + logAt}},
		},
		"a full buffer": {
			elements: join(element(8, pointer(heapBase+logAt, logSpace, 0, logSpace)...), end()),
			want:     []txt.Area{{Address: heapBase + logAt, Size: logSpace}},
		},
		"one log a bank": {
			elements: join(element(7, logList(single(4, pointer(heapBase+logAt, 4096, 0, 100)), single(0xb, pointer(heapBase+logAt+4096, 4096, 0, 200)))...), end()),
			want:     []txt.Area{{Alg: 4, Address: heapBase + logAt, Size: 100}, {Alg: 0xb, Address: heapBase + logAt + 4096, Size: 200}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			got, err := txt.FindLogs(layout{version: tc.version, elements: tc.elements}.build())
			if err != nil {
				t.Fatal(err)
			}

			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAHostWithoutALogIsNotMalformed(t *testing.T) {
	t.Parallel()

	none := ^uint64(0)
	good := layout{elements: join(agile(), end())}

	for name, tc := range map[string]struct {
		memory memory
		want   string
	}{
		"no registers":              {memory{base: none, size: none}, "no TXT registers"},
		"no heap":                   {memory{}, "firmware has set up no TXT heap"},
		"no heap size":              {memory{base: heapBase}, "firmware has set up no TXT heap"},
		"heap not filled in":        {memory{base: heapBase, size: 0x1000, heap: make([]byte, 0x1000)}, "would have filled it in"},
		"no element for a log":      {layout{elements: end()}.build(), "no element of type 7 or 8"},
		"a TPM 1.2 log only":        {layout{elements: join(element(5, make([]byte, 8)...), end())}.build(), "TPM 1.2"},
		"a launch for TPM 1.2":      {layout{version: 5, elements: good.elements}.build(), "TPM 1.2"},
		"memory that ends below it": {memory{base: heapBase, registers: nil}, "no TXT heap"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			_, err := txt.FindLogs(tc.memory)
			if !errors.Is(err, txt.ErrNoLog) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}

	if _, err := txt.FindLogs(bytes.NewReader(nil)); !errors.Is(err, txt.ErrNoLog) {
		t.Errorf("memory that ends below the registers: %v", err)
	}
}

func TestHostileHeapsAreRefused(t *testing.T) {
	t.Parallel()

	good := join(agile(), end())
	log8 := func(address uint64, allocated, first, next uint32) []byte {
		return join(element(8, pointer(address, allocated, first, next)...), end())
	}

	rightSize := uint64(len(layout{elements: good}.build().heap))

	for name, tc := range map[string]struct {
		layout layout
		want   string
	}{
		"heap beyond physical memory":             {layout{elements: good, base: 1 << 52}, "beyond physical memory"},
		"heap without end":                        {layout{elements: good, size: txt.MaxHeap + 1}, "more than"},
		"heap smaller than a size field":          {layout{elements: good, size: 7}, "the heap has"},
		"BiosData smaller than its size field":    {layout{elements: good, bios: 7}, "BiosData at heap offset 0x0: says 7 bytes"},
		"BiosData larger than the heap":           {layout{elements: good, bios: rightSize + 1}, "BiosData"},
		"BiosData that wraps around":              {layout{elements: good, bios: ^uint64(0)}, "BiosData"},
		"BiosData that fills the heap":            {layout{elements: good, bios: rightSize}, "OsMleData: 8 bytes at heap offset"},
		"OsMleData smaller than its size field":   {layout{elements: good, mle: 7}, "OsMleData"},
		"OsMleData larger than what is left":      {layout{elements: good, mle: rightSize - 0x2c + 1}, "OsMleData"},
		"OsMleData negative":                      {layout{elements: good, mle: 1 << 63}, "OsMleData"},
		"OsSinitData smaller than its field":      {layout{elements: good, sinit: 7}, "OsSinitData"},
		"OsSinitData larger than what is left":    {layout{elements: good, cut: 1}, "OsSinitData"},
		"OsSinitData without a version":           {layout{elements: good, sinit: 11}, "breaks off"},
		"OsSinitData that ends before its list":   {layout{elements: good, sinit: 8 + 91}, "breaks off"},
		"OsSinitData without bounds":              {layout{elements: make([]byte, 64<<10)}, "more than"},
		"list without end":                        {layout{elements: agile()}, "has no end"},
		"list that breaks off in a head":          {layout{elements: join(agile(), []byte{0, 0, 0, 0, 8, 0, 0})}, "has no end"},
		"element of size 0":                       {layout{elements: join(make([]byte, 0), []byte{8, 0, 0, 0, 0, 0, 0, 0}, end())}, "says 0 bytes"},
		"element smaller than its head":           {layout{elements: join([]byte{9, 0, 0, 0, 7, 0, 0, 0}, end())}, "says 7 bytes"},
		"element larger than the table":           {layout{elements: join([]byte{9, 0, 0, 0, 17, 0, 0, 0}, end())}, "says 17 bytes, 16 are left"},
		"element of 4 GiB":                        {layout{elements: join([]byte{9, 0, 0, 0, 255, 255, 255, 255}, end())}, "are left"},
		"pointer that breaks off":                 {layout{elements: join(element(8, make([]byte, 19)...), end())}, "19 bytes of data, not 20"},
		"pointer with more behind it":             {layout{elements: join(element(8, make([]byte, 21)...), end())}, "21 bytes of data, not 20"},
		"log below the heap":                      {layout{elements: log8(heapBase-1, 16, 0, 8)}, "not all in the heap"},
		"log above the heap":                      {layout{elements: log8(heapBase+rightSize+1, 0, 0, 0)}, "not all in the heap"},
		"log that leaves the heap":                {layout{elements: log8(heapBase+rightSize-15, 16, 0, 8)}, "not all in the heap"},
		"log at the end of the address space":     {layout{elements: log8(^uint64(0)-7, 16, 0, 8)}, "not all in the heap"},
		"log larger than the heap":                {layout{elements: log8(heapBase, 1<<31, 0, 8)}, "not all in the heap"},
		"records that end behind the buffer":      {layout{elements: log8(heapBase, 16, 0, 17)}, "do not lie in a buffer"},
		"records that begin behind their end":     {layout{elements: log8(heapBase, 16, 9, 8)}, "do not lie in a buffer"},
		"two logs of all banks":                   {layout{elements: join(agile(), agile(), end())}, "two logs of the same kind"},
		"list of logs without a count":            {layout{elements: join(element(7, 1, 0, 0), end())}, "break off"},
		"list of no logs":                         {layout{elements: join(element(7, logList()...), end())}, "says 0 logs"},
		"list of too many logs":                   {layout{elements: join(element(7, logList(make([][]byte, 9)...)...), end())}, "says 9 logs"},
		"list with fewer logs than it says":       {layout{elements: join(element(7, join(logList(nil), make([]byte, 23))...), end())}, "says 1 logs in 23 bytes"},
		"list with more than it says":             {layout{elements: join(element(7, join(logList(nil), make([]byte, 25))...), end())}, "says 1 logs in 25 bytes"},
		"list of 4 billion logs":                  {layout{elements: join(element(7, 255, 255, 255, 255), end())}, "says 4294967295 logs"},
		"list with a log outside of the heap":     {layout{elements: join(element(7, logList(single(4, pointer(0x1000, 16, 0, 8)))...), end())}, "not all in the heap"},
		"list with a log of algorithm 0":          {layout{elements: join(element(7, logList(single(0, pointer(heapBase, 16, 0, 8)))...), end())}, "algorithm 0"},
		"list with two logs of the same bank":     {layout{elements: join(element(7, logList(single(4, pointer(heapBase, 16, 0, 8)), single(4, pointer(heapBase, 16, 0, 8)))...), end())}, "two logs"},
		"heap that is told larger than it is":     {layout{elements: good, cut: 1, size: rightSize}, "EOF"},
		"tables that lead behind what is there":   {layout{bios: 1 << 20, size: 2 << 20}, "EOF"},
		"element list at the end of all there is": {layout{elements: make([]byte, 7)}, "has no end"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			_, err := txt.FindLogs(tc.layout.build())
			if err == nil || errors.Is(err, txt.ErrNoLog) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}

// TestARealHeapGivesItsLog reads the heap of a tboot host, as Intel's SecL project published it: a fake memory whose first two words are the heap's base and
// size, and whose pointer to the log counts from the heap's beginning.
func TestARealHeapGivesItsLog(t *testing.T) {
	t.Parallel()

	image, want := reallogs.Read(t, "txt/secl_txt_heap_info.bin"), reallogs.Read(t, "txt/secl_txt_heap_eventlog.trimmed.bin")
	base, size := binary.LittleEndian.Uint64(image), binary.LittleEndian.Uint64(image[8:])
	m := memory{base: base, size: size, heap: bytes.Clone(image[base:])}

	const told = 0x1014c

	at := bytes.Index(m.heap, pointer(told, 0x2000, 0, 0x6ba))
	if at < 0 {
		t.Fatal("the heap has no pointer to its log")
	}

	binary.LittleEndian.PutUint64(m.heap[at:], base+told)

	areas, err := txt.FindLogs(m)
	if err != nil || len(areas) != 1 || areas[0].Alg != 0 {
		t.Fatalf("logs %v, error %v", areas, err)
	}

	got := make([]byte, areas[0].Size)
	if _, err := m.ReadAt(got, areas[0].Address); err != nil {
		t.Fatal(err)
	}

	if !bytes.Equal(got, want) {
		t.Error("the log is another one")
	}
}

// TestAHostileHeapCostsNothing is not parallel: it counts what the whole process allocates.
func TestAHostileHeapCostsNothing(t *testing.T) { //nolint:paralleltest // see above
	// A list of as many elements as fit in, and a table as large as it may be.
	elements := bytes.Repeat(element(7, logList(single(4, pointer(heapBase, 16, 0, 8)))...), (64<<10-200)/36)
	m := layout{elements: join(elements, end())}.build()
	m.heap = append(m.heap, make([]byte, 1<<20-len(m.heap))...)
	m.size = 1 << 20

	var before, after runtime.MemStats

	runtime.ReadMemStats(&before)

	if _, err := txt.FindLogs(m); err == nil {
		t.Error("a list of thousands of logs was taken")
	}

	runtime.ReadMemStats(&after)

	if spent := after.TotalAlloc - before.TotalAlloc; spent > 2<<20 {
		t.Errorf("%d bytes allocated", spent)
	}
}

// FuzzHeap: no area that a heap names leads out of it.
func FuzzHeap(f *testing.F) {
	for _, elements := range [][]byte{
		join(agile(), end()),
		join(element(4, 1, 2, 3), element(5, make([]byte, 8)...), agile(), end()),
		join(element(7, logList(single(4, pointer(heapBase+logAt, 4096, 0, 100)), single(0xb, pointer(heapBase+logAt+4096, 4096, 0, 200)))...), end()),
		join(element(8, pointer(heapBase-1, 16, 9, 8)...), end()),
	} {
		m := layout{elements: elements}.build()
		f.Add(m.base, m.size, m.heap)
	}

	f.Fuzz(func(t *testing.T, base, size uint64, heap []byte) {
		areas, err := txt.FindLogs(memory{base: base, size: size, heap: heap})
		if err != nil {
			return
		}

		for _, a := range areas {
			if a.Size < 0 || uint64(a.Address) < base || uint64(a.Address)+uint64(a.Size) > base+size {
				t.Errorf("%+v leads out of the heap at %#x of %#x bytes", a, base, size)
			}
		}
	})
}

var _ io.ReaderAt = memory{}
