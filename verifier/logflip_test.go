package verifier_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"testing"

	"github.com/trustpool/trustpool/verifier"
)

// logByte says what a byte of a log is, after the layout of the specification and not after the verifier's reading of it.
type logByte struct {
	event  int    // number of its record, 0 for the header
	field  string // header, pcr, type, count, alg, digest, size, data
	bank   uint16 // of a digest
	offset int    // in its field
	bound  bool   // a quoted digest vouches for it
}

// logBytesOf tells of each byte of a crypto-agile log what it is. PC Client Platform Firmware Profile, 9.2.1, 9.2.2 and 9.4.5.1.
func logBytesOf(t *testing.T, log []byte) []logByte {
	t.Helper()
	const sha256ID, mapping = 0x0B, 0xFF
	sizes := map[uint16]int{4: 20, sha256ID: 32, 0x0C: 48}
	le := binary.LittleEndian
	var all []logByte
	mark := func(n int, b logByte) {
		for i := range n {
			b.offset = i
			all = append(all, b)
		}
	}

	mark(32+int(le.Uint32(log[28:])), logByte{field: "header"})
	for event := 1; len(all) < len(log); event++ {
		start := len(all)
		extended := le.Uint32(log[start:]) != mapping
		mark(4, logByte{event: event, field: "pcr", bound: extended})
		mark(4, logByte{event: event, field: "type", bound: extended})
		count := le.Uint32(log[len(all):])
		mark(4, logByte{event: event, field: "count", bound: extended})
		var quoted []byte
		for range count {
			id := le.Uint16(log[len(all):])
			mark(2, logByte{event: event, field: "alg", bound: extended})
			if id == sha256ID {
				quoted = log[len(all):][:32]
			}
			mark(sizes[id], logByte{event: event, field: "digest", bank: id, bound: extended && id == sha256ID})
		}
		size := int(le.Uint32(log[len(all):]))
		mark(4, logByte{event: event, field: "size", bound: extended})
		sum := sha256.Sum256(log[len(all):][:size])
		mark(size, logByte{event: event, field: "data", bound: extended && bytes.Equal(sum[:], quoted)})
	}
	if len(all) != len(log) {
		t.Fatalf("the log has %d bytes, the test finds %d", len(log), len(all))
	}
	return all
}

func TestEveryFlippedByteOfTheLogIsRefusedOrShownAsUnverified(t *testing.T) {
	t.Parallel()
	ev, p := good(t, p256())
	// An event whose data its digest is not the hash of, as tboot and boot loaders write: nothing signs that data.
	ev.Logs[0].Raw = withLabel(t, ev.Logs[0].Raw)
	if r := verifier.Verify(ev, p); r.Verdict != verifier.Trusted {
		t.Fatal(r.Explain())
	}

	kinds := logBytesOf(t, ev.Logs[0].Raw)
	passed := make(map[string]int)
	for i, kind := range kinds {
		bad := clone(ev)
		bad.Logs[0].Raw[i] ^= flip(i)
		r := verifier.Verify(bad, p)
		switch {
		case r.Verdict == verifier.Refused && refusedBy(r, verifier.CheckLogs, verifier.CheckReplay, verifier.CheckMeasurements):
		case r.Verdict != verifier.Trusted:
			t.Fatalf("byte %d (%+v): %s", i, kind, r.Explain())
		case kind.bound:
			t.Fatalf("byte %d (%+v) is trusted", i, kind)
		case !shown(r, kind, bad.Logs[0].Raw[i]):
			t.Fatalf("byte %d (%+v) is not shown as unverified: %+v", i, kind, r.Unverified)
		default:
			passed[kind.field]++
		}
	}
	for _, field := range []string{"header", "digest", "data"} {
		if passed[field] == 0 {
			t.Errorf("no flip of an unsigned %s was met: the test shows nothing", field)
		}
	}
	t.Logf("of %d flips, these are signed by nothing: %v", len(kinds), passed)
}

// shown tells whether the result lists the byte, with the value that it has now.
func shown(r verifier.Result, b logByte, value byte) bool {
	banks := map[uint16]string{4: "sha1", 0x0B: "sha256", 0x0C: "sha384"}
	for _, u := range r.Unverified {
		if u.Log != "txt" || u.Event != b.event {
			continue
		}
		if u.Field == verifier.FieldEvent {
			return true // nothing of it is signed, and its data is shown
		}
		sameField := string(u.Field) == b.field && (b.field != "digest" || u.Bank == banks[b.bank])
		if sameField && b.offset < len(u.Bytes) && u.Bytes[b.offset] == value {
			return true
		}
	}
	return false
}

// withLabel gives the last event of a log, which has no data, some.
func withLabel(t *testing.T, log []byte) []byte {
	t.Helper()
	label := []byte("a label that nothing signs")
	if binary.LittleEndian.Uint32(log[len(log)-4:]) != 0 {
		t.Fatal("the last event has data already")
	}
	log = binary.LittleEndian.AppendUint32(bytes.Clone(log[:len(log)-4]), uint32(len(label)))
	return append(log, label...)
}
