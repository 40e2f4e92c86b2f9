package knowngood_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/eventlog"
	"github.com/trustpool/trustpool/verifier/knowngood"
)

func sentences(all []knowngood.Difference) []string {
	var texts []string
	for _, d := range all {
		texts = append(texts, d.Text)
	}
	return texts
}

func TestSetsAreComparedInWords(t *testing.T) {
	t.Parallel()
	byte32 := func(b string) verifier.Hex { return []byte(strings.Repeat(b, 32)) }
	slot := func(typ eventlog.EventType, description, digest string) verifier.Slot {
		return verifier.Slot{Type: typ, Description: description, Digests: []verifier.Hex{byte32(digest)}}
	}
	policy, xen, newXen, initrd := slot(0x501, "tboot policy", "p"), slot(0x501, "tboot module 0", "x"), slot(0x501, "tboot module 0", "n"), slot(0x501, "\x1b[31minitrd", "i")
	a := verifier.KnownGood{
		AKs: []verifier.AKPin{{Name: verifier.Hex("key")}},
		PCRs: []verifier.KnownPCR{
			{Bank: eventlog.AlgSHA256, PCR: 17, Events: []verifier.Slot{policy, xen, initrd}},
			{Bank: eventlog.AlgSHA256, PCR: 18, Values: []verifier.Hex{byte32("v")}},
			{Bank: eventlog.AlgSHA256, PCR: 19, Values: []verifier.Hex{byte32("v")}},
			{Bank: eventlog.AlgSHA256, PCR: 4, Events: []verifier.Slot{slot(eventlog.TypeIPL, "", "e")}},
		},
	}
	b := verifier.KnownGood{PCRs: []verifier.KnownPCR{
		{Bank: eventlog.AlgSHA256, PCR: 17, Events: []verifier.Slot{policy, newXen}},
		{Bank: eventlog.AlgSHA256, PCR: 18, Values: []verifier.Hex{byte32("v"), byte32("w")}},
		{Bank: eventlog.AlgSHA384, PCR: 17, Values: []verifier.Hex{byte32("v")}},
		{Bank: eventlog.AlgSHA256, PCR: 4, Values: []verifier.Hex{byte32("v")}},
	}}
	want := []string{
		"sha256 PCR 4: A has 1 event, B has 1 value " + strings.Repeat("76", 32),
		"sha256 PCR 17: slot 2 (tboot module 0): only A allows " + strings.Repeat("78", 32) + "; only B allows " + strings.Repeat("6e", 32),
		`sha256 PCR 17: only A has the slot 3 ("\x1b[31minitrd"): ` + strings.Repeat("69", 32),
		"sha256 PCR 18: only B allows " + strings.Repeat("77", 32),
		"sha256 PCR 19: only in A: 1 value " + strings.Repeat("76", 32),
		"sha384 PCR 17: only in B: 1 value " + strings.Repeat("76", 32),
		"attestation keys: only A allows 6b6579",
	}
	if diff := cmp.Diff(want, sentences(knowngood.Compare(a, b))); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if d := knowngood.Compare(a, a); len(d) != 0 {
		t.Errorf("a set differs from itself: %+v", d)
	}
}

func TestASlotOfAnotherTypeIsNotTheSame(t *testing.T) {
	t.Parallel()
	a, b := slots(17, 0x501, []byte("x")), slots(17, 0x502, []byte("x"))
	got := sentences(knowngood.Compare(a, b))
	if want := []string{"sha256 PCR 17: slot 1 (EVTYPE_TB_MEASUREMENT): A has the type EVTYPE_TB_MEASUREMENT, B TXT_EVTYPE_SLAUNCH"}; !cmp.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestHugeSetsAreComparedPlaceByPlace(t *testing.T) {
	t.Parallel()
	entry := verifier.KnownPCR{Bank: eventlog.AlgSHA256, PCR: 17}
	for i := range 3000 {
		entry.Events = append(entry.Events, verifier.Slot{Type: 0x501, Digests: []verifier.Hex{{byte(i), byte(i >> 8)}}})
	}
	other := entry
	other.Events = entry.Events[1:]
	all := knowngood.Compare(verifier.KnownGood{PCRs: []verifier.KnownPCR{entry}}, verifier.KnownGood{PCRs: []verifier.KnownPCR{other}})
	if len(all) != 1000 {
		t.Errorf("%d differences, want as many as are listed", len(all))
	}
}
