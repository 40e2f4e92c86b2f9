package eventlog_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trustpool/trustpool/internal/reallogs"
	"github.com/trustpool/trustpool/verifier/eventlog"
)

// violation is a record of a file that changed while it was measured: no digest, in the record as in its data.
func violation() []byte {
	r := imaRecord("ima-ng", "sha1", "/var/log/x", make([]byte, 20))

	return slices.Concat(r[:4], make([]byte, 20), r[24:])
}

// imaWithPath is a record with all of a path's field, the NUL too.
func imaWithPath(path []byte) []byte {
	r := imaRecord("ima-ng", "sha256", "", make([]byte, 32))
	digest := slices.Concat([]byte("sha256:\x00"), make([]byte, 32))
	data := slices.Concat(u32(len(digest)), digest, u32(len(path)), path)

	return slices.Concat(r[:24], u32(len("ima-ng")), []byte("ima-ng"), u32(len(data)), data)
}

func imaSample() []byte {
	return slices.Concat(
		imaRecord("ima-ng", "sha256", "boot_aggregate", bytes.Repeat([]byte{1}, 32)),
		imaRecord("ima-sig", "sha256", "/usr/bin/x", bytes.Repeat([]byte{2}, 32), []byte{3, 2, 4}),
		imaRecord("ima-sig", "sha512", "/a\x1b[31m", bytes.Repeat([]byte{3}, 64), nil),
		violation(),
	)
}

func TestIMAListsAreReadAndWrittenBack(t *testing.T) {
	t.Parallel()
	raw := imaSample()
	l, err := eventlog.ParseIMA(raw)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(raw, l.Bytes()); diff != "" {
		t.Error(diff)
	}
	e := l.Events[1]
	if e.Num != 1 || e.PCR != 10 || e.Name != "ima-sig" || string(e.FileAlg) != "sha256" || string(e.Path) != "/usr/bin/x" || !bytes.Equal(e.Signature, []byte{3, 2, 4}) {
		t.Errorf("%+v", e)
	}
	if e.Violation() || !l.Events[3].Violation() {
		t.Error("violation not told from a measurement")
	}
}

func TestIMAReplayExtendsEachBankWithItsOwnHashOfTheData(t *testing.T) {
	t.Parallel()
	l, err := eventlog.ParseIMA(imaSample())
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range bothBanks {
		want := fold(a, 0, sum(a, l.Events[0].Data), sum(a, l.Events[1].Data), sum(a, l.Events[2].Data), bytes.Repeat([]byte{0xFF}, a.Size()))
		p, err := l.Replay(a, 10, -1)
		if err != nil || p.Err != nil || p.Events != 4 || !bytes.Equal(p.Value, want) {
			t.Errorf("%s: %x, %d events (%v, %v), want %x", a, p.Value, p.Events, err, p.Err, want)
		}
		if p, _ = l.Replay(a, 10, 1); !bytes.Equal(p.Value, fold(a, 0, sum(a, l.Events[0].Data))) {
			t.Errorf("%s: the first record alone gives %x", a, p.Value)
		}
		if p, _ = l.Replay(a, 10, 0); p.Events != 0 || !bytes.Equal(p.Value, make([]byte, a.Size())) {
			t.Errorf("%s: no record gives %x, %d events", a, p.Value, p.Events)
		}
		if p, err = l.Replay(a, 10, 5); err != nil || !bytes.Equal(p.Value, want) {
			t.Errorf("%s: more records than there are give %x (%v), want %x", a, p.Value, err, want)
		}
		for _, pcr := range []int{0, 11, 23} {
			if p, err := l.Replay(a, pcr, -1); err != nil || p.Events != 0 {
				t.Errorf("%s: PCR %d has %d events (%v)", a, pcr, p.Events, err)
			}
		}
	}
	if _, err := l.Replay(eventlog.AlgSM3, 10, -1); err == nil {
		t.Error("a bank that cannot be computed was replayed")
	}
	for _, pcr := range []int{-1, 24} {
		if _, err := l.Replay(s256, pcr, -1); err == nil {
			t.Errorf("PCR %d was replayed", pcr)
		}
	}
}

func TestIMARecordWhoseDigestIsNotThatOfItsDataBreaksTheReplay(t *testing.T) {
	t.Parallel()
	raw := imaSample()
	raw[len(imaRecord("ima-ng", "sha256", "boot_aggregate", make([]byte, 32)))+4] ^= 1
	l, err := eventlog.ParseIMA(raw)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range bothBanks {
		p, err := l.Replay(a, 10, -1)
		if err != nil || p.Err == nil || p.Value != nil || !strings.Contains(p.Err.Error(), "record 1") {
			t.Errorf("%s: %x, %v, %v", a, p.Value, err, p.Err)
		}
	}
}

