package eventlog_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trustpool/trustpool/verifier/eventlog"
)

func parse(t testing.TB, raw []byte) *eventlog.Log {
	t.Helper()
	l, err := eventlog.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}

	return l
}

// fold is the replay in three lines: start, then H(value || digest) for each digest.
func fold(a eventlog.Alg, start byte, digests ...[]byte) []byte {
	v := bytes.Repeat([]byte{start}, a.Size())
	for _, d := range digests {
		v = sum(a, v, d)
	}

	return v
}

// digestsOf are the digests of a bank that records extend into a PCR.
func digestsOf(a eventlog.Alg, pcr uint32, recs []rec) [][]byte {
	var all [][]byte
	for _, r := range recs {
		for _, d := range r.digests {
			if r.pcr == pcr && d.alg == a {
				all = append(all, d.sum)
			}
		}
	}

	return all
}

func TestReplayOfALaunchFoldsTheDigestsFromZeros(t *testing.T) {
	t.Parallel()
	algs := []eventlog.Alg{s1, s256, eventlog.AlgSHA384, eventlog.AlgSHA512}
	recs := launch(algs...)[:5]
	l := parse(t, agile(algs, recs...))
	for _, a := range algs {
		r := l.Replay(a)
		if !r.Launched || r.Alg != a {
			t.Errorf("%s: launched %t, algorithm %s", a, r.Launched, r.Alg)
		}
		for pcr, events := range map[int]int{17: 3, 18: 1, 19: 0, 0: 0, 22: 0} {
			want := fold(a, 0, digestsOf(a, uint32(pcr), recs)...)
			got, err := r.Value(pcr)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s PCR %d = %x (%v), want %x", a, pcr, got, err, want)
			}
			if r.PCRs[pcr].Events != events {
				t.Errorf("%s PCR %d has %d events, want %d", a, pcr, r.PCRs[pcr].Events, events)
			}
		}
	}
}

func TestWithoutALaunchTheDynamicPCRsHoldFF(t *testing.T) {
	t.Parallel()
	for name, raw := range map[string][]byte{
		"header only": agile(bothBanks),
		"firmware":    agile(bothBanks, filled(0, 1, 1, bothBanks...)),
	} {
		r := parse(t, raw).Replay(s256)
		if r.Launched {
			t.Errorf("%s: launched", name)
		}
		for pcr := range eventlog.NumPCRs {
			start := byte(0)
			if pcr >= 17 && pcr <= 22 {
				start = 0xFF
			}
			if pcr == 0 && name == "firmware" {
				continue
			}
			got, err := r.Value(pcr)
			if err != nil || !bytes.Equal(got, fold(s256, start)) || r.PCRs[pcr].Events != 0 {
				t.Errorf("%s: PCR %d = %x (%v), %d events", name, pcr, got, err, r.PCRs[pcr].Events)
			}
		}
	}
}

