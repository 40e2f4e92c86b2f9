package knowngood_test

import (
	"crypto/sha256"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/eventlog"
	"github.com/trustpool/trustpool/verifier/knowngood"
)

// Values of three banks.
var (
	sha1Value   = strings.Repeat("11", 20)
	sha256Value = strings.Repeat("22", 32)
	sha384Value = strings.Repeat("33", 48)
)

func value(digit byte, size int) verifier.Hex {
	return []byte(strings.Repeat(string(rune(digit)), size))
}

func TestASetIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	known := launched(t, tpmsim.Options{})
	set := knowngood.Set{
		Name: "xen", Description: "Xen <4.17>", Part: "hypervisor", Source: "captured from node1.example",
		ValidFrom: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), KnownGood: known,
	}
	raw, err := knowngood.Export(knowngood.Trustpool, set)
	if err != nil {
		t.Fatal(err)
	}
	again, err := knowngood.Import(knowngood.Trustpool, raw)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(set, again); diff != "" {
		t.Errorf("(-written +read)\n%s", diff)
	}

	bare, err := known.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := knowngood.ParseSet(bare); err != nil || !cmp.Equal(got, knowngood.Set{KnownGood: known}) {
		t.Errorf("a known-good file: %v", err)
	}
}

func TestKeylimePoliciesAreReadByTheLengthOfTheirValues(t *testing.T) {
	t.Parallel()
	set, err := knowngood.Import(knowngood.KeylimePolicy, []byte(`{"22": ["`+sha1Value+`", "0x`+strings.ToUpper(sha256Value)+`", "`+sha256Value+`"], "15": ["`+sha384Value+`"], "mask": "0x408000"}`))
	if err != nil {
		t.Fatal(err)
	}
	want := verifier.KnownGood{PCRs: []verifier.KnownPCR{
		{Bank: eventlog.AlgSHA384, PCR: 15, Values: []verifier.Hex{value(0x33, 48)}},
		{Bank: eventlog.AlgSHA256, PCR: 22, Values: []verifier.Hex{value(0x22, 32)}},
	}}
	if diff := cmp.Diff(want, set.KnownGood); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if diff := cmp.Diff([]knowngood.UntrustedValue{{Bank: "sha1", PCR: 22, Value: value(0x11, 20)}}, set.Untrusted); diff != "" {
		t.Errorf("untrusted (-want +got)\n%s", diff)
	}

	raw, err := knowngood.Export(knowngood.KeylimePolicy, set)
	if err != nil {
		t.Fatal(err)
	}
	if text := "{\n  \"15\": [\"" + sha384Value + "\"],\n  \"22\": [\"" + sha256Value + "\"],\n  \"mask\": \"0x408000\"\n}\n"; string(raw) != text {
		t.Errorf("written as %s", raw)
	}
}

