package cel_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/trustpool/trustpool/verifier/eventlog"
	"github.com/trustpool/trustpool/verifier/eventlog/cel"
)

// tlv writes one entry.
func tlv(typ byte, value ...byte) []byte {
	return slices.Concat([]byte{typ, 0, 0, byte(len(value) >> 8), byte(len(value))}, value)
}

func TestRecordsThatNoLogHasAreRefused(t *testing.T) {
	t.Parallel()
	num, pcr, digests := tlv(0, 0), tlv(1, 4), tlv(3, tlv(4, make([]byte, 20)...)...)
	typ, data := tlv(0, 13), tlv(1, 'x')
	content := tlv(5, slices.Concat(typ, data)...)
	good := slices.Concat(num, pcr, digests, content)
	if _, err := cel.Decode(good); err != nil {
		t.Fatal(err)
	}
	for rule, tc := range map[string]struct {
		data []byte
		want string
	}{
		"nothing":                    {nil, "neither"},
		"a log of firmware":          {agile(), "neither"},
		"a record that breaks off":   {good[:len(good)-1], "its content"},
		"bytes after the last":       {append(bytes.Clone(good), 0), "breaks off"},
		"a number of nine bytes":     {slices.Concat(tlv(0, make([]byte, 9)...), pcr, digests, content), "neither"},
		"a later number of nine":     {slices.Concat(good, tlv(0, make([]byte, 9)...), pcr, digests, content), "not 1 to 8"},
		"a PCR of five bytes":        {slices.Concat(num, tlv(1, 0, 0, 0, 0, 4), digests, content), "not 1 to 4"},
		"a PCR that no TPM has":      {slices.Concat(num, tlv(1, 24), digests, content), "PCR index 24"},
		"an NV index":                {slices.Concat(good, tlv(0, 1), tlv(2, 1), digests, content), "type 2 stands where one of type 1"},
		"content of IMA":             {slices.Concat(num, pcr, digests, tlv(7, slices.Concat(typ, data)...)), "type 7 stands where one of type 5"},
		"content that goes on":       {slices.Concat(num, pcr, digests, tlv(5, slices.Concat(typ, data, data)...)), "follow the event's data"},
		"a type of five bytes":       {slices.Concat(num, pcr, digests, tlv(5, slices.Concat(tlv(0, 0, 0, 0, 0, 13), data)...)), "not 1 to 4"},
		"a digest of SHA-256":        {slices.Concat(num, pcr, tlv(3, tlv(11, make([]byte, 32)...)...), content), "event"},
		"a digest that is too short": {slices.Concat(num, pcr, tlv(3, tlv(4, make([]byte, 19)...)...), content), "event"},
		"no digest":                  {slices.Concat(num, pcr, tlv(3), content), "less than one record"},
		"digests without end":        {slices.Concat(num, pcr, tlv(3, bytes.Repeat(tlv(4), 9)...), content), "more than 8"},
		"an empty number":            {slices.Concat(tlv(0), pcr, digests, content), "neither"},
		"a number alone":             {num, "neither"},
		"a digest that breaks off":   {slices.Concat(num, pcr, tlv(3, 4, 0, 0, 0, 1), content), "it has 1 bytes, and 0 are left"},
		"a third record of nothing":  {slices.Concat(good, tlv(0, 1), good[len(num):], tlv(0, 2)), "record 2: "},
		"numbers that do not rise":   {slices.Concat(good, good), "they have to rise"},
		"a record that is padding":   {slices.Concat(good, tlv(0, 1), pcr[:5], []byte{0}, digests, tlv(5, slices.Concat(tlv(0, 0), tlv(1))...)), "padding"},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			log, err := cel.Decode(tc.data)
			if err == nil || !strings.Contains(err.Error(), tc.want) || log != nil {
				t.Errorf("%v, %v; want %q", log, err, tc.want)
			}
		})
	}
}

