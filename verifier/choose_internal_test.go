package verifier

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"math/big"
	"strings"
	"testing"

	"github.com/google/go-tpm/tpm2"
)

// akArea is the public area of an AK that nobody has; n tells it from others.
func akArea(t *testing.T, n byte) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	area := tpm2.ECCEKTemplate
	area.AuthPolicy.Buffer = []byte{n}
	area.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
		X: tpm2.TPM2BECCParameter{Buffer: key.X.FillBytes(make([]byte, 32))}, Y: tpm2.TPM2BECCParameter{Buffer: key.Y.FillBytes(make([]byte, 32))},
	})
	return tpm2.Marshal(area)
}

func TestTheAKThatIsAskedForIsChosen(t *testing.T) {
	t.Parallel()
	var aks []AttestationKey
	for n := range byte(maxAKs) {
		aks = append(aks, AttestationKey{Public: akArea(t, n), Pending: n != 2})
	}
	last, err := parseAK(aks[maxAKs-1].Public)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := chooseAK(aks, last.name); err != nil || !bytes.Equal(got.Public, aks[maxAKs-1].Public) {
		t.Errorf("by Name: %v", err)
	}
	if got, err := chooseAK(aks, nil); err != nil || !bytes.Equal(got.Public, aks[2].Public) {
		t.Errorf("the one in use: %v", err)
	}
	if _, err := chooseAK(aks[:2], nil); err == nil || err.Error() != "the node has no AK in use" {
		t.Errorf("none in use: %v", err)
	}
	if _, err := chooseAK(aks[:2], last.name); err == nil || !strings.Contains(err.Error(), "no AK with the Name") {
		t.Errorf("one that is not there: %v", err)
	}
	if _, err := chooseAK(append(aks, aks[0]), last.name); err == nil || !strings.Contains(err.Error(), "5 AKs, more than 4") {
		t.Errorf("five: %v", err)
	}
}

func TestOfEKsThatFailAlikeTheFirstIsShown(t *testing.T) {
	t.Parallel()
	x := chooseEK([]EndorsementKey{{Public: []byte("first")}, {Public: []byte("second")}}, &EnrollPolicy{})
	if string(x.wire.Public) != "first" {
		t.Errorf("chose the %s", x.wire.Public)
	}
}

func TestATLSKeyOfWhichNothingWasCheckedIsNotProven(t *testing.T) {
	t.Parallel()
	x := new(tlsExam)
	if x.proven() {
		t.Error("no check at all proves it")
	}
	for outcome, want := range map[Outcome]bool{Passed: true, Failed: false, NotRun: false, NotAsked: false} {
		x.checks = []Check{{Outcome: Passed}, {Outcome: outcome}}
		if x.proven() != want {
			t.Errorf("a check that %s: proven is %t", outcome, x.proven())
		}
	}
}

func TestARecordHasRoomForFourAKs(t *testing.T) {
	t.Parallel()
	var r NodeRecord
	var err error
	for n := range byte(maxAKs) {
		if r, err = r.with(AKRecord{Name: []byte{n}}); err != nil {
			t.Fatal(err)
		}
	}
	if r, err = r.with(AKRecord{Name: []byte{0}, Certificate: []byte("new")}); err != nil || len(r.AKs) != maxAKs {
		t.Errorf("one of them again: %d, %v", len(r.AKs), err)
	}
	if _, err := r.with(AKRecord{Name: []byte{maxAKs}}); err == nil {
		t.Error("a fifth was taken")
	}
}

func TestCertificatesOfAnAKAreBounded(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	many := func(n int) [][]byte {
		all := make([][]byte, n)
		for i := range all {
			all[i] = der
		}
		return all
	}
	if chain, err := parseChain(many(maxAKCertificates)); err != nil || len(chain) != maxAKCertificates {
		t.Errorf("as many as may be: %v", err)
	}
	for want, raw := range map[string][][]byte{
		"9 certificates of the AK, more than 8": many(maxAKCertificates + 1),
		"reading the AK's certificate":          {make([]byte, maxAKCertificate)},
		"has 16385 bytes, more than 16384":      {make([]byte, maxAKCertificate+1)},
	} {
		if _, err := parseChain(raw); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	for want, n := range map[string]int{"reading the AK's key": maxAKCertificate, "has 16385 bytes, more than 16384": maxAKCertificate + 1} {
		if _, err := parseSPKI(make([]byte, n)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	for want, n := range map[string]int{"does not parse": maxCertificate, "has 8193 bytes, more than 8192": maxCertificate + 1} {
		if _, err := parseCertificate(make([]byte, n)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
