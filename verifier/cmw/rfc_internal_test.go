package cmw

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The examples of RFC 9999, section 5. That of 5.2 has a CoAP Content-Format, 5.3 and 5.5 have Tag CMWs: these are not read, and have to be refused for that.
const (
	example51 = `["application/vnd.example.rats-conceptual-msg", "I0faVQ"]`
	example52 = "82197531442347da55"
	example53 = "da637476a7442347da55"
	example54 = "83746170706c69636174696f6e2f72696d2b636f73654ad28440a044d901f5a04003"
	example56 = `{
  "__cmwc_t": "tag:example.com,2024:another-composite-attester",
  "attester A": ["application/eat-ucs+json", "e30K", 4],
  "attester B": ["application/eat-ucs+cbor", "oA", 4]
}`
)

func TestRecordsOfTheRFCAreRead(t *testing.T) {
	t.Parallel()
	var got [2]member
	if err := got[0].take(json.NewDecoder(strings.NewReader(example51))); err != nil {
		t.Errorf("5.1: %v", err)
	}
	mode, err := strictCBOR()
	if err != nil {
		t.Fatal(err)
	}
	if err := got[1].parse(mode, decodeHex(t, example54)); err != nil {
		t.Errorf("5.4: %v", err)
	}
	want := [2]member{
		{typ: "application/vnd.example.rats-conceptual-msg", value: []byte{0x23, 0x47, 0xDA, 0x55}},
		{typ: "application/rim+cose", value: decodeHex(t, "d28440a044d901f5a040"), ind: 3},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(member{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestTheCollectionOfTheRFCIsReadAndWritten(t *testing.T) {
	t.Parallel()
	want := collection{typ: "tag:example.com,2024:another-composite-attester", members: []member{
		{label: "attester A", typ: "application/eat-ucs+json", value: []byte("{}\n"), ind: 4},
		{label: "attester B", typ: "application/eat-ucs+cbor", value: []byte{0xA0}, ind: 4},
	}}
	got, err := parseJSON([]byte(example56))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(collection{}, member{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}

	written, err := got.json()
	if err != nil {
		t.Fatal(err)
	}
	var ours, theirs any
	if err := json.Unmarshal(written, &ours); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(example56), &theirs); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(theirs, ours); diff != "" {
		t.Errorf("(-RFC +ours)\n%s", diff)
	}
}

// TestCBORIsWrittenAsTheRFCLaysItOut compares bytes with ones written by hand: the record of example 5.4 in a collection.
func TestCBORIsWrittenAsTheRFCLaysItOut(t *testing.T) {
	t.Parallel()
	c := collection{typ: "x:y", members: []member{{label: "A", typ: "application/rim+cose", value: decodeHex(t, "d28440a044d901f5a040"), ind: 3}}}
	got, err := c.cbor()
	if err != nil {
		t.Fatal(err)
	}
	want := "a2" + "6141" + example54 + "68" + hex.EncodeToString([]byte(typeKey)) + "63" + hex.EncodeToString([]byte("x:y"))
	if !bytes.Equal(got, decodeHex(t, want)) {
		t.Errorf("%x\nwant %s", got, want)
	}
}

func TestRecordsOfOtherKindsAreRefused(t *testing.T) {
	t.Parallel()
	mode, err := strictCBOR()
	if err != nil {
		t.Fatal(err)
	}
	for name, example := range map[string]string{"5.2": example52, "5.3": example53} {
		var m member
		if err := m.parse(mode, decodeHex(t, example)); err == nil {
			t.Errorf("%s is read as %v", name, m)
		}
		if f := Detect(decodeHex(t, example)); f != FormatUnknown {
			t.Errorf("%s is taken for a collection, %s", name, f)
		}
	}
	integers := "a1" + "00" + example54 // the labels of 5.5
	if c, err := parseCBOR(decodeHex(t, integers)); err == nil {
		t.Errorf("5.5 is read as %v", c)
	}
}

func decodeHex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
