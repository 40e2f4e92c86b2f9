package cmw_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/cmw"
	"github.com/trustpool/trustpool/verifier/eventlog"
	"github.com/trustpool/trustpool/verifier/eventlog/cel"
	"github.com/trustpool/trustpool/verifier/saved"
)

var (
	formats = []cmw.Format{cmw.FormatJSON, cmw.FormatCBOR}
	logs    = []cel.Format{cel.FormatUnknown, cel.FormatJSON, cel.FormatTLV}
)

// sha1Log is a log of one event (PFP 9.2.1).
func sha1Log() []byte {
	return slices.Concat([]byte{17, 0, 0, 0, 2, 4, 0, 0}, bytes.Repeat([]byte{0xAB}, 20), []byte{3, 0, 0, 0}, []byte("MLE"))
}

// evidence has all files that a folder may have.
func evidence() verifier.Evidence {
	return verifier.Evidence{
		Quoted: []byte("quoted"), Signature: []byte("signature"), Nonce: []byte("nonce"), AKPublic: []byte("public"), AKParent: []byte("parent"),
		AKCertificates: [][]byte{[]byte("its own"), []byte("the CA's")},
		PCRs:           []verifier.PCRBank{{Alg: eventlog.AlgSHA256, Values: []verifier.PCRValue{{Index: 17, Value: bytes.Repeat([]byte{1}, 32)}}}},
		Binding:        &verifier.Binding{Exporter: []byte("exporter"), Logs: []verifier.BoundLog{{Source: "txt", SHA256: []byte("digest")}}},
		Logs:           []verifier.Log{{Source: "txt", Raw: sha1Log()}, {Source: "firmware", Raw: sha1Log()}},
		Hints:          map[string]string{"version": "1"},
	}
}

