package tpm

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/trustpool/trustpool/tpmsim"
)

// certify issues a certificate of a CA that nobody knows.
func certify(t testing.TB, public crypto.PublicKey) []byte {
	t.Helper()

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)

	if public == nil {
		public = key.Public()
	}

	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)}

	der, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
	must(t, err)

	return der
}

// publicOf returns the public key of an EK.
func publicOf(t testing.TB, ek EK) crypto.PublicKey {
	t.Helper()

	public, err := tpm2.Unmarshal[tpm2.TPMTPublic](ek.Public)
	must(t, err)

	key, err := tpm2.Pub(*public)
	must(t, err)

	return key
}

// told is what people read of an EK.
type told struct {
	Key, Certificate, Detail string
	HasPublic, Certified     bool
}

func tell(t testing.TB, eks []EK) []told {
	t.Helper()

	var all []told

	for _, ek := range eks {
		found := told{Key: ek.KeySource, Certificate: ek.CertificateSource, Detail: ek.Detail, HasPublic: ek.Public != nil}

		if ek.Certificate != nil {
			certificate, err := x509.ParseCertificate(ek.Certificate)
			must(t, err)

			found.Certified = (&ekCertificate{parsed: certificate}).certifies(&ekKey{key: publicOf(t, ek)})
		}

		all = append(all, found)
	}

	return all
}

// p384 is what is told of the EK that these tests leave alone.
var p384 = told{"handle 0x81010016", "nv 0x01c00016", "", true, true}

func wantEKs(t *testing.T, eks []EK, want ...told) {
	t.Helper()

	if diff := cmp.Diff(want, tell(t, eks)); diff != "" {
		t.Errorf("EKs (-want +got):\n%s", diff)
	}
}

func TestEKsAreReadFromPersistentHandlesAndNV(t *testing.T) {
	t.Parallel()

	tpm := watched(t, nil)
	wantEKs(t, mustReadEKs(t, tpm, Auths{}), told{"handle 0x81010001", "nv 0x01c00002", "", true, true}, p384)
}

func TestAnEKThatIsNotPersistentIsDerived(t *testing.T) {
	t.Parallel()

	var before []EK

	tpm := watched(t, func(node *tpmsim.Node) {
		before = mustReadEKs(t, node, Auths{})
		evictEK(t, node, 0x81010001)
		evictEK(t, node, 0x81010016)
	})

	after := mustReadEKs(t, tpm, Auths{})
	wantEKs(t, after, told{"template L-1", "nv 0x01c00002", "", true, true}, told{"template H-3", "nv 0x01c00016", "", true, true})

	for i := range after {
		if !bytes.Equal(before[i].Public, after[i].Public) {
			t.Errorf("EK %d is another one", i)
		}
	}
}

func TestAnEKNeedsNoCertificate(t *testing.T) {
	t.Parallel()

	tpm := watched(t, func(node *tpmsim.Node) {
		undefine(t, node, 0x01c00002)
		undefine(t, node, 0x01c00016)
		evictEK(t, node, 0x81010001)
	})
	wantEKs(t, mustReadEKs(t, tpm, Auths{}), told{"handle 0x81010016", "", "no certificate in NV index 0x01c00016", true, false})
}

func TestWithoutAnyTraceTheLowRangeIsDerived(t *testing.T) {
	t.Parallel()

	tpm := watched(t, func(node *tpmsim.Node) {
		undefine(t, node, 0x01c00002)
		undefine(t, node, 0x01c00016)
		evictEK(t, node, 0x81010001)
		evictEK(t, node, 0x81010016)
	})
	wantEKs(t, mustReadEKs(t, tpm, Auths{}),
		told{"template L-1", "", "no certificate in NV index 0x01c00002", true, false},
		told{"template L-2", "", "no certificate in NV index 0x01c0000a", true, false})
}

// inventive is a TPM that makes keys with an attribute that the template does not have: noDA (TPM 2.0 Part 2, 8.3).
type inventive struct{ transport.TPM }

func (i inventive) Send(command []byte) ([]byte, error) {
	response, err := i.TPM.Send(command)

	const attributes = headerSize + 4 + 4 + 2 + 2 + 2 // behind handle, parameterSize, and size, type and nameAlg of outPublic
	if codeOf(command) == uint32(tpm2.TPMCCCreatePrimary) && len(response) > attributes+4 {
		response[attributes+2] |= 1 << 2
	}

	return response, err
}

func TestAnEKThatIsNotQuiteOfItsTemplateIsTold(t *testing.T) {
	t.Parallel()

	tpm := watched(t, func(node *tpmsim.Node) {
		evictEK(t, node, 0x81010001)
		undefine(t, node, 0x01c00016)
		evictEK(t, node, 0x81010016)
	})
	wantEKs(t, mustReadEKs(t, inventive{tpm}, Auths{}), told{"template L-1", "nv 0x01c00002", "", true, true})
}

func TestEachTemplatesCertificateIsFound(t *testing.T) {
	t.Parallel()

	var want []told

	tpm := watched(t, func(node *tpmsim.Node) {
		eks := derivedEKs(t, node)
		evictEK(t, node, 0x81010001)
		evictEK(t, node, 0x81010016)

		for i, template := range ekTemplates() {
			if i == 0 || template.name == "H-3" {
				undefine(t, node, template.certificate)
			}

			define(t, node, template.certificate, readable, "", certify(t, publicOf(t, eks[i])))

			want = append(want, told{"template " + template.name, fmt.Sprintf("nv 0x%08x", uint32(template.certificate)), "", true, true})
		}
	})

	wantEKs(t, mustReadEKs(t, tpm, Auths{}), want...)
}

func TestATemplateThatTheMakerChangedIsTold(t *testing.T) {
	t.Parallel()

	tpm := watched(t, func(node *tpmsim.Node) {
		define(t, node, 0x01c00003, readable, "", []byte("a nonce"))
		undefine(t, node, 0x01c00002)
		define(t, node, 0x01c00002, readable, "", certify(t, nil))
		evictEK(t, node, 0x81010001)
	})

	wantEKs(t, mustReadEKs(t, tpm, Auths{}), told{
		"template L-1", "nv 0x01c00002",
		"the certificate is for another key; the TPM's maker may mean another key: NV index 0x01c00003 changes template L-1, which is not supported", true, false,
	}, p384)
}

func TestAPersistentEKOfAnotherPolicyIsTold(t *testing.T) {
	t.Parallel()

	tpm := watched(t, func(node *tpmsim.Node) {
		evictEK(t, node, 0x81010001)

		public := tpm2.RSAEKTemplate
		public.AuthPolicy.Buffer = make([]byte, 32)
		persistKey(t, node, public, 0x81010005)

		object, err := tpm2.ReadPublic{ObjectHandle: tpm2.TPMHandle(0x81010005)}.Execute(node)
		must(t, err)

		undefine(t, node, 0x01c00002)
		define(t, node, 0x01c00002, readable, "", certify(t, publicOf(t, EK{Public: object.OutPublic.Bytes()})))
	})

	eks := mustReadEKs(t, tpm, Auths{})
	wantEKs(t, eks, told{
		"handle 0x81010005", "nv 0x01c00002",
		"no credential can be activated: EK with policy " + strings.Repeat("00", 32) + ", which is not the TCG's", true, true,
	}, p384)

	if _, err := activate(tpm, Auths{}, eks[0], testAK, make([]byte, 34), nil, nil); err == nil {
		t.Error("a credential is activated by a key of unknown policy")
	}
}
