package verifier_test

import (
	"bytes"
	"encoding/json"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/trustpool/trustpool/verifier"
)

// recordOf is a record of the forgery's key, with everything that may be in one.
func recordOf(t testing.TB, f *forgery) verifier.NodeRecord {
	t.Helper()
	public := softwareEK(t, nil)
	return verifier.NodeRecord{
		Name:       nodeName,
		Address:    "node1.example:9443",
		EnrolledAt: time.Date(2026, 11, 23, 6, 51, 12, 0, time.UTC),
		Binding:    verifier.BindingInventory,
		EK:         verifier.EKRecord{Name: nameOfKey(t, public), Public: public, CertificateSerial: big.NewInt(0x1234), CertificateIssuer: "CN=Maker & Sons"},
		AKs:        []verifier.AKRecord{{Name: nameOf(f.public), Public: f.public, Certificate: []byte("DER")}},
		TPM:        verifier.TPMInfo{Manufacturer: "id:49465800", Model: "SLB9670", Firmware: "id:00070055", Certified: true},
	}
}

func TestANodeRecordIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()

	full := recordOf(t, newForgery(t))
	bare := full
	bare.EK.CertificateSerial, bare.EK.CertificateIssuer, bare.TPM = nil, "", verifier.TPMInfo{}
	bare.AKs = []verifier.AKRecord{{Name: full.AKs[0].Name, Public: full.AKs[0].Public}}
	for name, record := range map[string]verifier.NodeRecord{"full": full, "bare": bare} {
		data, err := record.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		again, err := verifier.ParseNodeRecord(data)
		if err != nil {
			t.Fatal(err)
		}
		same := cmp.Comparer(func(a, b *big.Int) bool { return a == b || (a != nil && b != nil && a.Cmp(b) == 0) })
		if diff := cmp.Diff(record, again, same); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if !bytes.Contains(data, []byte(`"format": "trustpool-node/1"`)) || (name == "full" && !bytes.Contains(data, []byte("Maker & Sons"))) {
			t.Errorf("%s is not for people:\n%s", name, data)
		}
	}
}

func TestParseNodeRecordTellsWhatIsWrong(t *testing.T) {
	t.Parallel()

	data, err := recordOf(t, newForgery(t)).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	sub := func(key string, change func(map[string]any)) func(map[string]any) {
		return func(file map[string]any) {
			switch v := file[key].(type) {
			case map[string]any:
				change(v)
			case []any:
				change(v[0].(map[string]any))
			}
		}
	}
	for want, change := range map[string]func(map[string]any){
		"format: is another format":               func(f map[string]any) { f["format"] = "trustpool-node/2" },
		"name: missing":                           func(f map[string]any) { delete(f, "name") },
		"name: is no name of a node":              func(f map[string]any) { f["name"] = "Node 1" },
		"address: missing":                        func(f map[string]any) { delete(f, "address") },
		"address: has 513 bytes":                  func(f map[string]any) { f["address"] = strings.Repeat("a", 513) },
		"enrolled_at: is no time":                 func(f map[string]any) { f["enrolled_at"] = "2026-11-23T06:51:12+01:00" },
		"ek_binding: is unknown":                  func(f map[string]any) { f["ek_binding"] = "ak_issuer" },
		"ek_binding: missing":                     func(f map[string]any) { delete(f, "ek_binding") },
		"ek: is no object":                        func(f map[string]any) { delete(f, "ek") },
		"ak: has 0 entries":                       func(f map[string]any) { f["ak"] = []any{} },
		"tpm: is no object":                       func(f map[string]any) { f["tpm"] = 1 },
		"owner: unknown key":                      func(f map[string]any) { f["owner"] = "me" },
		"ek.public: is not the TPMT_PUBLIC":       sub("ek", func(o map[string]any) { o["public"] = "AAAA" }),
		"ek.public: is not base64":                sub("ek", func(o map[string]any) { o["public"] = "?" }),
		"ek.name: is not the Name of public":      sub("ek", func(o map[string]any) { o["name"] = "000b" }),
		"ek.name: is not an even number":          sub("ek", func(o map[string]any) { o["name"] = "0" }),
		"ek.certificate_serial: goes together":    sub("ek", func(o map[string]any) { delete(o, "certificate_issuer") }),
		"ek.certificate_serial: is no serial":     sub("ek", func(o map[string]any) { o["certificate_serial"] = "x" }),
		"ek.certificate_issuer: has 1025":         sub("ek", func(o map[string]any) { o["certificate_issuer"] = strings.Repeat("a", 1025) }),
		"ek.more: unknown key":                    sub("ek", func(o map[string]any) { o["more"] = 1 }),
		"ak[0].public: is not the TPMT_PUBLIC":    sub("ak", func(o map[string]any) { o["public"] = "AAAA" }),
		"ak[0].name: is not the Name of public":   sub("ak", func(o map[string]any) { o["name"] = "000b" }),
		"ak[0].certificate: is not base64":        sub("ak", func(o map[string]any) { o["certificate"] = "?" }),
		"ak[0].certificate: has 8193":             sub("ak", func(o map[string]any) { o["certificate"] = make([]byte, 8193) }),
		"ak[0].more: unknown key":                 sub("ak", func(o map[string]any) { o["more"] = 1 }),
		"tpm.model: is too long or not printable": sub("tpm", func(o map[string]any) { o["model"] = "\x1b" }),
		"tpm.certified: is neither true nor":      sub("tpm", func(o map[string]any) { o["certified"] = "yes" }),
		"tpm.more: unknown key":                   sub("tpm", func(o map[string]any) { o["more"] = 1 }),
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			var file map[string]any
			if err := json.Unmarshal(data, &file); err != nil {
				t.Fatal(err)
			}
			change(file)
			changed, err := json.Marshal(file)
			if err != nil {
				t.Fatal(err)
			}
			record, err := verifier.ParseNodeRecord(changed)
			if err == nil || !strings.Contains(err.Error(), want) || len(record.AKs) > 0 {
				t.Errorf("got %v, want %q", err, want)
			}
		})
	}
	if _, err := verifier.ParseNodeRecord(append(data, make([]byte, 64<<10)...)); err == nil {
		t.Error("a record without bounds was taken")
	}
}

