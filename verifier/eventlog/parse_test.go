package eventlog_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trustpool/trustpool/verifier/eventlog"
)

const (
	s1   = eventlog.AlgSHA1
	s256 = eventlog.AlgSHA256
)

// samples are good logs, one of each kind.
func samples() map[string][]byte {
	sha1Only := launch(s1)[:5]

	return map[string][]byte{
		"crypto-agile":             agile(bothBanks, launch(bothBanks...)...),
		"crypto-agile header only": agile(bothBanks),
		"vendor information":       slices.Concat(specID([]byte("made here"), s256), filled(0, 1, 1, s256).agile()),
		"sha1":                     sha1Log(sha1Only...),
		"txt sha256":               txtLog(2, s256, launch(s256)...),
		"txt sha1":                 txtLog(1, s1, sha1Only...),
		"txt header only":          txtLog(3, eventlog.AlgSHA384),
	}
}

func TestParseThenWriteGivesTheSameBytes(t *testing.T) {
	t.Parallel()
	for name, raw := range samples() {
		l, err := eventlog.Parse(raw)
		if err != nil {
			t.Errorf("%s: %v", name, err)

			continue
		}
		if diff := cmp.Diff(raw, l.Bytes()); diff != "" {
			t.Errorf("%s: (-read +written)\n%s", name, diff)
		}
	}
}

func TestParseKeepsWhatTheHeaderSays(t *testing.T) {
	t.Parallel()
	l, err := eventlog.Parse(samples()["vendor information"])
	if err != nil {
		t.Fatal(err)
	}
	want := eventlog.SpecID{Major: 2, Errata: 1, UintnSize: 2, VendorInfo: []byte("made here")}
	if diff := cmp.Diff(want, l.Spec); diff != "" {
		t.Error(diff)
	}
	if l.Format != eventlog.FormatCryptoAgile || !slices.Equal(l.Algs, []eventlog.Alg{s256}) {
		t.Errorf("format %s, algorithms %v", l.Format, l.Algs)
	}
	if l.Events[0].Num != 1 {
		t.Errorf("first event is number %d: the header is 0", l.Events[0].Num)
	}
}

func TestTrimFindsTheEndOfPaddedLogs(t *testing.T) {
	t.Parallel()
	for name, raw := range samples() {
		for _, pad := range [][]byte{nil, make([]byte, 1), make([]byte, 7), make([]byte, 500), {0xFF}, bytes.Repeat([]byte{0xFF}, 500)} {
			n, err := eventlog.Trim(slices.Concat(raw, pad))
			if err != nil || n != len(raw) {
				t.Errorf("%s with %d bytes of padding: end %d (%v), want %d", name, len(pad), n, err, len(raw))
			}
		}
	}
}

func TestTrimRefusesOtherBytesBehindTheLog(t *testing.T) {
	t.Parallel()
	for name, raw := range samples() {
		for what, tail := range map[string][]byte{
			"a byte behind zeros":  append(make([]byte, 200), 1),
			"a byte behind FF":     append(bytes.Repeat([]byte{0xFF}, 200), 1),
			"FF behind zeros":      append(make([]byte, 200), 0xFF),
			"zeros behind FF":      append(bytes.Repeat([]byte{0xFF}, 200), 0),
			"a log after its end":  append(make([]byte, 64), raw...),
			"PCR FFFFFFFF, no pad": append(bytes.Repeat([]byte{0xFF}, 4), make([]byte, 60)...),
		} {
			if n, err := eventlog.Trim(slices.Concat(raw, tail)); err == nil {
				t.Errorf("%s, %s: end %d", name, what, n)
			}
		}
	}
}

