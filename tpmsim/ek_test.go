package tpmsim_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha512"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"
	"fmt"
	"math/big"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/tpmsim/tpmsimtest"
)

// eks are the EKs of a node: persistent handle and NV index of the certificate.
func eks() map[string][2]tpm2.TPMHandle {
	return map[string][2]tpm2.TPMHandle{"RSA": {0x81010001, 0x01c00002}, "ECC": {0x81010016, 0x01c00016}}
}

func TestEKCertificateVerifiesAndIsOfThePersistentEK(t *testing.T) {
	t.Parallel()
	n := tpmsimtest.Start(t, tpmsim.Options{})
	stranger := tpmsimtest.Start(t, tpmsim.Options{})

	for name, where := range eks() {
		cert := readCertificate(t, n, where[1])

		// The name of a TPM is not one that crypto/x509 can check.
		san := asn1.ObjectIdentifier{2, 5, 29, 17}
		if !slices.ContainsFunc(cert.UnhandledCriticalExtensions, san.Equal) {
			t.Errorf("%s: no critical subject alternative name", name)
		}
		cert.UnhandledCriticalExtensions = slices.DeleteFunc(cert.UnhandledCriticalExtensions, san.Equal)

		opts := x509.VerifyOptions{Roots: n.EKRoots(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
		if _, err := cert.Verify(opts); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		opts.Roots = stranger.EKRoots()
		if _, err := cert.Verify(opts); err == nil {
			t.Errorf("%s: verifies against the authority of another node", name)
		}

		key, ok := cert.PublicKey.(interface{ Equal(x crypto.PublicKey) bool })
		if !ok || !key.Equal(persistentKey(t, n, where[0])) {
			t.Errorf("%s: the certificate's key is not the one at %#x", name, uint32(where[0]))
		}
	}
}

func TestEKCertificateSaysWhatTheProfileWants(t *testing.T) {
	t.Parallel()
	n := tpmsimtest.Start(t, tpmsim.Options{})

	for name, where := range eks() {
		cert := readCertificate(t, n, where[1])
		if len(cert.UnknownExtKeyUsage) != 1 || !cert.UnknownExtKeyUsage[0].Equal(asn1.ObjectIdentifier{2, 23, 133, 8, 1}) {
			t.Errorf("%s: extended key usage %v, want tcg-kp-EKCertificate", name, cert.UnknownExtKeyUsage)
		}
		if cert.IsCA {
			t.Errorf("%s: is an authority", name)
		}
		if cert.NotAfter.Year() != 9999 {
			t.Errorf("%s: ends %v, want never", name, cert.NotAfter)
		}
		want := map[string]string{"2.23.133.2.1": "id:00001014", "2.23.133.2.2": "swtpm", "2.23.133.2.3": "id:20191023"}
		if diff := cmp.Diff(want, directoryName(t, cert)); diff != "" {
			t.Errorf("%s: name of the TPM (-want +got):\n%s", name, diff)
		}
	}
}

func TestEKCertificateCannotBeChanged(t *testing.T) {
	t.Parallel()
	n := tpmsimtest.Start(t, tpmsim.Options{})

	for name, where := range eks() {
		public, err := tpm2.NVReadPublic{NVIndex: where[1]}.Execute(n)
		if err != nil {
			t.Fatal(err)
		}
		contents, err := public.NVPublic.Contents()
		if err != nil {
			t.Fatal(err)
		}
		if got := binary.BigEndian.Uint32(tpm2.Marshal(contents.Attributes)); got != 0x62072801 {
			t.Errorf("%s: attributes = %#x, want 0x62072801", name, got)
		}

		for _, auth := range []tpm2.TPMHandle{tpm2.TPMRHOwner, tpm2.TPMRHPlatform} {
			_, err := tpm2.NVWrite{
				AuthHandle: tpm2.AuthHandle{Handle: auth, Auth: tpm2.PasswordAuth(nil)},
				NVIndex:    tpm2.NamedHandle{Handle: where[1], Name: public.NVName},
				Data:       tpm2.TPM2BMaxNVBuffer{Buffer: []byte{0}},
			}.Execute(n)
			if err == nil {
				t.Errorf("%s: written with authorization %#x", name, uint32(auth))
			}
		}
	}
}

func TestRSAEKIsOfTheDefaultTemplate(t *testing.T) {
	t.Parallel()
	n := tpmsimtest.Start(t, tpmsim.Options{})

	made, err := tpm2.CreatePrimary{PrimaryHandle: tpm2.TPMRHEndorsement, InPublic: tpm2.New2B(tpm2.RSAEKTemplate)}.Execute(n)
	if err != nil {
		t.Fatal(err)
	}
	persistent, err := tpm2.ReadPublic{ObjectHandle: tpm2.TPMHandle(0x81010001)}.Execute(n)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(persistent.Name.Buffer, made.Name.Buffer); diff != "" {
		t.Errorf("names (-persistent +derived):\n%s", diff)
	}
}

// PolicyB is PolicyOR of PolicySecret with the endorsement authorization
// (PolicyA) and PolicyAuthorizeNV with index 0x01c07f02 (PolicyC). TCG EK
// Credential Profile, B.6; TPM 2.0 Part 3, 23.
func TestPolicyBIsMadeOfItsParts(t *testing.T) {
	t.Parallel()
	const (
		policyOR, policySecret, policyAuthorizeNV = 0x171, 0x151, 0x192
		endorsement, index, attributes            = 0x4000000b, 0x01c07f02, 0x220f1008
		algSHA384, indexSize                      = 0x000c, 50
	)
	u16, u32 := binary.BigEndian.AppendUint16, binary.BigEndian.AppendUint32
	h := func(parts ...[]byte) []byte { return sum(crypto.SHA384, parts...) }
	start := make([]byte, sha512.Size384)

	policyA := h(h(start, u32(u32(nil, policySecret), endorsement)))
	nvPublic := u16(append(u16(u32(u16(u32(nil, index), algSHA384), attributes), sha512.Size384), policyA...), indexSize)
	policyC := h(start, u32(nil, policyAuthorizeNV), u16(nil, algSHA384), h(nvPublic))
	policyB := h(start, u32(nil, policyOR), policyA, policyC)

	if diff := cmp.Diff(policyB, tpmsim.PolicyBSHA384()); diff != "" {
		t.Errorf("PolicyB (-want +got):\n%s", diff)
	}
}

// readCertificate reads the certificate in an NV index.
func readCertificate(t *testing.T, tpm transport.TPM, index tpm2.TPMHandle) *x509.Certificate {
	t.Helper()

	cert, err := x509.ParseCertificate(readIndex(t, tpm, index))
	if err != nil {
		t.Fatalf("NV index %#x: %v", uint32(index), err)
	}
	return cert
}

// readIndex reads an NV index with its own empty authorization.
func readIndex(t *testing.T, tpm transport.TPM, index tpm2.TPMHandle) []byte {
	t.Helper()

	public, err := tpm2.NVReadPublic{NVIndex: index}.Execute(tpm)
	if err != nil {
		t.Fatalf("NV index %#x: %v", uint32(index), err)
	}
	contents, err := public.NVPublic.Contents()
	if err != nil {
		t.Fatal(err)
	}

	var content []byte
	for len(content) < int(contents.DataSize) {
		read, err := tpm2.NVRead{
			AuthHandle: tpm2.AuthHandle{Handle: index, Name: public.NVName, Auth: tpm2.PasswordAuth(nil)},
			NVIndex:    tpm2.NamedHandle{Handle: index, Name: public.NVName},
			Size:       min(contents.DataSize-uint16(len(content)), 1024),
			Offset:     uint16(len(content)),
		}.Execute(tpm)
		if err != nil {
			t.Fatalf("NV index %#x: %v", uint32(index), err)
		}
		content = append(content, read.Data.Buffer...)
	}
	return content
}

// persistentKey returns the public key at a handle, put together by hand.
func persistentKey(t *testing.T, tpm transport.TPM, handle tpm2.TPMHandle) crypto.PublicKey {
	t.Helper()

	read, err := tpm2.ReadPublic{ObjectHandle: handle}.Execute(tpm)
	if err != nil {
		t.Fatal(err)
	}
	return publicOf(t, read.OutPublic)
}

// publicOf returns an RSA-2048 or ECC P-384 key.
func publicOf(t *testing.T, from tpm2.TPM2BPublic) crypto.PublicKey {
	t.Helper()

	public, err := from.Contents()
	if err != nil {
		t.Fatal(err)
	}
	if unique, err := public.Unique.RSA(); err == nil {
		return &rsa.PublicKey{E: 65537, N: new(big.Int).SetBytes(unique.Buffer)}
	}
	unique, err := public.Unique.ECC()
	if err != nil {
		t.Fatal(err)
	}
	point := slices.Concat([]byte{4}, unique.X.Buffer, unique.Y.Buffer) // SEC 1, 2.3.3: uncompressed
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P384(), point)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// keyKind returns the type and size of a key.
func keyKind(key crypto.PublicKey) string {
	switch key := key.(type) {
	case *rsa.PublicKey:
		return fmt.Sprint("RSA ", key.N.BitLen())
	case *ecdsa.PublicKey:
		return key.Curve.Params().Name
	default:
		return fmt.Sprintf("%T", key)
	}
}

// directoryName returns the attributes of the directory name that is the subject
// alternative name.
func directoryName(t *testing.T, cert *x509.Certificate) map[string]string {
	t.Helper()

	names := make(map[string]string)
	for _, e := range cert.Extensions {
		if e.Id.String() != "2.5.29.17" {
			continue
		}
		var general []asn1.RawValue
		if rest, err := asn1.Unmarshal(e.Value, &general); err != nil || len(rest) != 0 || len(general) != 1 || general[0].Tag != 4 {
			t.Fatalf("not one directory name: %x", e.Value)
		}
		var rdns []asn1.RawValue
		if _, err := asn1.Unmarshal(general[0].Bytes, &rdns); err != nil {
			t.Fatal(err)
		}
		for _, rdn := range rdns {
			var attribute struct {
				Type  asn1.ObjectIdentifier
				Value string
			}
			if _, err := asn1.Unmarshal(rdn.Bytes, &attribute); err != nil {
				t.Fatal(err)
			}
			names[attribute.Type.String()] = attribute.Value
		}
	}
	return names
}