func TestWhatBreaksAReplayIsNamed(t *testing.T) {
	t.Parallel()
	start := hashed(17, eventlog.TypeHashStart, make([]byte, 36), bothBanks...)
	mle := filled(17, eventlog.TypeMLEHash, 1, bothBanks...)
	locality := func(b byte) rec {
		return rec{typ: 3, digests: filled(0, 0, 0, bothBanks...).digests, data: append([]byte("StartupLocality\x00"), b)}
	}
	for name, tc := range map[string]struct {
		recs  []rec
		pcr   int
		event int
		want  string
	}{
		"digest of the bank is missing":      {[]rec{start, mle, filled(17, 0x501, 1, s1), filled(17, 0x502, 1, s1)}, 17, 3, "has no sha256 digest"},
		"first event is not HASH_START":      {[]rec{mle, start}, 17, 1, "before a HASH_START"},
		"no HASH_START":                      {[]rec{mle}, 17, 1, "before a HASH_START"},
		"PCR 18 has events without a launch": {[]rec{filled(18, 0x404, 1, bothBanks...)}, 18, 1, "before a HASH_START"},
		"PCR 18 has events before launch":    {[]rec{filled(18, 0x404, 1, bothBanks...), start, mle}, 18, 1, "before a HASH_START"},
		"PCR 22 has events without a launch": {[]rec{filled(22, 0x501, 1, bothBanks...)}, 22, 1, "before a HASH_START"},
		"second HASH_START":                  {[]rec{start, mle, start}, 17, 3, "second HASH_START"},
		"second HASH_START for PCR 19":       {[]rec{start, mle, start}, 19, 3, "second HASH_START"},
		"HASH_START of another PCR":          {[]rec{start, hashed(18, 0x402, make([]byte, 36), bothBanks...)}, 18, 2, "PCR 17 only"},
		"HASH_START without the bank":        {[]rec{hashed(17, 0x402, make([]byte, 36), s1), mle}, 17, 1, "has no sha256 digest"},
		"StartupLocality 1":                  {[]rec{locality(1)}, 0, 1, "localities 0 and 3"},
		"two StartupLocalities":              {[]rec{locality(3), locality(3), locality(0)}, 0, 3, "second StartupLocality"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := parse(t, agile(bothBanks, tc.recs...)).Replay(s256)
			v, err := r.Value(tc.pcr)
			var re *eventlog.ReplayError
			if !errors.As(err, &re) || v != nil {
				t.Fatalf("value %x, error %v", v, err)
			}
			if re.Event != tc.event || re.PCR != tc.pcr || re.Alg != s256 || !strings.Contains(re.Error(), tc.want) {
				t.Errorf("%v, want event %d and %q", re, tc.event, tc.want)
			}
			if _, err := r.Value(23); err != nil {
				t.Errorf("PCR 23 has no part in it: %v", err)
			}
		})
	}
}

func TestTheFirstEventOfALogWithoutAHeaderIsNamed(t *testing.T) {
	t.Parallel()
	_, err := parse(t, sha1Log(filled(18, eventlog.TypeMLEHash, 1, s1))).Replay(s1).Value(18)
	if err == nil || !strings.Contains(err.Error(), "event 0 (") {
		t.Error(err)
	}
}

func TestAnEventOfNoPCRIsReplayedIntoNone(t *testing.T) {
	t.Parallel()
	l := parse(t, agile(bothBanks, filled(16, 1, 1, s256)))
	want := parse(t, agile(bothBanks)).Replay(s256)
	l.Events[0].PCR = eventlog.NumPCRs // no log that was read has this, but the field is there to be set
	if diff := cmp.Diff(want, l.Replay(s256)); diff != "" {
		t.Error(diff)
	}
}

func TestTheFirstEventWhoseExtendRuleIsNotPublicIsNamed(t *testing.T) {
	t.Parallel()
	start := hashed(17, eventlog.TypeHashStart, make([]byte, 36), s256)
	for typ, doubt := range map[eventlog.EventType]bool{
		eventlog.TypeColdBootBIOSHash - 1: false, eventlog.TypeColdBootBIOSHash: true, eventlog.TypeBootPolHash: true, eventlog.TypeBootPolHash + 1: false,
	} {
		recs := []rec{start, filled(17, typ, 1, s256), filled(17, typ, 2, s256)}
		p := parse(t, agile(bothBanks, recs...)).Replay(s256).PCRs[17]
		if p.Err != nil || !bytes.Equal(p.Value, fold(s256, 0, digestsOf(s256, 17, recs)...)) {
			t.Errorf("%s: PCR 17 = %x (%v): such an event is assumed to be extended like any other", typ, p.Value, p.Err)
		}
		if named := strings.HasPrefix(p.Doubt, "event 2 ("); named != doubt || !doubt && p.Doubt != "" {
			t.Errorf("%s: doubt %q", typ, p.Doubt)
		}
	}
}

