package verifier_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/eventlog"
)

// wantFailed fails the test unless the check failed with this in its detail.
func wantFailed(t *testing.T, r verifier.Result, name verifier.CheckName, detail string) {
	t.Helper()
	c := r.Check(name)
	if r.Verdict != verifier.Refused || c.Outcome != verifier.Failed || !strings.Contains(c.Detail, detail) {
		t.Errorf("%s: %s is %s: %q, want a failure with %q", r.Verdict, name, c.Outcome, c.Detail, detail)
	}
}

func TestKeysOfOtherKindsAreRefused(t *testing.T) {
	t.Parallel()
	modulus := bytes.Repeat([]byte{0xC1}, 256)
	for _, tc := range []struct {
		rule, want string
		area       tpm2.TPMTPublic
	}{
		{"RSA of fewer bits than it says", "RSA key of 2040 bits", rsaArea(modulus[:255], nil)},
		{"RSA-1024", "RSA key of 1024 bits", rsaArea(modulus[:128], func(p *tpm2.TPMSRSAParms) { p.KeyBits = 1024 })},
		{"RSA-2048 that says 1024", "RSA key of", rsaArea(modulus, func(p *tpm2.TPMSRSAParms) { p.KeyBits = 1024 })},
		{"RSA with exponent 3", "RSA exponent is 3", rsaArea(modulus, func(p *tpm2.TPMSRSAParms) { p.Exponent = 3 })},
		{"RSAPSS", "not RSASSA with SHA-256", rsaArea(modulus, func(p *tpm2.TPMSRSAParms) {
			p.Scheme.Scheme = tpm2.TPMAlgRSAPSS
			p.Scheme.Details = tpm2.NewTPMUAsymScheme(tpm2.TPMAlgRSAPSS, &tpm2.TPMSSigSchemeRSAPSS{HashAlg: tpm2.TPMAlgSHA256})
		})},
		{"RSASSA with SHA-1", "not RSASSA with SHA-256", rsaArea(modulus, func(p *tpm2.TPMSRSAParms) {
			p.Scheme.Details = tpm2.NewTPMUAsymScheme(tpm2.TPMAlgRSASSA, &tpm2.TPMSSigSchemeRSASSA{HashAlg: tpm2.TPMAlgSHA1})
		})},
		{"RSA without a scheme", "not RSASSA with SHA-256", rsaArea(modulus, func(p *tpm2.TPMSRSAParms) {
			p.Scheme = tpm2.TPMTRSAScheme{Scheme: tpm2.TPMAlgNull}
		})},
		{"coordinates of too many bytes", "coordinates of 33 and 33 bytes", eccArea(make([]byte, 33))},
		{"point at infinity", "not on its curve", eccArea(nil)},
		{"ECC without a scheme", "not ECDSA", func() tpm2.TPMTPublic {
			area := eccArea(nil)
			parms, err := area.Parameters.ECCDetail()
			if err != nil {
				t.Fatal(err)
			}
			parms.Scheme = tpm2.TPMTECCScheme{Scheme: tpm2.TPMAlgNull}
			return area
		}()},
		{"symmetric key", "neither ECC nor RSA", tpm2.TPMTPublic{
			Type: tpm2.TPMAlgKeyedHash, NameAlg: tpm2.TPMAlgSHA256, ObjectAttributes: akAttributes(),
			Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgKeyedHash, &tpm2.TPMSKeyedHashParms{Scheme: tpm2.TPMTKeyedHashScheme{Scheme: tpm2.TPMAlgNull}}),
			Unique:     tpm2.NewTPMUPublicID(tpm2.TPMAlgKeyedHash, &tpm2.TPM2BDigest{Buffer: make([]byte, 32)}),
		}},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			t.Parallel()
			f := newForgery(t)
			ev := f.evidence(t)
			ev.AKPublic = tpm2.Marshal(tc.area)
			f.public = ev.AKPublic
			f.repin()
			wantFailed(t, verifier.Verify(ev, rawPolicy(f.known, f.nonce)), verifier.CheckAKAlgorithm, tc.want)
		})
	}
}