func TestJSONIsReadToTheLetter(t *testing.T) {
	t.Parallel()
	const digest = "0000000000000000000000000000000000000000"
	good := `[{"recnum":0,"pcr":4,"digests":[{"hashAlg":"sha1","digest":"` + digest + `"}],"content_type":"pcclient_std","content":{"event_type":13,"event_data":"78"}}]`
	if _, err := cel.Decode([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for rule, tc := range map[string]struct{ old, new, want string }{
		"another key":                {`"pcr"`, `"x":1,"pcr"`, "unknown key"},
		"a key that stands twice":    {`"pcr":4`, `"pcr":4,"pcr":4`, "stands twice"},
		"another case of a key":      {`"pcr"`, `"PCR"`, "pcr: missing"},
		"an NV index":                {`"pcr":4`, `"nv_index":4`, "pcr: missing"},
		"a number below zero":        {`"recnum":0`, `"recnum":-1`, "recnum: is not a number"},
		"a number with a fraction":   {`"pcr":4`, `"pcr":4.0`, "pcr: is not a number"},
		"a PCR of 33 bits":           {`"pcr":4`, `"pcr":4294967296`, "pcr: is not a number"},
		"odd digits":                 {`"78"`, `"7"`, "event_data: is not hexadecimal"},
		"no data":                    {`,"event_data":"78"`, ``, "event_data: missing"},
		"content of systemd":         {`pcclient_std`, `systemd`, "only pcclient_std is read"},
		"content that is none":       {`{"event_type":13,"event_data":"78"}`, `"78"`, "content: is no object"},
		"a hash that nobody knows":   {`sha1`, `md5`, "hashAlg: is no algorithm"},
		"a number that is too long":  {`sha1`, `0x10004`, "hashAlg: is no algorithm"},
		"a type that nobody names":   {`13`, `"EV_NOTHING"`, "event_type: is no name"},
		"a type of Intel's by name":  {`13`, `"EVTYPE_HASH_START"`, "event_type: is no name"},
		"nine digests":               {`[{"hashAlg"`, `[` + strings.Repeat(`{"hashAlg":"sha1","digest":""},`, 8) + `{"hashAlg"`, "are 9"},
		"something after the end":    {`}}]`, `}}] []`, "follows the end"},
		"no end":                     {`}}]`, `}}`, "EOF"},
		"a record that is none":      {`[{`, `[7,{`, "not a JSON object"},
		"a second record of nothing": {`}}]`, `}},7]`, "record 1: "},
		"eight digests":              {`[{"hashAlg"`, `[` + strings.Repeat(`{"hashAlg":"sha1","digest":""},`, 7) + `{"hashAlg"`, "its digests are not those"},
		"bytes that are no text":     {`pcclient_std`, "\xFF", "UTF-8"},
		"a digest of another length": {digest, digest[2:], "event"},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			text := strings.Replace(good, tc.old, tc.new, 1)
			if text == good {
				t.Fatal("nothing was changed")
			}
			if _, err := cel.Decode([]byte(text)); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v; want %q", err, tc.want)
			}
		})
	}
}

func TestDigestsThatMoveWhatFollowsAreRefused(t *testing.T) {
	t.Parallel()
	// A digest that is ten bytes too short, and data that begins with what its end and the length of the data would be: the log that comes out parses.
	data := append(make([]byte, 10), 0, 0, 0, 0)
	header, err := cel.Encode(parse(t, agile()), cel.FormatTLV)
	if err != nil {
		t.Fatal(err)
	}
	moved := slices.Concat(header, tlv(0, 0), tlv(1, 17), tlv(3, tlv(4, make([]byte, 6)...)...), tlv(5, slices.Concat(tlv(0, 13), tlv(1, data...))...))
	if log, err := cel.Decode(moved); err == nil {
		t.Errorf("read as %x", log.Bytes())
	}
}

func TestALogThatIsTooLargeIsRefused(t *testing.T) {
	t.Parallel()
	large := make([]byte, cel.MaxSize+1)
	copy(large, slices.Concat(tlv(0, 0), tlv(1, 4)))
	if _, err := cel.Decode(large); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Error(err)
	}

	if _, err := cel.Decode(large[:cel.MaxSize]); err == nil || strings.Contains(err.Error(), "more than") {
		t.Errorf("of the largest size: %v", err)
	}

	record := slices.Concat(tlv(1, 4), tlv(3, tlv(4, bytes.Repeat([]byte{1}, 20)...)...), tlv(5, slices.Concat(tlv(0, 13), []byte{1, 0, 0x0F, 0xFF, 0xE0}, make([]byte, 0xFFFE0))...))
	copy(record[len(tlv(1, 4))+len(tlv(3, tlv(4, make([]byte, 20)...)...)):], []byte{5, 0, 0x0F, 0xFF, 0xEB})
	var many []byte
	for n := range 16 { // a log of a MiB each
		many = slices.Concat(many, tlv(0, byte(n)), record)
	}
	if log, err := cel.Decode(many); err != nil || len(log.Bytes()) != eventlog.MaxLogSize {
		t.Errorf("a log of the largest size: %v", err)
	}
	many = slices.Concat(many, tlv(0, 16), record)
	if _, err := cel.Decode(many); err == nil || !strings.Contains(err.Error(), "the log has more than") {
		t.Errorf("%.200v", err)
	}
}

// FuzzDecode: what is read is a log, and is, written anew in each form, the same one.
func FuzzDecode(f *testing.F) {
	for _, raw := range samples() {
		for _, format := range formats {
			out, err := cel.Encode(parse(f, raw), format)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(out)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		log, err := cel.Decode(data)
		if err != nil {
			return
		}
		if again, err := eventlog.Parse(log.Bytes()); err != nil || len(again.Events) != len(log.Events) {
			t.Fatalf("what was read is no log: %v", err)
		}
		for _, format := range formats {
			out, err := cel.Encode(log, format)
			if err != nil {
				continue // an algorithm whose number is too large, or a log of too many bytes
			}
			back, err := cel.Decode(out)
			if err != nil || !bytes.Equal(back.Bytes(), log.Bytes()) {
				t.Fatalf("%s: another log comes back: %v", format, err)
			}
		}
	})
}
