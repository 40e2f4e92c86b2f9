package tpmsim_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-tpm/tpm2"
)

// memory is physical memory as these tests read it.
type memory struct {
	t    *testing.T
	file *os.File
	base int64
	size uint64
}

func readMemory(t *testing.T, root string) memory {
	t.Helper()

	file, err := os.Open(filepath.Join(root, "dev/mem"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	m := memory{t: t, file: file}
	m.base, m.size = int64(m.u64(0xfed30300)), m.u64(0xfed30308)
	return m
}

func (m memory) bytes(address int64, n int) []byte {
	m.t.Helper()

	b := make([]byte, n)
	if _, err := m.file.ReadAt(b, address); err != nil {
		m.t.Fatalf("reading %d bytes at %#x: %v", n, address, err)
	}
	return b
}

func (m memory) u64(address int64) uint64 { return binary.LittleEndian.Uint64(m.bytes(address, 8)) }

// table returns the content of the heap's table of that number, from 0 on.
func (m memory) table(number int) []byte {
	m.t.Helper()

	address := m.base
	for range number {
		address += int64(m.u64(address))
	}
	return m.bytes(address+8, int(m.u64(address))-8)
}

type heapElement struct {
	kind uint32
	data []byte
}

// elements returns the extended data of OsSinitData, up to its last byte.
func (m memory) elements() []heapElement {
	m.t.Helper()

	var elements []heapElement
	for rest := m.table(2)[92:]; len(rest) > 0; {
		kind, size := binary.LittleEndian.Uint32(rest), binary.LittleEndian.Uint32(rest[4:])
		elements = append(elements, heapElement{kind, rest[8:size]})
		rest = rest[size:]
	}
	return elements
}

func (m memory) element(kind uint32) []byte {
	m.t.Helper()

	for _, e := range m.elements() {
		if e.kind == kind {
			return e.data
		}
	}
	m.t.Fatalf("no element of type %d", kind)
	return nil
}

// log follows the pointer of an element to a log and the buffer that it is in.
func (m memory) log(pointer []byte) (log, buffer []byte) {
	m.t.Helper()

	u32 := binary.LittleEndian.Uint32
	buffer = m.bytes(int64(binary.LittleEndian.Uint64(pointer)), int(u32(pointer[8:])))
	return buffer[u32(pointer[12:]):u32(pointer[16:])], buffer
}

// readBankLog reads the log of one bank to its last byte.
func readBankLog(t *testing.T, log []byte, alg tpm2.TPMAlgID) []event {
	t.Helper()

	u32 := binary.LittleEndian.Uint32
	size := uint32(hashOf(t, alg).Size())
	if alg != tpm2.TPMAlgSHA1 {
		number := map[tpm2.TPMAlgID]byte{tpm2.TPMAlgSHA256: 2, tpm2.TPMAlgSHA384: 3}[alg]
		want := "\x00\x00\x00\x00\x03\x00\x00\x00" + string(make([]byte, 20)) + "\x1c\x00\x00\x00" +
			"FRMT ID EVENT00\x00" + "\x01\x00\x00\x00" + string([]byte{number, 0, 0, 0, byte(size), 0, 0, 0})
		if got := string(log[:min(60, len(log))]); got != want {
			t.Fatalf("bank %#x: log begins %q, want %q", uint16(alg), got, want)
		}
		log = log[60:]
	}

	var events []event
	for len(log) > 0 {
		e := event{pcr: u32(log), typ: u32(log[4:]), digests: map[tpm2.TPMAlgID][]byte{alg: log[8 : 8+size]}}
		log = log[8+size:]
		e.data, log = log[4:4+u32(log)], log[4+u32(log):]
		events = append(events, e)
	}
	return events
}
