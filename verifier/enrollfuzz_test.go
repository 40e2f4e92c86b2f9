package verifier_test

import (
	"bytes"
	"testing"

	"github.com/trustpool/trustpool/verifier"
)

// FuzzParseNodeRecord: what parses is written and read again as the same bytes, and pins no key whose Name is not its own.
func FuzzParseNodeRecord(f *testing.F) {
	data, err := recordOf(f, newForgery(f)).Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		record, err := verifier.ParseNodeRecord(raw)
		if err != nil {
			if len(record.AKs) > 0 {
				t.Fatal("a record that does not parse pins keys")
			}
			return
		}
		for _, pin := range record.Pins() {
			if !bytes.Equal(pin.Name, nameOfKey(t, pin.Public)) {
				t.Fatalf("the Name of a pin is not its own: %+v", pin)
			}
		}
		first, err := record.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		again, err := verifier.ParseNodeRecord(first)
		if err != nil {
			t.Fatalf("%v\n%s", err, first)
		}
		if second, err := again.Marshal(); err != nil || !bytes.Equal(first, second) {
			t.Fatalf("written as\n%s\nthen as\n%s\n%v", first, second, err)
		}
	})
}

// FuzzEnroll: no bytes of a node stop the verifier, and none enrol it without the secret of a credential.
func FuzzEnroll(f *testing.F) {
	root := newEKAuthority(f, "root", nil)
	public := softwareEK(f, nil)
	key := newForgery(f).attestationKey(f, []byte("a nonce that everybody can guess"))
	f.Add(public, root.certify(f, public, nil), root.cert.Raw, key.Public, key.CreationData, key.CertifyInfo, key.CertifySignature, root.cert.Raw)
	f.Add(public, root.certify(f, public, nil), []byte{}, key.Public, key.CreationData, key.CertifyInfo, key.CertifySignature, []byte{})
	f.Add([]byte{}, []byte{}, []byte{}, []byte{}, []byte{}, []byte{}, []byte{}, []byte{})
	roots := parseRoots(f, root.pem())

	f.Fuzz(func(t *testing.T, ek, cert, chain, ak, data, info, signature, akCert []byte) {
		id := verifier.Identity{
			EKs: []verifier.EndorsementKey{{Public: ek, Certificate: cert, Chain: [][]byte{chain}}},
			AKs: []verifier.AttestationKey{{Public: ak, CreationData: data, CertifyInfo: info, CertifySignature: signature, Certificate: akCert}},
		}
		for _, roots := range []verifier.EKRoots{{}, roots} {
			policy := firstUse([]byte("a nonce that everybody can guess"))
			policy.Roots = roots
			e := verifier.Enroll(id, policy)
			if e.Enrolled() {
				t.Fatal("enrolled without a credential")
			}
			challenge, err := e.Challenge()
			if (err == nil) != (len(e.Failures()) == 0) {
				t.Fatalf("a credential after %v: %v", e.Failures(), err)
			}
			if err != nil {
				continue
			}
			if record, err := e.Finish(challenge.Blob[:32], "", now()); err == nil || len(record.AKs) > 0 {
				t.Fatal("enrolled by a wrong answer")
			}
		}
	})
}

// FuzzParseInventory: nothing stops the parser, and an EK belongs to one node.
func FuzzParseInventory(f *testing.F) {
	f.Add([]byte("node,ek_name,ek_serial,ek_issuer\nn,,12,CN=x\n# remark\nm,000b" + string(bytes.Repeat([]byte("ab"), 32)) + ",,\n"))
	f.Fuzz(func(_ *testing.T, raw []byte) {
		_, _ = verifier.ParseInventory(raw)
		_, _ = verifier.ParseRefuseList(raw)
		_, _ = verifier.ParseCRLs(raw)
		_, _ = verifier.ParseEKRoots(raw)
	})
}