func TestParseRefusesPadding(t *testing.T) {
	t.Parallel()
	for name, raw := range samples() {
		if _, err := eventlog.Parse(append(raw, 0)); err == nil || !strings.Contains(err.Error(), "1 bytes of padding") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEmptyAreasAreToldFromMalformedLogs(t *testing.T) {
	t.Parallel()
	for _, raw := range [][]byte{nil, {}, {0}, make([]byte, 4096), bytes.Repeat([]byte{0xFF}, 4096)} {
		if _, err := eventlog.Parse(raw); !errors.Is(err, eventlog.ErrEmpty) {
			t.Errorf("Parse of %d bytes: %v", len(raw), err)
		}
		if _, err := eventlog.Trim(raw); !errors.Is(err, eventlog.ErrEmpty) {
			t.Errorf("Trim of %d bytes: %v", len(raw), err)
		}
	}
	if _, err := eventlog.Parse([]byte("not a log, though long enough for one record")); err == nil || errors.Is(err, eventlog.ErrEmpty) {
		t.Errorf("Parse of garbage: %v", err)
	}
}

func TestEveryCutOfALogIsRefused(t *testing.T) {
	t.Parallel()
	for name, raw := range samples() {
		ends := recordEnds(t, raw)
		for n := 1; n < len(raw); n++ {
			_, err := eventlog.Parse(raw[:n])
			if whole := slices.Contains(ends, n); whole != (err == nil) {
				t.Errorf("%s cut to %d bytes: %v, at a record's end: %t", name, n, err, whole)
			}
		}
	}
}

// recordEnds lists the offsets at which a log may be cut and still be a log.
func recordEnds(t *testing.T, raw []byte) []int {
	t.Helper()
	l, err := eventlog.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	var ends []int
	events := l.Events
	for i := range len(events) + 1 {
		l.Events = events[:i]
		ends = append(ends, len(l.Bytes()))
	}

	return ends
}

func TestMalformedLogsAreRefusedWithTheirReason(t *testing.T) {
	t.Parallel()
	good := filled(17, eventlog.TypeMLEHash, 1, s256)
	header := specID(nil, bothBanks...)
	nine := make([]eventlog.Alg, 9)
	for i := range nine {
		nine[i] = eventlog.Alg(0x100 + i)
	}
	edit := func(raw []byte, off int, b ...byte) []byte {
		raw = bytes.Clone(raw)
		copy(raw[off:], b)

		return raw
	}
	event := func(r rec) []byte { return slices.Concat(header, r.agile()) }
	halfList := rec{1, 1, []dig{filled(1, 1, 1, s1).digests[0], {eventlog.AlgSHA384, nil}}, nil}.agile()

	for name, tc := range map[string]struct {
		raw  []byte
		want string
	}{
		"shorter than a record":               {[]byte{1, 2, 3}, "less than one record"},
		"TPM 1.2 container":                   {append([]byte("TXT Event Container\x00"), make([]byte, 28)...), "TPM 1.2"},
		"header for PCR 1":                    {edit(header, 0, 1), "header has PCR 1"},
		"header of another type":              {edit(header, 4, 4), "EV_SEPARATOR"},
		"header with a digest":                {edit(header, 8, 1), "digest is not zero"},
		"header longer than the log":          {edit(header, 28, 200), "header's data: 200 bytes"},
		"header shorter than its fields":      {edit(header[:32+20], 28, 20), "breaks off"},
		"no algorithm":                        {specID(nil), "0 algorithms"},
		"nine algorithms":                     {specID(nil, nine...), "9 algorithms"},
		"4 billion algorithms":                {edit(header, 32+24, 0xFF, 0xFF, 0xFF, 0xFF), "4294967295 algorithms"},
		"algorithm listed twice":              {specID(nil, s256, s256), "listed twice"},
		"wrong digest size":                   {edit(header, 32+28+2, 32), "digests of sha1 have 20 bytes"},
		"unknown algorithm of size 19":        {edit(specID(nil, 0x100), 32+28+2, 19), "out of range"},
		"unknown algorithm of size 65":        {edit(specID(nil, 0x100), 32+28+2, 65), "out of range"},
		"header of the fixed fields alone":    {edit(header[:32+28], 28, 28), "says 2 algorithms: 1 to 8 are possible, and 0 bytes are left"},
		"vendor information too short":        {edit(header, 32+36, 1), "says 1 bytes of vendor information, 0 are left"},
		"PCR 24":                              {event(filled(24, 1, 1, s256)), "PCR index 24"},
		"PCR 255 of another type":             {event(filled(0xFF, 1, 1, s256)), "PCR index 255"},
		"PCR FFFFFFFF of another type":        {event(filled(0xFFFFFFFF, 1, 1, s256)), "PCR index 4294967295"},
		"PCR 254 of PCR_MAPPING":              {event(filled(0xFE, 0x401, 1, s256)), "PCR index 254"},
		"no digest":                           {event(rec{pcr: 1, typ: 1}), "0 digests"},
		"more digests than algorithms":        {event(filled(1, 1, 1, s1, s256, s1)), "3 digests"},
		"two digests of one algorithm":        {event(filled(1, 1, 1, s256, s256)), "two digests of sha256"},
		"digest of an algorithm not declared": {event(filled(1, 1, 1, eventlog.AlgSHA384)), "sha384 is not in the header"},
		"cut behind an algorithm's number":    {slices.Concat(header, halfList[:len(halfList)-4]), "sha384 is not in the header"},
		"data longer than the log":            {edit(event(good), len(event(good))-4, 1), "data of 1 bytes: 0 are left"},
		"data of 4 GiB":                       {edit(event(good), len(event(good))-4, 0xFF, 0xFF, 0xFF, 0xFF), "data of 4294967295 bytes"},
		"data over the bound":                 {event(rec{pcr: 1, typ: 1, digests: good.digests, data: make([]byte, eventlog.MaxDataSize+1)}), "1048576 are possible"},
		"marker with a digest":                {event(filled(17, eventlog.TypeSlaunchStart, 1, s256)), "TXT_EVTYPE_SLAUNCH_START has a digest"},
		"end marker with a digest":            {event(rec{17, 0x504, []dig{{s1, make([]byte, 20)}, good.digests[0]}, nil}), "TXT_EVTYPE_SLAUNCH_END has a digest"},
		"sha1 marker with a digest":           {sha1Log(filled(17, 0x503, 1, s1)), "TXT_EVTYPE_SLAUNCH_START has a digest"},
		"log over the bound":                  {append(bytes.Clone(header), make([]byte, eventlog.MaxLogSize)...), "more than the 16777216"},
		"txt descriptor of revision 2":        {edit(txtLog(2, s256), 32+16, 2), "not revision 1"},
		"txt descriptor with algorithm 0":     {edit(txtLog(2, s256), 32+20, 0), "unknown digest algorithm 0"},
		"txt descriptor with algorithm 6":     {edit(txtLog(2, s256), 32+20, 6), "unknown digest algorithm 6"},
		"txt descriptor with another size":    {edit(txtLog(2, s256), 32+24, 20), "digests of sha256 have 32 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := eventlog.Parse(tc.raw)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Parse: %v, want %q", err, tc.want)
			}
			if _, err := eventlog.Trim(tc.raw); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Trim: %v, want %q", err, tc.want)
			}
		})
	}
}