func TestAnMLEsSHA1ValuesAreMarkedAndNeverKnownGood(t *testing.T) {
	t.Parallel()
	set, err := knowngood.Import(knowngood.OpenAttestationMLE, []byte(`{"Name": "Xen", "Version": "4.1", "OsName": "Fedora", "OsVersion": "20", "MLE_Type": "VMM",
		"Attestation_Type": "PCR", "Description": "", "MLE_Manifests": [{"Name": "18", "Value": "`+sha1Value+`"}, {"Name": "17", "Value": "`+sha256Value+`"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	want := knowngood.Set{
		Name: "Xen", Part: "hypervisor", Source: "imported from the OpenAttestation MLE Xen 4.1 Fedora 20",
		KnownGood: verifier.KnownGood{PCRs: []verifier.KnownPCR{{Bank: eventlog.AlgSHA256, PCR: 17, Values: []verifier.Hex{value(0x22, 32)}}}},
		Untrusted: []knowngood.UntrustedValue{{Bank: "sha1", PCR: 18, Value: value(0x11, 20)}},
	}
	if diff := cmp.Diff(want, set); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	raw, err := knowngood.Export(knowngood.OpenAttestationMLE, set)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := knowngood.Import(knowngood.OpenAttestationMLE, raw); err != nil || !cmp.Equal(again.KnownGood, set.KnownGood) || strings.Contains(string(raw), sha1Value) {
		t.Errorf("written as %s: %v", raw, err)
	}
}

func TestWhatEventsAddUpToIsExportedAsValues(t *testing.T) {
	t.Parallel()
	known := slots(17, eventlog.TypeTbootMeasurement, []byte("policy"), []byte("xen"))
	known.PCRs[0].Events[1].Digests = append(known.PCRs[0].Events[1].Digests, value(0x22, 32))
	raw, err := knowngood.Export(knowngood.KeylimePolicy, knowngood.Set{Name: "x", KnownGood: known})
	if err != nil {
		t.Fatal(err)
	}
	extend := func(value, digest []byte) []byte {
		sum := sha256.Sum256(append(append([]byte{}, value...), digest...))
		return sum[:]
	}
	first := extend(make([]byte, 32), known.PCRs[0].Events[0].Digests[0])
	for _, digest := range known.PCRs[0].Events[1].Digests {
		if want := verifier.Hex(extend(first, digest)).String(); !strings.Contains(string(raw), want) {
			t.Errorf("%s lacks %s", raw, want)
		}
	}
	if _, err := knowngood.Export(knowngood.OpenAttestationMLE, knowngood.Set{Name: "x", KnownGood: known}); err == nil || !strings.Contains(err.Error(), "one value for each PCR") {
		t.Errorf("two values in an MLE: %v", err)
	}
	for range 6 {
		slot := known.PCRs[0].Events[1]
		known.PCRs[0].Events = append(known.PCRs[0].Events, slot)
	}
	if _, err := knowngood.Export(knowngood.KeylimePolicy, knowngood.Set{Name: "x", KnownGood: known}); err == nil || !strings.Contains(err.Error(), "sha256 PCR 17: its slots add up to more") {
		t.Errorf("128 values: %v", err)
	}
}

func TestForeignFilesThatAreWrongSayWhere(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		rule, text, want string
		format           knowngood.Format
	}{
		{"no PCR", `{"24": []}`, "24: unknown key", knowngood.KeylimePolicy},
		{"an empty list", `{"17": []}`, "17: is empty", knowngood.KeylimePolicy},
		{"no digits", `{"17": ["xy"]}`, "17[0]: is not an even number", knowngood.KeylimePolicy},
		{"another length", `{"17": ["1122"]}`, "17[0]: has 2 bytes", knowngood.KeylimePolicy},
		{"a mask of other PCRs", `{"17": ["` + sha256Value + `"], "mask": "0x4"}`, `write "0x20000"`, knowngood.KeylimePolicy},
		{"twice", `{"17": ["` + sha256Value + `"], "17": ["` + sha256Value + `"]}`, "17: stands twice", knowngood.KeylimePolicy},
		{"a list", `[]`, "begin with {", knowngood.KeylimePolicy},
		{"no type", `{"Name": "x", "MLE_Manifests": []}`, "MLE_Type", knowngood.OpenAttestationMLE},
		{"modules", `{"Name": "x", "MLE_Type": "VMM", "Attestation_Type": "MODULE"}`, "Attestation_Type: is of values", knowngood.OpenAttestationMLE},
		{"PCR 24", `{"Name": "x", "MLE_Type": "VMM", "MLE_Manifests": [{"Name": "24", "Value": "` + sha1Value + `"}]}`, "MLE_Manifests[0].Name: is no PCR", knowngood.OpenAttestationMLE},
		{"another format", `{"format": "x", "name": "x", "known_good": {}}`, "format: is another format", knowngood.Trustpool},
		{"no time", `{"format": "trustpool-set/1", "name": "x", "valid_from": "now", "known_good": {}}`, "valid_from: is no time", knowngood.Trustpool},
		{"no part", `{"format": "trustpool-set/1", "name": "x", "part": "all", "known_good": {}}`, "part: is none", knowngood.Trustpool},
		{"values inside", `{"format": "trustpool-set/1", "name": "x", "known_good": {"format": "y"}}`, "known_good: reading known-good values: format", knowngood.Trustpool},
		{"a format that is none", `{}`, "is no format", "xml"},
	} {
		if _, err := knowngood.Import(tc.format, []byte(tc.text)); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", tc.rule, err)
		}
	}
	if _, err := knowngood.Import(knowngood.KeylimePolicy, make([]byte, knowngood.MaxFile+1)); err == nil {
		t.Error("a file beyond the bound is taken")
	}
}

// FuzzImport: what can be read and written is read again as the same.
func FuzzImport(f *testing.F) {
	f.Add(0, []byte(`{"format": "trustpool-set/1", "name": "x", "known_good": {"format": "trustpool-known-good/1", "ak": [], "pcrs": [{"bank": "sha256", "pcr": 17, "values": ["`+sha256Value+`"]}]}}`))
	f.Add(1, []byte(`{"22": ["`+sha1Value+`", "`+sha256Value+`"], "mask": "0x400000"}`))
	f.Add(2, []byte(`{"Name": "Xen", "Version": "4.1", "OsName": "Fedora", "MLE_Type": "VMM", "MLE_Manifests": [{"Name": "18", "Value": "`+sha256Value+`"}]}`))
	f.Fuzz(func(t *testing.T, which int, raw []byte) {
		if which < 0 || which >= len(knowngood.Formats()) {
			return
		}
		format := knowngood.Formats()[which]
		set, err := knowngood.Import(format, raw)
		if err != nil {
			return
		}
		written, err := knowngood.Export(format, set)
		if err != nil {
			return
		}
		again, err := knowngood.Import(format, written)
		if err != nil {
			t.Fatalf("what was written can't be read: %v\n%s", err, written)
		}
		if len(knowngood.Compare(set.KnownGood, again.KnownGood)) > 0 {
			t.Errorf("another set is read than was written:\n%s", written)
		}
	})
}
