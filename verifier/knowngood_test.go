package verifier_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trustpool/trustpool/verifier"
)

func TestKnownGoodFileIsReadAsWritten(t *testing.T) {
	t.Parallel()
	f := newForgery(t)
	f.known.PCRs[0].Events[0].Description = "SINIT <of the vendor> & \"more\""
	text, err := f.known.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	read, err := verifier.ParseKnownGood(text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(f.known, read); diff != "" {
		t.Errorf("(-written +read)\n%s", diff)
	}
	for _, want := range []string{`"format": "trustpool-known-good/1"`, `SINIT <of the vendor>`, `"type": "0x00000402"`, `"ek_binding": "first_use"`} {
		if !bytes.Contains(text, []byte(want)) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
}

func TestKnownGoodFileTellsAllProblemsAtOnce(t *testing.T) {
	t.Parallel()
	digest, long := strings.Repeat("ab", 32), strings.Repeat("ab", 33)
	_, err := verifier.ParseKnownGood([]byte(`{
		"format": "trustpool-known-good/2",
		"AK": [],
		"ak": [{"name": "00", "public": "!", "ek_binding": "inventory"}],
		"pcrs": [
			{"bank": "sha1", "pcr": 17, "values": ["` + digest + `"]},
			{"bank": "sha256", "pcr": 24, "values": []},
			{"bank": "sha256", "pcr": 18, "values": ["` + digest + `"], "events": []},
			{"bank": "sha256", "pcr": 18, "pcr": 18},
			{"bank": "md5", "pcr": "17", "values": ["` + long + `", "xy", ""]},
			{"bank": "sha256", "pcr": 20, "events": [
				{"type": "EV_IPL", "digests": ["` + long + `"], "any": true},
				{"type": "0x00000402", "description": 1}
			]}
		]
	}`))
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"format: is another format",
		"AK: unknown key",
		"ak[0].public: is not base64",
		`ek_binding: is unknown, write "first_use"`,
		"pcrs[0].bank: a bank of sha1 can't be trusted",
		"pcrs[1].pcr: is not a number from 0 to 23",
		"pcrs[1].values: is empty",
		"pcrs[2].values: write either values or events",
		"pcrs[2].events: is empty",
		"pcrs[3].pcr: stands twice",
		"pcrs[3].pcr: is the second entry of sha256 PCR 18",
		"pcrs[3].values: write either values or events",
		"pcrs[4].bank: unknown hash algorithm",
		"pcrs[4].pcr: is not a number",
		"pcrs[4].values[1]: is not an even number of hexadecimal digits",
		"pcrs[4].values[2]: is not an even number",
		"pcrs[5].events[0].type: is no event type",
		"pcrs[5].events[0].digests[0]: has 33 bytes, write the 32",
		"pcrs[5].events[0].any: unknown key",
		"pcrs[5].events[1].description: is no text",
		"pcrs[5].events[1].digests: is empty",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in\n%v", want, err)
		}
	}
}

func TestKnownGoodFileThatIsNoneIsRefused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "null", "[]", "{", `{"format":"trustpool-known-good/1"} {}`, "{}", `{"format":"trustpool-known-good/1","pcrs":{}}`, "\xff",
		`{"format":` + strings.Repeat("[", 10000),
	} {
		if known, err := verifier.ParseKnownGood([]byte(text)); err == nil || !known.Empty() {
			t.Errorf("%.40q: %+v, %v", text, known, err)
		}
	}
}

func TestPinWhoseNameIsNotThatOfItsKeyIsRefused(t *testing.T) {
	t.Parallel()
	f := newForgery(t)
	text := fmt.Sprintf(`{"format":"trustpool-known-good/1","ak":[{"name":"%x","public":"%s","ek_binding":"first_use"}],"pcrs":[]}`,
		nameOf([]byte("another")), base64.StdEncoding.EncodeToString(f.public))
	if _, err := verifier.ParseKnownGood([]byte(text)); err == nil || !strings.Contains(err.Error(), "ak[0].name: is not the Name of public") {
		t.Errorf("error is %v", err)
	}
}

func TestAKnownGoodFileWithoutEntriesTrustsNothing(t *testing.T) {
	t.Parallel()
	known, err := verifier.ParseKnownGood([]byte(`{"format":"trustpool-known-good/1"}`))
	if err != nil || !known.Empty() {
		t.Fatalf("%+v, %v", known, err)
	}
	f := newForgery(t)
	if r := verifier.Verify(f.evidence(t), rawPolicy(known, f.nonce)); r.Verdict != verifier.Refused {
		t.Error(r)
	}
}
