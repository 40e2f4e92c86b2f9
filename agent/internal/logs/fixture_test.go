package logs_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/trustpool/trustpool/agent/internal/logs"
)

// Boot ids: this boot's, and another one's.
const (
	thisBoot  = "0f4d8cd3-2a9b-4f5e-9a43-0d3c1f2b7a60"
	otherBoot = "11111111-2a9b-4f5e-9a43-0d3c1f2b7a60"
)

// host is a directory that stands for a host's "/".
type host struct {
	t    testing.TB
	root string
}

func newHost(t testing.TB) host {
	t.Helper()

	return host{t, t.TempDir()}
}

func (h host) path(name string) string { return filepath.Join(h.root, name) }

func (h host) write(name string, content []byte) {
	h.t.Helper()

	if err := os.MkdirAll(filepath.Dir(h.path(name)), 0o755); err != nil {
		h.t.Fatal(err)
	}

	if err := os.WriteFile(h.path(name), content, 0o600); err != nil {
		h.t.Fatal(err)
	}
}

const (
	firmwareLog = "sys/kernel/security/tpm0/binary_bios_measurements"
	slaunchLog  = "sys/kernel/security/slaunch/eventlog"
	registers   = 0xFED30000
	heapBase    = 0x1000000
)

// memory writes /dev/mem with holes: a heap whose elements are those, and its registers. STS and DIDVID are zero if launched is negative.
func (h host) memory(launched int, heap []byte) {
	h.t.Helper()
	h.write("dev/mem", nil)

	file, err := os.OpenFile(h.path("dev/mem"), os.O_WRONLY, 0)
	if err != nil {
		h.t.Fatal(err)
	}
	defer file.Close()

	put := func(at int64, value uint64) {
		if _, err := file.WriteAt(binary.LittleEndian.AppendUint64(nil, value), at); err != nil {
			h.t.Fatal(err)
		}
	}

	put(registers+0x300, heapBase)
	put(registers+0x308, uint64(len(heap)))
	put(registers+0x8F0, 0)

	if launched >= 0 {
		put(registers, uint64(launched))
		put(registers+0x110, 0x00000001b0068086)
	}

	if _, err := file.WriteAt(heap, heapBase); err != nil {
		h.t.Fatal(err)
	}
}

// heapOf builds a heap with logs: kind 8 takes one with all banks, kind 7 one for each algorithm, from 4 on.
func heapOf(kind uint32, contents ...[]byte) []byte {
	const mle = 0x2c

	le := binary.LittleEndian
	bios := append(le.AppendUint64(nil, mle), make([]byte, mle-8)...)
	space := []byte{0, 0, 0, 0, 0, 0, 0, 0}

	var data []byte
	if kind == 7 {
		data = le.AppendUint32(data, uint32(len(contents)))
	}

	for i, content := range contents {
		if kind == 7 {
			data = le.AppendUint32(data, []uint32{4, 0xb, 0x12}[i])
		}

		data = le.AppendUint64(data, uint64(heapBase+mle+len(space)))
		data = le.AppendUint32(data, uint32(len(content)+512))
		data = le.AppendUint32(data, 0)
		data = le.AppendUint32(data, uint32(len(content)))
		space = append(append(space, content...), make([]byte, 512)...)
	}

	le.PutUint64(space, uint64(len(space)))

	sinit := make([]byte, 92)
	le.PutUint32(sinit, 7)

	if len(contents) > 0 {
		sinit = le.AppendUint32(sinit, kind)
		sinit = le.AppendUint32(sinit, uint32(8+len(data)))
	}

	sinit = append(append(sinit, data...), 0, 0, 0, 0, 8, 0, 0, 0)

	return bytes.Join([][]byte{bios, space, le.AppendUint64(nil, uint64(8+len(sinit))), sinit}, nil)
}

// record is a TCG_PCClientPCREvent.
func record(kind uint32, digest byte, data []byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 0)
	b = binary.LittleEndian.AppendUint32(b, kind)
	b = append(b, bytes.Repeat([]byte{digest}, 20)...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(data)))

	return append(b, data...)
}

// sha1Log is a log of SHA-1 records with that many bytes, at least 32.
func sha1Log(size int) []byte {
	var log []byte

	for size-len(log) >= 1000+32 {
		log = append(log, record(8, byte(1+len(log)%200), bytes.Repeat([]byte{1}, 500))...)
	}

	return append(log, record(8, 7, bytes.Repeat([]byte{2}, size-len(log)-32))...)
}

// agileLog is a crypto-agile log of SHA-256 with that many events.
func agileLog(events int) []byte {
	le := binary.LittleEndian
	spec := append([]byte("Spec ID Event03\x00"), 0, 0, 0, 0, 0, 2, 0, 2, 1, 0, 0, 0, 0xb, 0, 32, 0, 0)
	log := record(3, 0, spec)

	for i := range events {
		log = le.AppendUint32(log, 17)
		log = le.AppendUint32(log, 0x402)
		log = le.AppendUint32(log, 1)
		log = le.AppendUint16(log, 0xb)
		log = append(log, bytes.Repeat([]byte{byte(i + 1)}, 32)...)
		log = le.AppendUint32(log, 4)
		log = append(log, 1, 2, 3, 4)
	}

	return log
}

func padded(log []byte) []byte { return append(bytes.Clone(log), make([]byte, 777)...) }

// clock is a time that stands still until it is moved.
type clock struct{ now time.Time }

func newClock() *clock { return &clock{time.Unix(1_700_000_000, 0)} }

func (c *clock) Now() time.Time { return c.now }

func (c *clock) pass() { c.now = c.now.Add(5 * time.Second) }

// byName finds a source's snapshot.
func byName(t testing.TB, store *logs.Store, name string) logs.Snapshot {
	t.Helper()

	for _, s := range store.Snapshots() {
		if s.Source == name {
			return s
		}
	}

	t.Fatalf("no source %s in %v", name, store.Sources())

	return logs.Snapshot{}
}
