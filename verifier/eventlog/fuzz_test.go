package eventlog_test

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/trustpool/trustpool/verifier/eventlog"
)

// seed adds the samples and, where there are any, the logs of real machines. A fuzz run without seeds tests nothing.
func seed(f *testing.F, own [][]byte, folders ...string) {
	f.Helper()
	if len(own) == 0 {
		f.Fatal("no seeds")
	}
	for _, raw := range own {
		f.Add(raw)
	}
	for _, folder := range folders {
		for _, raw := range realSeeds(f, folder) {
			f.Add(raw)
		}
	}
}

func logSeeds() [][]byte {
	logs := samples()
	var all [][]byte
	for _, name := range slices.Sorted(maps.Keys(logs)) {
		all = append(all, logs[name])
	}

	return all
}

// FuzzParse: a log that is read is written as the same bytes, and each PCR of its replay has a value or a reason why it has none.
func FuzzParse(f *testing.F) {
	seed(f, logSeeds(), "txt", "srtm")
	f.Fuzz(func(t *testing.T, raw []byte) {
		l, err := eventlog.Parse(raw)
		if err != nil {
			if l != nil {
				t.Fatal("a log and an error")
			}

			return
		}
		if !bytes.Equal(l.Bytes(), raw) {
			t.Fatalf("read %x\nwrote %x", raw, l.Bytes())
		}
		for _, a := range l.Algs {
			r := l.Replay(a)
			for pcr := range r.PCRs {
				if v, err := r.Value(pcr); (v == nil) == (err == nil) {
					t.Fatalf("%s PCR %d: %x and %v", a, pcr, v, err)
				}
			}
		}
	})
}

// FuzzTrim: the end of a log is where a log that parses ends, and nothing but padding is behind it.
func FuzzTrim(f *testing.F) {
	var padded [][]byte
	for _, raw := range logSeeds() {
		padded = append(padded, append(bytes.Clone(raw), make([]byte, 100)...), append(bytes.Clone(raw), bytes.Repeat([]byte{0xFF}, 100)...))
	}
	seed(f, padded, "txt", "srtm")
	f.Fuzz(func(t *testing.T, raw []byte) {
		n, err := eventlog.Trim(raw)
		_, parseErr := eventlog.Parse(raw)
		if err != nil {
			if parseErr == nil {
				t.Fatalf("parses, but: %v", err)
			}

			return
		}
		if (parseErr == nil) != (n == len(raw)) {
			t.Fatalf("end %d of %d, Parse: %v", n, len(raw), parseErr)
		}
		if _, err := eventlog.Parse(raw[:n]); err != nil {
			t.Fatalf("trimmed to %d: %v", n, err)
		}
		if !bytes.Equal(raw[n:], make([]byte, len(raw)-n)) && !bytes.Equal(raw[n:], bytes.Repeat([]byte{0xFF}, len(raw)-n)) {
			t.Fatalf("cut off more than padding: %x", raw[n:])
		}
	})
}

// FuzzParseIMA: a list that is read is written as the same bytes.
func FuzzParseIMA(f *testing.F) {
	seed(f, [][]byte{imaSample(), violation(), imaWithPath(nil)}, "ima")
	f.Fuzz(func(t *testing.T, raw []byte) {
		l, err := eventlog.ParseIMA(raw)
		if err != nil {
			if len(raw) == 0 && !errors.Is(err, eventlog.ErrEmpty) {
				t.Fatal(err)
			}

			return
		}
		if !bytes.Equal(l.Bytes(), raw) {
			t.Fatalf("read %x\nwrote %x", raw, l.Bytes())
		}
		if p, err := l.Replay(eventlog.AlgSHA256, 10, -1); err != nil || (p.Value == nil) == (p.Err == nil) {
			t.Fatalf("%x, %v, %v", p.Value, p.Err, err)
		}
	})
}
