package cel_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trustpool/trustpool/verifier/eventlog"
	"github.com/trustpool/trustpool/verifier/eventlog/cel"
)

var formats = []cel.Format{cel.FormatTLV, cel.FormatJSON}

func comesBack(t *testing.T, raw []byte) {
	t.Helper()
	for _, f := range formats {
		out, err := cel.Encode(parse(t, raw), f)
		if err != nil {
			t.Fatal(err)
		}
		if got := cel.Detect(out); got != f {
			t.Errorf("%s is taken for %s", f, got)
		}
		log, err := cel.Decode(out)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(log.Bytes(), raw) {
			t.Errorf("%s: another log comes back", f)
		}
	}
	if f := cel.Detect(raw); f != cel.FormatUnknown {
		t.Errorf("the log itself is taken for %s", f)
	}
}

func TestEveryLogComesBackByteByByte(t *testing.T) {
	t.Parallel()
	for name, raw := range samples() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			comesBack(t, raw)
		})
	}
}

func TestLogsOfRealMachinesComeBackByteByByte(t *testing.T) {
	t.Parallel()
	for name, raw := range realLogs(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			comesBack(t, raw)
		})
	}
}

// TestTheBytesAreThoseOfTheSpecification: two records as CEL 5.1 lays them out, written by hand; integers of another length say the same.
func TestTheBytesAreThoseOfTheSpecification(t *testing.T) {
	t.Parallel()
	raw := legacy(4, 0xD, bytes.Repeat([]byte{0xAA}, 20), []byte{1, 2, 3})
	digest := strings.Repeat("aa", 20)
	ours := "00" + "00000008" + "0000000000000000" + "01" + "00000001" + "04" + "03" + "00000019" + "04" + "00000014" + digest +
		"05" + "00000011" + "00" + "00000004" + "0000000d" + "01" + "00000003" + "010203"
	out, err := cel.Encode(parse(t, raw), cel.FormatTLV)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(unhex(t, ours), out); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}

	short := "00" + "00000001" + "07" + "01" + "00000004" + "00000004" + "03" + "00000019" + "04" + "00000014" + digest +
		"05" + "0000000e" + "00" + "00000001" + "0d" + "01" + "00000003" + "010203"
	log, err := cel.Decode(unhex(t, short))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(log.Bytes(), raw) {
		t.Errorf("read as %x", log.Bytes())
	}
}

// TestTheExampleOfTheSpecificationIsRead: the record of CEL 5.3. It stands in a log whose header this test adds.
func TestTheExampleOfTheSpecificationIsRead(t *testing.T) {
	t.Parallel()
	header, err := cel.Encode(parse(t, agile()), cel.FormatJSON)
	if err != nil {
		t.Fatal(err)
	}
	example := `{"content": {"event_type": "EV_COMPACT_HASH", "event_data": "44656c6c20436f6e66696775726174696f6e20496e666f726d6174696f6e2032"},
	  "content_type": "pcclient_std", "pcr": 6, "recnum": 2, "digests": [
	    {"hashAlg": "sha1", "digest": "bac9a8935b720760bcdea2faae75152f5d1e4bea"},
	    {"hashAlg": "sha256", "digest": "d18bf8d221a3a3b08774c8d077328c4b2ca205e4f1618ad4bac2b5786f453bc7"}]}`
	log, err := cel.Decode([]byte(strings.Replace(string(header), "\n]", ",\n"+example+"]", 1)))
	if err != nil {
		t.Fatal(err)
	}
	e := log.Events[0]
	if e.PCR != 6 || e.Type != eventlog.TypeCompactHash || string(e.Data) != "Dell Configuration Information 2" {
		t.Errorf("read as %+v", e)
	}
	for alg, want := range map[eventlog.Alg]string{
		eventlog.AlgSHA1: "bac9a8935b720760bcdea2faae75152f5d1e4bea", eventlog.AlgSHA256: "d18bf8d221a3a3b08774c8d077328c4b2ca205e4f1618ad4bac2b5786f453bc7",
	} {
		if digest, _ := e.Digest(alg); !bytes.Equal(digest, unhex(t, want)) {
			t.Errorf("%s: %x", alg, digest)
		}
	}
}

func TestRecordsAreNumberedForEachPCR(t *testing.T) {
	t.Parallel()
	out, err := cel.Encode(parse(t, agile(event(0, 8, 1, nil), event(17, 0x402, 2, nil), event(0, 4, 3, nil), event(17, 0x501, 4, nil))), cel.FormatJSON)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(string(out)) {
		if begin, _, ok := strings.Cut(line, `,"digests"`); ok {
			got = append(got, begin)
		}
	}
	want := []string{`{"recnum":0,"pcr":0`, `{"recnum":1,"pcr":0`, `{"recnum":0,"pcr":17`, `{"recnum":2,"pcr":0`, `{"recnum":1,"pcr":17`}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestNamesOfFormatsAreReadAsWritten(t *testing.T) {
	t.Parallel()
	for _, f := range formats {
		if got, err := cel.ParseFormat(f.String()); err != nil || got != f {
			t.Errorf("%s: %s, %v", f, got, err)
		}
	}
	if _, err := cel.ParseFormat("unknown"); err == nil {
		t.Error("the unknown format is taken")
	}
	if _, err := cel.Encode(parse(t, agile()), cel.FormatUnknown); err == nil {
		t.Error("a log is written in no format")
	}
}