func TestMalformedIMAListsAreRefused(t *testing.T) {
	t.Parallel()
	good := imaRecord("ima-ng", "sha256", "/x", make([]byte, 32))
	for n := 1; n < len(good); n++ {
		if _, err := eventlog.ParseIMA(good[:n]); err == nil {
			t.Errorf("cut to %d bytes", n)
		}
	}
	if _, err := eventlog.ParseIMA(nil); !errors.Is(err, eventlog.ErrEmpty) {
		t.Errorf("empty list: %v", err)
	}
	for name, raw := range map[string][]byte{
		"shortest digest and longest name": imaRecord("ima-ng", strings.Repeat("h", 16), "/x", make([]byte, 16)),
		"longest digest":                   imaRecord("ima-ng", "sha512", "/x", make([]byte, 64)),
	} {
		if _, err := eventlog.ParseIMA(raw); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for want, raw := range map[string][]byte{
		"template name: the record breaks off":                   good[:24],
		"only ima-ng and ima-sig":                                imaRecord(strings.Repeat("t", 255), "sha256", "/x", make([]byte, 32)),
		"template name: 256 bytes":                               imaRecord(strings.Repeat("t", 256), "sha256", "/x", make([]byte, 32)),
		"template name: 1 bytes: 0 are left, and 255 are":        slices.Concat(good[:24], u32(1)),
		"event 0 at offset 0: file digest: the record":           make([]byte, eventlog.MaxIMASize),
		"67108865 bytes, more than the 67108864 a list may have": make([]byte, eventlog.MaxIMASize+1),
	} {
		if _, err := eventlog.ParseIMA(raw); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.200v, want %q", err, want)
		}
	}
	for name, raw := range map[string][]byte{
		"path of no bytes":        imaWithPath(nil),
		"path without its NUL":    imaWithPath([]byte("/x")),
		"name of a hash too long": imaRecord("ima-ng", strings.Repeat("h", 17), "/x", make([]byte, 32)),
		"other template":          imaRecord("ima-buf", "sha256", "/x", make([]byte, 32)),
		"ima-ng with a signature": imaRecord("ima-ng", "sha256", "/x", make([]byte, 32), []byte{1}),
		"ima-sig without one":     imaRecord("ima-sig", "sha256", "/x", make([]byte, 32)),
		"path with a NUL":         imaRecord("ima-ng", "sha256", "/x\x00y", make([]byte, 32)),
		"no algorithm":            imaRecord("ima-ng", "", "/x", make([]byte, 32)),
		"no digest":               imaRecord("ima-ng", "sha256", "/x", nil),
		"digest too short":        imaRecord("ima-ng", "sha256", "/x", make([]byte, 15)),
		"digest too long":         imaRecord("ima-ng", "sha256", "/x", make([]byte, 65)),
		"PCR 24":                  slices.Concat(u32(24), good[4:]),
		"name of 4 GiB":           slices.Concat(good[:24], []byte{0xFF, 0xFF, 0xFF, 0xFF}, good[28:]),
	} {
		if _, err := eventlog.ParseIMA(raw); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// The kernel's ASCII list has the same records: what it says of the digests must hold for the binary ones.
func TestRealIMADigestsAreThoseOfTheirData(t *testing.T) {
	t.Parallel()
	list := string(reallogs.Read(t, "ima/keylime_ima-log-sha256"))
	var raw []byte
	var digests [][]byte
	for line := range strings.Lines(list) {
		f := strings.Fields(line)
		alg, fileDigest, _ := strings.Cut(f[3], ":")
		raw = append(raw, imaRecord(f[2], alg, f[4], unhex(t, fileDigest))...)
		digests = append(digests, unhex(t, f[1]))
	}
	l, err := eventlog.ParseIMA(raw)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range l.Events {
		if !bytes.Equal(e.Template, digests[i]) {
			t.Errorf("record %d: digest %x, the kernel's %x", i, e.Template, digests[i])
		}
	}
	p, err := l.Replay(s1, 10, -1)
	if err != nil || !bytes.Equal(p.Value, fold(s1, 0, digests...)) {
		t.Errorf("PCR 10 = %x (%v, %v)", p.Value, err, p.Err)
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}

	return b
}

// realSeeds are the captures of a folder that are not too long to be changed often.
func realSeeds(f *testing.F, folder string) [][]byte {
	f.Helper()

	return slices.DeleteFunc(reallogs.Files(f, folder), func(raw []byte) bool { return len(raw) >= 100<<10 })
}