func TestARecordsKeysSignInPlaceOfPinnedOnes(t *testing.T) {
	t.Parallel()

	f := newForgery(t)
	ev, record := f.evidence(t), recordOf(t, newForgery(t))
	policy := rawPolicy(f.known, f.nonce)
	policy.KnownGood.AKs = nil
	policy.Node = &record
	if r := verifier.Verify(ev, policy); r.Verdict != verifier.Trusted || r.EKBinding != verifier.BindingInventory {
		t.Errorf("verdict %s, bound by %q", r.Verdict, r.EKBinding)
	}

	// Pins do not help where the record has another key, or none.
	policy.KnownGood = f.known
	other := record
	other.AKs = []verifier.AKRecord{{Name: record.EK.Name, Public: record.EK.Public}}
	none := record
	none.AKs = nil
	for _, wrong := range []verifier.NodeRecord{other, none, {}} {
		policy.Node = &wrong
		wantOnly(t, verifier.Verify(ev, policy), verifier.CheckAKPinned)
		if _, err := verifier.Learn(ev, policy); err == nil {
			t.Error("learned from the wrong node")
		}
	}

	policy.Node, policy.RefusedAKs = &record, []verifier.Hex{record.AKs[0].Name}
	wantOnly(t, verifier.Verify(ev, policy), verifier.CheckAKPinned)
	policy.Node = nil
	wantOnly(t, verifier.Verify(ev, policy), verifier.CheckAKPinned)
	policy.RefusedAKs = []verifier.Hex{record.EK.Name}
	if r := verifier.Verify(ev, policy); r.Verdict != verifier.Trusted {
		t.Errorf("verdict %s", r.Verdict)
	}
}

func TestWhatIsLearnedOfAnEnrolledNodePinsNoKey(t *testing.T) {
	t.Parallel()

	f := newForgery(t)
	record := recordOf(t, f)
	policy := rawPolicy(verifier.KnownGood{}, f.nonce)
	policy.Node = &record
	known, err := verifier.Learn(f.evidence(t), policy)
	if err != nil || len(known.AKs) > 0 || len(known.PCRs) != 3 {
		t.Errorf("learned %+v, %v", known, err)
	}
}

func TestARotationAddsAKeyAndKeepsOne(t *testing.T) {
	t.Parallel()

	m, nonce := startMachine(t), newNonce(t)
	id, first := m.identity(t, nonce)
	record := finish(t, m, verifier.Enroll(id, firstUse(nonce)), first)

	next := m.make(t, p384())
	pending := m.certify(t, next, nonce)
	pending.Pending = true
	id.AKs = append(id.AKs, pending)
	policy := verifier.EnrollPolicy{Node: nodeName, Nonce: nonce, At: now(), Record: &record, AKName: next.Name.Buffer}
	both := finish(t, m, verifier.Enroll(id, policy), next)
	if len(both.AKs) != 2 || len(record.AKs) != 1 || both.Binding != record.Binding || !both.EnrolledAt.Equal(record.EnrolledAt) {
		t.Fatalf("the record is %+v", both)
	}

	only, err := both.Keep(next.Name.Buffer)
	if err != nil || len(only.AKs) != 1 || !bytes.Equal(only.AKs[0].Name, next.Name.Buffer) {
		t.Errorf("kept %+v, %v", only, err)
	}
	if first, err := both.Keep(record.AKs[0].Name); err != nil || len(first.AKs) != 1 || !bytes.Equal(first.AKs[0].Name, record.AKs[0].Name) {
		t.Errorf("kept %+v, %v", first, err)
	}
	if _, err := record.Keep(next.Name.Buffer); err == nil {
		t.Error("kept a key that is not there")
	}
	wantSameAfterParsing(t, both)

	// Another machine does not take the place of this one.
	policy.Record = &verifier.NodeRecord{Name: nodeName, Binding: verifier.BindingChain, EK: verifier.EKRecord{Public: softwareEK(t, nil)}}
	wantEnrollment(t, verifier.Enroll(id, policy), verifier.CheckEKBinding)
}

// finish has the machine answer, which has to be right.
func finish(t *testing.T, m *machine, e *verifier.Enrollment, key *madeKey) verifier.NodeRecord {
	t.Helper()
	challenge, err := e.Challenge()
	if err != nil {
		t.Fatal(err)
	}
	secret, err := m.activate(t, challenge, key.named())
	if err != nil {
		t.Fatal(err)
	}
	record, err := e.Finish(secret, "address:1", now())
	if err != nil {
		t.Fatal(err)
	}
	return record
}