func rsaArea(modulus []byte, change func(*tpm2.TPMSRSAParms)) tpm2.TPMTPublic {
	area := rsa2048().template
	if parms, err := area.Parameters.RSADetail(); err == nil && change != nil {
		change(parms)
	}
	area.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgRSA, &tpm2.TPM2BPublicKeyRSA{Buffer: modulus})
	return area
}

func eccArea(coordinate []byte) tpm2.TPMTPublic {
	area := p256().template
	area.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
		X: tpm2.TPM2BECCParameter{Buffer: coordinate}, Y: tpm2.TPM2BECCParameter{Buffer: coordinate},
	})
	return area
}

func TestSelectionsThatNoTPMMakesAreRefused(t *testing.T) {
	t.Parallel()
	one := tpm2.TPMSPCRSelection{Hash: tpm2.TPMAlgSHA256, PCRSelect: tpm2.PCClientCompatible.PCRs(17)}
	for _, tc := range []struct {
		rule, want string
		signed     []tpm2.TPMSPCRSelection
		banks      []verifier.PCRBank
	}{
		{"nothing", "no PCR is signed", nil, nil},
		{"PCR 24", "PCR 24 does not exist", []tpm2.TPMSPCRSelection{{Hash: tpm2.TPMAlgSHA256, PCRSelect: []byte{0, 0, 0, 1}}}, []verifier.PCRBank{
			{Alg: eventlog.AlgSHA256, Values: []verifier.PCRValue{{Index: 24, Value: make([]byte, 32)}}},
		}},
		{"unknown bank", "bank 0x0099 is unknown", []tpm2.TPMSPCRSelection{{Hash: 0x99, PCRSelect: []byte{0, 0, 2}}}, []verifier.PCRBank{
			{Alg: 0x99, Values: []verifier.PCRValue{{Index: 17}}},
		}},
		{"16 banks", "there are values of 0 banks, 16 are signed", slicesOf(one, 16), nil},
		{"17 banks", "has 17 banks, more than 16", slicesOf(one, 17), nil},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			t.Parallel()
			f := newForgery(t)
			f.info = func(i *tpm2.TPMSQuoteInfo) { i.PCRSelect.PCRSelections = tc.signed }
			ev := f.evidence(t)
			ev.PCRs = tc.banks
			r := verifier.Verify(ev, rawPolicy(f.known, f.nonce))
			wantFailed(t, r, verifier.CheckPCRValues, tc.want)
			wantFailed(t, r, verifier.CheckSelection, "")
		})
	}
}

func slicesOf[T any](value T, n int) []T {
	all := make([]T, n)
	for i := range all {
		all[i] = value
	}
	return all
}

func TestStructuresAreBoundedBeforeTheyAreParsed(t *testing.T) {
	t.Parallel()
	f := newForgery(t)
	huge := make([]byte, 4097)
	r := verifier.Verify(verifier.Evidence{Quoted: huge, Signature: huge, AKPublic: huge}, rawPolicy(f.known, f.nonce))
	for _, name := range []verifier.CheckName{verifier.CheckQuotedStructure, verifier.CheckSignatureStructure, verifier.CheckAKStructure} {
		wantFailed(t, r, name, "has 4097 bytes, more than 4096")
	}
	largest := huge[:4096]
	r = verifier.Verify(verifier.Evidence{Quoted: largest, Signature: largest, AKPublic: largest}, rawPolicy(f.known, f.nonce))
	for _, name := range []verifier.CheckName{verifier.CheckQuotedStructure, verifier.CheckSignatureStructure, verifier.CheckAKStructure} {
		wantFailed(t, r, name, "does not parse")
	}
}

func TestWhatANodeCallsItsLogIsSafeToPrint(t *testing.T) {
	t.Parallel()
	f := newForgery(t)
	ev := f.evidence(t)
	ev.Logs[0].Source = "txt\x1b[2J" + strings.Repeat("x", 1000)
	f.events[4].what = "other"
	r := verifier.Verify(f.evidence(t), rawPolicy(f.known, f.nonce))
	for _, r := range []verifier.Result{r, verifier.Verify(ev, rawPolicy(f.known, f.nonce)), verifier.Verify(ev, rawPolicy(f.known, nil))} {
		if text := r.Explain(); strings.ContainsAny(text, "\x1b\r") || len(text) > 4000 {
			t.Errorf("%q", text)
		}
	}
}