func TestABrokenPCRBreaksNoOther(t *testing.T) {
	t.Parallel()
	recs := launch(bothBanks...)
	r := parse(t, agile(bothBanks, recs...)).Replay(s1)
	for _, pcr := range []int{17, 18} {
		if _, err := r.Value(pcr); err == nil {
			t.Errorf("sha1 PCR %d replays though tboot logged sha256 only", pcr)
		}
	}
	if v, err := r.Value(19); err != nil || !bytes.Equal(v, make([]byte, 20)) {
		t.Errorf("PCR 19 = %x (%v)", v, err)
	}
	if r.PCRs[17].Events != 5 {
		t.Errorf("PCR 17 has %d events, want 5: broken, but counted", r.PCRs[17].Events)
	}
}

func TestInformativeEventsAreNotExtended(t *testing.T) {
	t.Parallel()
	start := hashed(17, eventlog.TypeHashStart, make([]byte, 36), s256)
	want := parse(t, agile(bothBanks, start)).Replay(s256).PCRs[17]
	for _, r := range []rec{
		filled(17, eventlog.TypeNoAction, 5, s256),
		filled(0xFFFFFFFF, eventlog.TypeNoAction, 5, s256),
		filled(0xFF, eventlog.TypePCRMapping, 0, s256),
		filled(17, eventlog.TypePCRMapping, 5, s256),
		filled(17, eventlog.TypeSlaunchStart, 0, s256),
		filled(17, eventlog.TypeSlaunchEnd, 0, s256),
		filled(17, eventlog.TypeNoAction, 5, s1), // not even its missing digest matters
	} {
		l := parse(t, agile(bothBanks, start, r))
		if l.Events[1].Extended() {
			t.Errorf("%s counts as extended", l.Events[1].Type)
		}
		if diff := cmp.Diff(want, l.Replay(s256).PCRs[17]); diff != "" {
			t.Errorf("%s changes PCR 17:\n%s", l.Events[1].Type, diff)
		}
	}
	if l := parse(t, agile(bothBanks, start, filled(17, eventlog.TypeSlaunch, 1, s256))); !l.Events[1].Extended() {
		t.Error("an event of Secure Launch does not count as extended")
	}
}

func TestPCR0StartsFromTheLocalityOfStartup(t *testing.T) {
	t.Parallel()
	locality := func(b byte) rec {
		return rec{typ: 3, digests: filled(0, 0, 0, s256).digests, data: append([]byte("StartupLocality\x00"), b)}
	}
	version := filled(0, eventlog.TypeSCRTMVersion, 9, s256)
	hcrtm := filled(0, eventlog.TypeEFIHCRTM, 8, s256)
	for name, tc := range map[string]struct {
		recs []rec
		last byte
	}{
		"not told":              {[]rec{version}, 0},
		"locality 0":            {[]rec{locality(0), version}, 0},
		"locality 3":            {[]rec{locality(3), version}, 3},
		"locality 3, told late": {[]rec{version, locality(3)}, 3},
		"H-CRTM":                {[]rec{hcrtm, version}, 4},
		"H-CRTM, locality 4":    {[]rec{locality(4), hcrtm, version}, 4},
		"H-CRTM, locality 3":    {[]rec{locality(3), hcrtm, version}, 4},
		"another PCR's event":   {[]rec{{7, 3, locality(3).digests, locality(3).data}, version}, 0},
		"another length":        {[]rec{{0, 3, locality(3).digests, append(locality(3).data, 0)}, version}, 0},
	} {
		want := make([]byte, 32)
		want[31] = tc.last
		for _, d := range digestsOf(s256, 0, tc.recs) {
			if !bytes.Equal(d, make([]byte, 32)) {
				want = sum(s256, want, d)
			}
		}
		if got, err := parse(t, agile(bothBanks, tc.recs...)).Replay(s256).Value(0); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: PCR 0 = %x (%v), want %x", name, got, err, want)
		}
	}
}

