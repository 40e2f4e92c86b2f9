package eventlog_test

import (
	"bytes"
	"crypto/sha256"
	"runtime"
	"slices"
	"testing"

	"github.com/google/go-attestation/attest"

	"github.com/trustpool/trustpool/verifier/eventlog"
)

// synthetic writes a crypto-agile log of at least size bytes whose events carry two digests and some data, spread over PCRs 0 to 7
// as firmware does. Its replay is what the benchmarks measure.
func synthetic(size, data int) []byte {
	var b bytes.Buffer
	b.Write(specID(nil, bothBanks...))
	for i := 0; b.Len() < size; i++ {
		b.Write(hashed(uint32(i%8), eventlog.TypeEFIAction, bytes.Repeat([]byte{byte(i)}, data), bothBanks...).agile())
	}

	return b.Bytes()
}

// benchLogs are the sizes of a real firmware log and of an extreme one.
func benchLogs() map[string][]byte {
	return map[string][]byte{"64KiB": synthetic(64<<10, 270), "1MiB": synthetic(1<<20, 303)}
}

func perEvent(b *testing.B, events int) {
	b.Helper()
	b.ReportAllocs()
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(events), "ns/event")
}

func BenchmarkReplay(b *testing.B) {
	for name, raw := range benchLogs() {
		l, err := eventlog.Parse(raw)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				r := l.Replay(s256)
				if r.PCRs[0].Err != nil {
					b.Fatal(r.PCRs[0].Err)
				}
			}
			perEvent(b, len(l.Events))
		})
	}
}

func BenchmarkParseAndReplay(b *testing.B) {
	for name, raw := range benchLogs() {
		b.Run(name, func(b *testing.B) {
			events := 0
			for b.Loop() {
				l, err := eventlog.Parse(raw)
				if err != nil {
					b.Fatal(err)
				}
				r := l.Replay(s256)
				if r.PCRs[0].Err != nil {
					b.Fatal(r.PCRs[0].Err)
				}
				events = len(l.Events)
			}
			perEvent(b, events)
		})
	}
}

// BenchmarkGoAttestation is the peer: the same work by go-attestation's ParseEventLog and Verify.
func BenchmarkGoAttestation(b *testing.B) {
	for name, raw := range benchLogs() {
		l, err := eventlog.Parse(raw)
		if err != nil {
			b.Fatal(err)
		}
		pcrs := attestPCRs(l.Replay(s256))
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				peer, err := attest.ParseEventLog(raw)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := peer.Verify(pcrs); err != nil {
					b.Fatal(err)
				}
			}
			perEvent(b, len(l.Events))
		})
	}
}

func TestReplayAllocatesNothingPerEvent(t *testing.T) {
	small, err := eventlog.Parse(synthetic(4<<10, 100))
	if err != nil {
		t.Fatal(err)
	}
	large, err := eventlog.Parse(synthetic(512<<10, 100))
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range bothBanks {
		if got := testing.AllocsPerRun(20, func() { large.Replay(a) }); got > 2 {
			t.Errorf("%s: %.0f allocations for %d events", a, got, len(large.Events))
		}
	}
	raw, few := large.Bytes(), small.Bytes()
	many := testing.AllocsPerRun(20, func() { _, _ = eventlog.Parse(raw) })
	if want := testing.AllocsPerRun(20, func() { _, _ = eventlog.Parse(few) }); many != want {
		t.Errorf("parsing %d events: %.0f allocations, %d events: %.0f", len(large.Events), many, len(small.Events), want)
	}
}

// allocated returns the bytes that f allocates. Its callers run alone: no t.Parallel.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)

	return after.TotalAlloc - before.TotalAlloc
}

func TestHostileMebibyteAllocatesAFewMebibytes(t *testing.T) {
	const size, bound = 1 << 20, 4 << 20
	fill := func(head, record []byte) []byte {
		return slices.Concat(head, bytes.Repeat(record, (size-len(head))/len(record)))
	}
	tiny := filled(1, 1, 1, s1)
	for name, raw := range map[string][]byte{
		"smallest crypto-agile events": fill(specID(nil, s1), tiny.agile()),
		"smallest sha1 events":         fill(nil, legacy(1, 1, tiny.digests[0].sum, nil)),
		"smallest IMA records":         fill(nil, imaRecord("ima-ng", "x", "", make([]byte, 16))),
		"then garbage":                 append(fill(specID(nil, s1), tiny.agile()), 1, 2, 3),
	} {
		got := allocated(func() {
			if l, err := eventlog.Parse(raw); err == nil {
				l.Replay(s1)
			}
			_, _ = eventlog.Trim(raw)
			if l, err := eventlog.ParseIMA(raw); err == nil {
				_, _ = l.Replay(s256, 10, -1)
			}
		})
		if got > bound {
			t.Errorf("%s: %d bytes allocated for %d", name, got, len(raw))
		}
	}
}

// BenchmarkHash is the floor: the one hash that extending a digest costs.
func BenchmarkHash(b *testing.B) {
	var buf [64]byte
	for b.Loop() {
		sum := sha256.Sum256(buf[:])
		copy(buf[:], sum[:])
	}
	perEvent(b, 1)
}