func write(t testing.TB, f cmw.Format, l cel.Format) []byte {
	t.Helper()
	out, err := cmw.Encode(evidence(), f, l)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestEvidenceComesBackFromEveryForm(t *testing.T) {
	t.Parallel()
	for _, f := range formats {
		for _, l := range logs {
			out := write(t, f, l)
			if got := cmw.Detect(out); got != f {
				t.Errorf("%s with %s logs is taken for %s", f, l, got)
			}
			got, err := cmw.Decode(out)
			if err != nil {
				t.Errorf("%s with %s logs: %v", f, l, err)
				continue
			}
			if diff := cmp.Diff(evidence(), got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s with %s logs (-written +read)\n%s", f, l, diff)
			}
		}
	}
}

func TestEvidenceWithoutItsPartsIsNotWritten(t *testing.T) {
	t.Parallel()
	ev := evidence()
	ev.Signature = nil
	for _, f := range formats {
		if _, err := cmw.Encode(ev, f, cel.FormatUnknown); err == nil || !strings.Contains(err.Error(), "quote.sig: it holds nothing") {
			t.Errorf("%s: %v", f, err)
		}
	}
}

func TestALogThatCantBeParsedHasNoCanonicalForm(t *testing.T) {
	t.Parallel()
	ev := evidence()
	ev.Logs = []verifier.Log{{Source: "txt", Raw: []byte("no log")}}
	for _, f := range formats {
		if out, err := cmw.Encode(ev, f, cel.FormatJSON); err == nil || !strings.Contains(err.Error(), "log-txt.bin: parsing event log") {
			t.Errorf("%s: %q, %v", f, out, err)
		}
		if out, err := cmw.Encode(ev, f, cel.FormatUnknown); err != nil || len(out) == 0 {
			t.Errorf("%s: %v", f, err)
		}
	}
}

func TestNamesOfFormatsAreReadAsWritten(t *testing.T) {
	t.Parallel()
	for _, f := range formats {
		if got, err := cmw.ParseFormat(f.String()); err != nil || got != f {
			t.Errorf("%s: %s, %v", f, got, err)
		}
	}
	if _, err := cmw.ParseFormat("unknown"); err == nil {
		t.Error("the unknown format is taken")
	}
	if _, err := cmw.Encode(evidence(), cmw.FormatUnknown, cel.FormatUnknown); err == nil {
		t.Error("evidence is written in no format")
	}
	if got := [...]string{cmw.FormatJSON.MediaType(), cmw.FormatCBOR.MediaType(), cmw.FormatUnknown.MediaType()}; got != [...]string{"application/cmw+json", "application/cmw+cbor", ""} {
		t.Errorf("media types: %q", got)
	}
}

func TestMessagesThatAreNotAsWrittenAreRefused(t *testing.T) {
	t.Parallel()
	message := string(write(t, cmw.FormatJSON, cel.FormatUnknown))
	const quote = `  "quote.msg": ["application/vnd.trustpool.tpms-attest","cXVvdGVk",4],` + "\n"
	for rule, tc := range map[string]struct {
		old, new, want string
		altered        bool
	}{
		"another quote":              {"cXVvdGVk", "UVVPVEVE", "quote.msg is not the file", true},
		"no quote":                   {quote, "", "names quote.msg, which is not there", true},
		"a quote too many":           {quote, quote + quote, "stands twice", false},
		"a member of another name":   {`"quote.msg"`, `"quote.txt"`, "no file of evidence", true},
		"a path":                     {`"quote.msg"`, `"../quote.msg"`, "no file of evidence", true},
		"another type":               {"tpms-attest", "tpmt-signature", "which is not application/vnd.trustpool.tpms-attest", true},
		"another conceptual message": {`"cXVvdGVk",4`, `"cXVvdGVk",8`, "indicator is 8", true},
		"an indicator of nothing":    {`"cXVvdGVk",4`, `"cXVvdGVk",0`, "not a number from 1", false},
		"an indicator too large":     {`"cXVvdGVk",4`, `"cXVvdGVk",4294967296`, "not a number from 1", false},
		"an indicator as text":       {`"cXVvdGVk",4`, `"cXVvdGVk","4"`, "not a number from 1", false},
		"a field too many":           {`"cXVvdGVk",4`, `"cXVvdGVk",4,4`, "there is no ]", false},
		"no value":                   {`"cXVvdGVk",4`, `4`, "its value: it is no text", false},
		"an empty value":             {`"cXVvdGVk",4`, `"",4`, "it holds nothing", false},
		"padding":                    {`cXVvdGVk`, `cXVvdGU=`, "not base64url", false},
		"base64 of the other kind":   {`cXVvdGVk`, `cXVv+/Vk`, "not base64url", false},
		"a line break":               {`cXVvdGVk`, `cXVv\ndGVk`, "not base64url", false},
		"bits that mean nothing":     {`cXVvdGVk`, `cXVvdGV`, "not base64url", false},
		"a collection in it":         {`["application/vnd.trustpool.tpms-attest","cXVvdGVk",4]`, `{}`, "there is no [", false},
		"another collection":         {cmw.CollectionType, "tag:example.com,2024:another", "is of the type", false},
		"a collection of no type":    {`"__cmwc_t"`, `"evidence"`, "there is no [", false},
		"a label without end":        {`"quote.msg"`, `"` + strings.Repeat("q", 97) + `"`, "more than 96 bytes", false},
		"members without end":        {quote, strings.Repeat(quote, 0) + manyMembers(), "more than 32 members", false},
		"no end":                     {"\n}\n", "", "EOF", false},
		"something after the end":    {"\n}\n", "\n}{}", "follows its end", false},
		"bytes that are no text":     {"quote.msg", "quote\xFFmsg", "UTF-8", false},
		"no collection":              {"{", "[", "it is no collection", false},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			changed := strings.Replace(message, tc.old, tc.new, 1)
			if changed == message {
				t.Fatal("nothing was changed")
			}
			_, err := cmw.Decode([]byte(changed))
			if err == nil || !strings.Contains(err.Error(), tc.want) || errors.Is(err, saved.ErrAltered) != tc.altered {
				t.Errorf("%v; want %q, altered: %v", err, tc.want, tc.altered)
			}
		})
	}
}

// TestWhatIsNoMessageIsReadInNoForm lets nobody read that evidence was read in a form that there is not.
func TestWhatIsNoMessageIsReadInNoForm(t *testing.T) {
	t.Parallel()
	large := make([]byte, cmw.MaxSize+1)
	for what, tc := range map[string]struct {
		data []byte
		want string
	}{
		"nothing":         {nil, "reading evidence: the message is empty"},
		"too much":        {large, "reading evidence: the message has more than 92274688 bytes"},
		"too much JSON":   {append([]byte("{"), large...), "reading evidence: the message has more than 92274688 bytes"},
		"something other": {[]byte("[]"), "reading evidence: it is no collection, in neither cmw-json nor cmw-cbor"},
	} {
		if _, err := cmw.Decode(tc.data); err == nil || err.Error() != tc.want || errors.Is(err, saved.ErrAltered) {
			t.Errorf("%s: %v, want %s", what, err, tc.want)
		}
	}
}