func TestABankThatIsNotThereReplaysToNothing(t *testing.T) {
	t.Parallel()
	l := parse(t, agile([]eventlog.Alg{s256, eventlog.AlgSM3}))
	for a, want := range map[eventlog.Alg]string{s1: ": the log has no sha1 bank", eventlog.AlgSM3: "cannot be computed", 0: "0x0000 cannot be computed"} {
		r := l.Replay(a)
		for pcr := range eventlog.NumPCRs {
			v, err := r.Value(pcr)
			var re *eventlog.ReplayError
			if v != nil || !errors.As(err, &re) || re.Event != -1 || !strings.Contains(re.Error(), want) || strings.Contains(re.Error(), "event") {
				t.Errorf("%s PCR %d: %x, %v", a, pcr, v, err)
			}
		}
	}
}

func TestZeroValuesReplayToNothing(t *testing.T) {
	t.Parallel()
	var l eventlog.Log
	if v, err := l.Replay(s256).Value(17); v != nil || err == nil {
		t.Errorf("zero Log: %x, %v", v, err)
	}
	for _, pcr := range []int{-1, 0, 17, 24} {
		if v, err := (eventlog.Replay{}).Value(pcr); v != nil || err == nil {
			t.Errorf("zero Replay, PCR %d: %x, %v", pcr, v, err)
		}
	}
	var e eventlog.Event
	if _, ok := e.Digest(s256); ok || e.CheckData(s256) != eventlog.DataUnbound || len(e.Algs()) != 0 {
		t.Error("zero Event has a digest")
	}
	if b := l.Bytes(); len(b) != 0 {
		t.Errorf("zero Log writes %x", b)
	}
}

func TestOriginalTXTLogsReplayLikeTheCryptoAgileLog(t *testing.T) {
	t.Parallel()
	recs := launch(s256)
	want := parse(t, agile(bothBanks, recs...)).Replay(s256)
	l := parse(t, txtLog(2, s256, recs...))
	if l.Format != eventlog.FormatTXT {
		t.Errorf("format %s", l.Format)
	}
	if diff := cmp.Diff(want, l.Replay(s256)); diff != "" {
		t.Error(diff)
	}
	if _, err := l.Replay(s1).Value(17); err == nil {
		t.Error("a bank of another buffer was replayed")
	}

	sha1Recs := launch(s1)[:5]
	if diff := cmp.Diff(parse(t, agile(bothBanks, sha1Recs...)).Replay(s1), parse(t, sha1Log(sha1Recs...)).Replay(s1)); diff != "" {
		t.Error(diff)
	}
}

func TestDataIsCheckedAgainstItsDigest(t *testing.T) {
	t.Parallel()
	changed := hashed(17, eventlog.TypeHashStart, make([]byte, 36), bothBanks...)
	changed.data = append([]byte{1}, make([]byte, 35)...)
	cmdline := filled(8, eventlog.TypeIPL, 1, s256)
	cmdline.data = []byte("kernel_cmdline: ro")
	for name, tc := range map[string]struct {
		rec  rec
		alg  eventlog.Alg
		want eventlog.Binding
	}{
		"bound and equal":                  {hashed(17, eventlog.TypeHashStart, make([]byte, 36), bothBanks...), s256, eventlog.DataMatches},
		"bound and changed":                {changed, s256, eventlog.DataDiffers},
		"bound and changed, other bank":    {changed, s1, eventlog.DataDiffers},
		"bound, but the bank is not there": {hashed(17, eventlog.TypeHashStart, make([]byte, 36), s1), s256, eventlog.DataUnbound},
		"no data":                          {filled(17, eventlog.TypeMLEHash, 1, s256), s256, eventlog.DataUnbound},
		"digest of something else":         {cmdline, s256, eventlog.DataUnbound},
		"equal though nothing demands it":  {hashed(8, eventlog.TypeIPL, []byte("x"), s256), s256, eventlog.DataMatches},
		"not extended":                     {hashed(0, eventlog.TypeNoAction, []byte("x"), s256), s256, eventlog.DataUnbound},
		"algorithm that has no hash":       {changed, eventlog.AlgSM3, eventlog.DataUnbound},
	} {
		l := parse(t, agile(bothBanks, tc.rec))
		if got := l.Events[0].CheckData(tc.alg); got != tc.want {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
	}
}