func TestALogMayReachItsBounds(t *testing.T) {
	t.Parallel()
	eight := make([]eventlog.Alg, eventlog.MaxAlgs)
	for i := range eight {
		eight[i] = eventlog.Alg(0x100 + i)
	}
	banks := specID(nil, eight...)
	for i := range eight {
		banks[32+28+4*i+2] = 20
	}
	for name, raw := range map[string][]byte{
		"as many banks":           banks,
		"as much data":            agile(bothBanks, rec{1, 1, filled(1, 1, 1, s256).digests, make([]byte, eventlog.MaxDataSize)}),
		"the last TXT descriptor": txtLog(5, eventlog.AlgSM3),
	} {
		if _, err := eventlog.Parse(raw); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	area := make([]byte, eventlog.MaxLogSize)
	if n, err := eventlog.Trim(area[:copy(area, banks)+len(area)-len(banks)]); err != nil || n != len(banks) {
		t.Errorf("an area of the largest size: end %d (%v)", n, err)
	}
}

func TestARecordThatBeginsWithZerosIsNoPadding(t *testing.T) {
	t.Parallel()
	data, digest := filled(0, 0, 0, s256), filled(0, 0, 1, s256)
	data.data = []byte("x")
	dataSHA1, digestSHA1 := filled(0, 0, 0, s1), filled(0, 0, 1, s1)
	dataSHA1.data = []byte("x")
	for name, raw := range map[string][]byte{
		"crypto-agile": agile(bothBanks, data, digest),
		"sha1":         sha1Log(dataSHA1, digestSHA1),
		"txt":          txtLog(2, s256, data, digest),
	} {
		l, err := eventlog.Parse(raw)
		if err != nil || len(l.Events) != 2 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParseMakesRoomForNoMoreEventsThanTheBytesCanHold(t *testing.T) {
	t.Parallel()
	l := parse(t, sha1Log(slices.Repeat([]rec{filled(1, 1, 1, s1)}, 1000)...))
	if len(l.Events) != 1000 || cap(l.Events) != 1000 {
		t.Errorf("%d events, room for %d", len(l.Events), cap(l.Events))
	}
}

func TestDigestsOfUnknownAlgorithmsArePassedOver(t *testing.T) {
	t.Parallel()
	const odd = eventlog.Alg(0x0028)
	header := specID(nil, odd, s256)
	header[32+28+2] = 40
	r := rec{17, 0x404, []dig{{odd, make([]byte, 40)}, {s256, bytes.Repeat([]byte{7}, 32)}}, nil}
	l, err := eventlog.Parse(slices.Concat(header, r.agile()))
	if err != nil {
		t.Fatal(err)
	}
	d, ok := l.Events[0].Digest(s256)
	if !ok || !bytes.Equal(d, r.digests[1].sum) {
		t.Errorf("digest %x, %t", d, ok)
	}
	if algs := l.Events[0].Algs(); !slices.Equal(algs, []eventlog.Alg{odd, s256}) {
		t.Errorf("algorithms %v", algs)
	}
	if _, err := l.Replay(odd).Value(17); err == nil {
		t.Error("a bank of an unknown algorithm was replayed")
	}
}

func TestNamesOfAlgorithmsAndTypesReadBack(t *testing.T) {
	t.Parallel()
	for _, a := range []eventlog.Alg{s1, s256, eventlog.AlgSHA384, eventlog.AlgSHA512, eventlog.AlgSM3} {
		if got, err := eventlog.ParseAlg(a.String()); err != nil || got != a {
			t.Errorf("%s reads back as %s (%v)", a, got, err)
		}
	}
	for _, bad := range []string{"", "SHA256", "sha-256", "0x000b"} {
		if _, err := eventlog.ParseAlg(bad); err == nil {
			t.Errorf("algorithm %q was taken", bad)
		}
	}
	for _, typ := range []eventlog.EventType{0, 3, 0x14, 0x402, 0x409, 0x4AA, 0x4FF, 0x500, 0x501, 0x504, 0x505, 0xABC, 0x80000001, 0x8000000F, 0x800000E4, 0xFFFFFFFF} {
		if got, err := eventlog.ParseEventType(typ.String()); err != nil || got != typ {
			t.Errorf("%s reads back as %s (%v)", typ, got, err)
		}
	}
	for _, bad := range []string{"", "EVTYPE_", "HASH_START", "0x1ffffffff", "EVTYPE_EVTYPE_0x401"} {
		if _, err := eventlog.ParseEventType(bad); err == nil {
			t.Errorf("type %q was taken", bad)
		}
	}
}
