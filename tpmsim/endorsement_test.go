package tpmsim_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/asn1"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-tpm/tpm2"

	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/tpmsim/tpmsimtest"
)

func TestTPMWithoutEKCertificates(t *testing.T) {
	t.Parallel()
	n := start(t, tpmsim.Endorsement{Certificates: tpmsim.NoCertificates})

	if got := handles(t, n, 0x01000000); len(got) != 0 {
		t.Errorf("NV indices %x, want none", got)
	}
	keyNames(t, n) // the EKs are there
}

func TestWrongEKCertificateVerifiesAndIsOfAnotherKey(t *testing.T) {
	t.Parallel()
	n := start(t, tpmsim.Endorsement{Certificates: tpmsim.WrongCertificates})

	for name, where := range eks() {
		cert, ek := readCertificate(t, n, where[1]), persistentKey(t, n, where[0])
		verifyEK(t, n, cert)
		if key, ok := cert.PublicKey.(interface{ Equal(x crypto.PublicKey) bool }); !ok || key.Equal(ek) {
			t.Errorf("%s: the certificate is of the EK", name)
		}
		if got, want := keyKind(cert.PublicKey), keyKind(ek); got != want {
			t.Errorf("%s: the certificate is of a key of kind %s, want %s", name, got, want)
		}
	}
}

func TestPaddedEKCertificate(t *testing.T) {
	t.Parallel()
	for padding, fill := range map[tpmsim.Padding]byte{tpmsim.ZeroPadding: 0, tpmsim.OnesPadding: 0xff} {
		n := start(t, tpmsim.Endorsement{Padding: padding, PlatformCertificate: true})
		for name, where := range eks() {
			content := readIndex(t, n, where[1])
			var cert asn1.RawValue
			rest, err := asn1.Unmarshal(content, &cert)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if want := bytes.Repeat([]byte{fill}, len(rest)); len(rest) == 0 || !bytes.Equal(rest, want) {
				t.Errorf("%s: behind the certificate are %d bytes that begin %.8x, want bytes %02x", name, len(rest), rest, fill)
			}
			parsed, err := x509.ParseCertificate(cert.FullBytes)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			verifyEK(t, n, parsed)
		}
	}
}

func TestPlatformCertificateIsOfTheRSAEK(t *testing.T) {
	t.Parallel()
	n := start(t, tpmsim.Endorsement{PlatformCertificate: true})

	cert := readCertificate(t, n, 0x01c08000)
	verifyEK(t, n, cert)
	if len(cert.UnknownExtKeyUsage) != 1 || !cert.UnknownExtKeyUsage[0].Equal(asn1.ObjectIdentifier{2, 23, 133, 8, 2}) {
		t.Errorf("extended key usage %v, want tcg-kp-PlatformAttributeCertificate", cert.UnknownExtKeyUsage)
	}
	want := map[string]string{"2.23.133.2.4": "trustpool", "2.23.133.2.5": "simulated node", "2.23.133.2.6": "1"}
	if diff := cmp.Diff(want, directoryName(t, cert)); diff != "" {
		t.Errorf("name of the platform (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(persistentKey(t, n, 0x81010001), cert.PublicKey.(crypto.PublicKey)); diff != "" {
		t.Errorf("key (-EK +certificate):\n%s", diff)
	}
}

func TestLowRangeECCEKIsOfTemplateL2(t *testing.T) {
	t.Parallel()
	n := start(t, tpmsim.Endorsement{LowRangeECC: true})

	if diff := cmp.Diff([]tpm2.TPMHandle{0x81010001, 0x81010002}, persistentHandles(t, n)); diff != "" {
		t.Errorf("persistent handles (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]tpm2.TPMHandle{0x01c00002, 0x01c0000a}, handles(t, n, 0x01000000)); diff != "" {
		t.Errorf("NV indices (-want +got):\n%s", diff)
	}

	made, err := tpm2.CreatePrimary{PrimaryHandle: tpm2.TPMRHEndorsement, InPublic: tpm2.New2B(tpm2.ECCEKTemplate)}.Execute(n)
	if err != nil {
		t.Fatal(err)
	}
	if got := nameAt(t, n, 0x81010002); !bytes.Equal(got, made.Name.Buffer) {
		t.Errorf("persistent EK = %x, derived %x", got, made.Name.Buffer)
	}

	cert := readCertificate(t, n, 0x01c0000a)
	verifyEK(t, n, cert)
	public, err := made.OutPublic.Contents()
	if err != nil {
		t.Fatal(err)
	}
	unique, err := public.Unique.ECC()
	if err != nil {
		t.Fatal(err)
	}
	point := slices.Concat([]byte{4}, unique.X.Buffer, unique.Y.Buffer) // SEC 1, 2.3.3: uncompressed
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		t.Fatal(err)
	}
	if !key.Equal(cert.PublicKey) {
		t.Error("the certificate is not of the EK")
	}
}

func TestEKThatIsNotPersistentIsThatOfTheCertificate(t *testing.T) {
	t.Parallel()
	n := start(t, tpmsim.Endorsement{NotPersistent: true})

	if got := persistentHandles(t, n); len(got) != 0 {
		t.Errorf("persistent handles %x, want none", got)
	}
	cert := readCertificate(t, n, 0x01c00002)
	made, err := tpm2.CreatePrimary{PrimaryHandle: tpm2.TPMRHEndorsement, InPublic: tpm2.New2B(tpm2.RSAEKTemplate)}.Execute(n)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(publicOf(t, made.OutPublic), cert.PublicKey.(crypto.PublicKey)); diff != "" {
		t.Errorf("key (-EK +certificate):\n%s", diff)
	}
}

func TestEndorsementHoldsForReplacedTPMsToo(t *testing.T) {
	t.Parallel()
	n := start(t, tpmsim.Endorsement{NotPersistent: true})
	if err := n.Replace(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := persistentHandles(t, n); len(got) != 0 {
		t.Errorf("persistent handles %x, want none", got)
	}
}

func TestUnknownEndorsementIsRefused(t *testing.T) {
	t.Parallel()
	for _, e := range []tpmsim.Endorsement{{Certificates: 3}, {Padding: 3}} {
		if n, err := tpmsim.Start(t.Context(), tpmsim.Options{Endorsement: e}); err == nil {
			t.Errorf("%+v: no error", e)
			_ = n.Close()
		}
	}
}

func start(t *testing.T, e tpmsim.Endorsement) *tpmsim.Node {
	t.Helper()
	return tpmsimtest.Start(t, tpmsim.Options{Endorsement: e})
}

// verifyEK verifies a certificate whose subject alternative name is critical and
// unknown to crypto/x509.
func verifyEK(t *testing.T, n *tpmsim.Node, cert *x509.Certificate) {
	t.Helper()

	cert.UnhandledCriticalExtensions = slices.DeleteFunc(cert.UnhandledCriticalExtensions, asn1.ObjectIdentifier{2, 5, 29, 17}.Equal)
	opts := x509.VerifyOptions{Roots: n.EKRoots(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
	if _, err := cert.Verify(opts); err != nil {
		t.Error(err)
	}
}