func manyMembers() string {
	var all strings.Builder
	for n := range 33 {
		all.WriteString(`"` + strings.Repeat("m", n+1) + `": ["application/octet-stream","AA"],`)
	}
	return all.String()
}

func TestALogInAnotherFormThanItsTypeSaysIsRefused(t *testing.T) {
	t.Parallel()
	for _, change := range [][2]string{{"cel+json", "cel-tlv"}, {"cel+json", "tcg-event-log"}} {
		changed := strings.ReplaceAll(string(write(t, cmw.FormatJSON, cel.FormatJSON)), change[0], change[1])
		if _, err := cmw.Decode([]byte(changed)); !errors.Is(err, saved.ErrAltered) {
			t.Errorf("%s as %s: %v", change[0], change[1], err)
		}
	}
}

func TestCBORIsReadInOneWayOnly(t *testing.T) {
	t.Parallel()
	good := write(t, cmw.FormatCBOR, cel.FormatUnknown)
	var all map[string][]any
	if err := cbor.Unmarshal(good, &all); err == nil {
		t.Fatal("the type of the collection is no text")
	}
	quote := slices.Concat([]byte{0x69}, []byte("quote.msg"))
	at := bytes.Index(good, quote)
	record := good[at+len(quote):][:1+2+len("application/vnd.trustpool.tpms-attest")+1+len("quoted")+1]

	edit := func(from, to []byte) []byte { return bytes.Replace(good, from, to, 1) }
	with := func(begin byte, rest ...[]byte) []byte { return append([]byte{begin}, slices.Concat(rest...)...) }
	typ := record[1 : len(record)-8]
	for rule, data := range map[string][]byte{
		"bytes after it":                  append(bytes.Clone(good), 0),
		"no end":                          good[:len(good)-1],
		"a member that stands twice":      with(good[0]+1, good[1:], quote, record),
		"a record of indefinite length":   edit(record, with(0x9F, record[1:], []byte{0xFF})),
		"a tag":                           edit(record, with(0xC1, record)),
		"a value that is text":            edit([]byte("\x46quoted"), []byte("\x66quoted")),
		"a value that is an array":        edit([]byte("\x46quoted\x04"), []byte("\x86\x01\x02\x03\x04\x05\x06\x04")),
		"a type that is a number":         edit(record, with(0x83, []byte{0x19, 0x75, 0x31}, []byte("\x46quoted\x04"))),
		"a type that is a byte string":    edit(record, with(0x83, []byte{0x58}, typ[1:], []byte("\x46quoted\x04"))),
		"an indicator that is zero":       edit(record, with(0x83, typ, []byte("\x46quoted\x00"))),
		"an indicator that is negative":   edit(record, with(0x83, typ, []byte("\x46quoted\x23"))),
		"an indicator that is a fraction": edit(record, with(0x83, typ, []byte("\x46quoted\xF9\x44\x00"))),
		"a record of one field":           edit(record, with(0x81, typ)),
		"a record of four fields":         edit(record, with(0x84, record[1:], []byte{4})),
		"no record":                       edit(record, []byte{0xF6}),
		"a label that is a number":        edit(quote, []byte{0x00}),
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			if bytes.Equal(data, good) {
				t.Fatal("nothing was changed")
			}
			if ev, err := cmw.Decode(data); err == nil {
				t.Errorf("read as %v", ev)
			}
		})
	}
}

// FuzzDecode: a message that is read is, written anew in each form, the same evidence.
func FuzzDecode(f *testing.F) {
	for _, format := range formats {
		for _, l := range logs {
			f.Add(write(f, format, l))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		ev, err := cmw.Decode(data)
		if err != nil {
			return
		}
		for _, format := range formats {
			out, err := cmw.Encode(ev, format, cel.FormatUnknown)
			if err != nil {
				t.Fatalf("%s: what was read can't be written: %v", format, err)
			}
			back, err := cmw.Decode(out)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(ev, back, cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("%s: other evidence comes back (-read +again)\n%s", format, diff)
			}
		}
	})
}
