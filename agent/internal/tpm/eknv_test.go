package tpm

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/trustpool/trustpool/tpmsim"
)

// readable are the attributes that makers give to the NV indices of EK certificates.
var readable = tpm2.TPMANV{PPWrite: true, PPRead: true, OwnerRead: true, AuthRead: true, NoDA: true, PlatformCreate: true}

// undefine removes an NV index that the platform defined.
func undefine(t testing.TB, tpm transport.TPM, index tpm2.TPMHandle) {
	t.Helper()

	response, err := tpm2.NVReadPublic{NVIndex: index}.Execute(tpm)
	must(t, err)

	_, err = tpm2.NVUndefineSpace{
		AuthHandle: tpm2.TPMRHPlatform,
		NVIndex:    tpm2.NamedHandle{Handle: index, Name: response.NVName},
	}.Execute(tpm)
	must(t, err)
}

// define makes an NV index and writes data, unless it is nil.
func define(t testing.TB, tpm transport.TPM, index tpm2.TPMHandle, attributes tpm2.TPMANV, auth string, data []byte) {
	t.Helper()

	_, err := tpm2.NVDefineSpace{
		AuthHandle: tpm2.TPMRHPlatform,
		Auth:       tpm2.TPM2BAuth{Buffer: []byte(auth)},
		PublicInfo: tpm2.New2B(tpm2.TPMSNVPublic{
			NVIndex: index, NameAlg: tpm2.TPMAlgSHA256, Attributes: attributes, DataSize: uint16(max(len(data), 1)),
		}),
	}.Execute(tpm)
	must(t, err)

	for offset := 0; offset < len(data); offset += 512 {
		response, err := tpm2.NVReadPublic{NVIndex: index}.Execute(tpm)
		must(t, err)

		_, err = tpm2.NVWrite{
			AuthHandle: tpm2.TPMRHPlatform,
			NVIndex:    tpm2.NamedHandle{Handle: index, Name: response.NVName},
			Data:       tpm2.TPM2BMaxNVBuffer{Buffer: data[offset:min(offset+512, len(data))]},
			Offset:     uint16(offset),
		}.Execute(tpm)
		must(t, err)
	}
}

func TestOddCertificatesAreToldAndNotStumbledOver(t *testing.T) {
	t.Parallel()

	rsaEK := told{"handle 0x81010001", "nv 0x01c00002", "", true, true}
	bare := told{"handle 0x81010001", "", "", true, false}

	with := func(base told, detail string) told {
		base.Detail = detail

		return base
	}

	wrongKey := with(rsaEK, "the certificate is for another key")
	wrongKey.Certified = false

	for what, test := range map[string]struct {
		change func(der []byte) []byte
		want   told
	}{
		"padded with zeros": {func(der []byte) []byte { return append(der, make([]byte, 1300)...) }, rsaEK},
		"padded with FF":    {func(der []byte) []byte { return append(der, bytes.Repeat([]byte{0xff}, 1300)...) }, rsaEK},
		"something behind":  {func(der []byte) []byte { return append(der, "0123"...) }, rsaEK},
		"TCG header": {func(der []byte) []byte {
			return append([]byte{0x10, 1, 0, byte(len(der) >> 8), byte(len(der))}, der...)
		}, rsaEK},
		"TCG header that lies":  {func(der []byte) []byte { return append([]byte{0x10, 1, 0, 0xff, 0xff}, der...) }, with(bare, "no certificate from nv 0x01c00002: not readable: parsing nvram header: ")},
		"erased":                {func([]byte) []byte { return bytes.Repeat([]byte{0xff}, 100) }, with(bare, "no certificate from nv 0x01c00002: not readable: it is empty")},
		"never written":         {func([]byte) []byte { return nil }, with(bare, "no certificate from nv 0x01c00002: not readable: it was never written")},
		"cut":                   {func(der []byte) []byte { return der[:200] }, with(bare, "no certificate from nv 0x01c00002: not readable: asn1.Unmarshal() failed: ")},
		"no certificate inside": {func([]byte) []byte { return []byte{0x30, 3, 2, 1, 1} }, with(bare, "no certificate from nv 0x01c00002: not readable: x509.ParseCertificate() failed: ")},
		"of another key":        {func([]byte) []byte { return certify(t, nil) }, wrongKey},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()

			tpm := watched(t, func(node *tpmsim.Node) {
				der := mustReadEKs(t, node, Auths{})[0].Certificate
				undefine(t, node, 0x01c00002)
				define(t, node, 0x01c00002, readable, "", test.change(bytes.Clone(der)))
			})

			eks := mustReadEKs(t, tpm, Auths{})
			if d := test.want.Detail; strings.HasPrefix(eks[0].Detail, d) && d != "" {
				eks[0].Detail = d // the rest is the library's word
			}

			wantEKs(t, eks, test.want, p384)
		})
	}
}

func TestNVIsReadWithoutRisk(t *testing.T) {
	t.Parallel()

	owner := Auths{Owner: []byte("the owner's")}
	good := told{"handle 0x81010001", "nv 0x01c00002", "", true, true}
	bare := told{"handle 0x81010001", "", "no certificate from nv 0x01c00002: not readable: its attributes forbid it", true, false}
	refusal := bare
	refusal.Detail = "no certificate from nv 0x01c00002: TPM_RC_BAD_AUTH"

	without := func(change func(*tpm2.TPMANV)) tpm2.TPMANV {
		attributes := readable
		change(&attributes)

		return attributes
	}

	forbidding := without(func(a *tpm2.TPMANV) { a.OwnerRead, a.AuthRead = false, false })
	protected := without(func(a *tpm2.TPMANV) { a.OwnerRead, a.NoDA = false, false })
	ownersOrProtected := without(func(a *tpm2.TPMANV) { a.NoDA = false })
	owners := without(func(a *tpm2.TPMANV) { a.AuthRead = false })
	own := without(func(a *tpm2.TPMANV) { a.OwnerRead = false })

	for what, test := range map[string]struct {
		attributes tpm2.TPMANV
		auth       string
		auths      Auths
		want       told
	}{
		"neither owner nor index may read":                   {forbidding, "", owner, bare},
		"only by itself, and that would count":               {protected, "", owner, bare},
		"by itself would count, the owner may":               {ownersOrProtected, "unknown", owner, good},
		"by itself, owner unknown":                           {own, "", Auths{}, good},
		"by itself, owner known":                             {readable, "", owner, good},
		"it has a value that nobody told":                    {own, "unknown", owner, refusal},
		"it has a value that nobody told, but the owner may": {readable, "unknown", owner, good},
		"only the owner, whose value is known":               {owners, "", owner, good},
		"only the owner, whose value nobody told":            {owners, "", Auths{}, refusal},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()

			tpm := watched(t, func(node *tpmsim.Node) {
				der := mustReadEKs(t, node, Auths{})[0].Certificate
				undefine(t, node, 0x01c00002)
				define(t, node, 0x01c00002, test.attributes, test.auth, append(bytes.Clone(der), make([]byte, 1300)...)) // more than one read
				setAuth(t, node, tpm2.TPMRHOwner, owner.Owner)
			})

			eks := mustReadEKs(t, tpm, test.auths)
			if d := test.want.Detail; strings.HasPrefix(eks[0].Detail, d) && d != "" {
				eks[0].Detail = d
			}

			wantEKs(t, eks, test.want, p384)

			if tpm.saw(owner.Owner) {
				t.Error("the owner's value went to the TPM in clear")
			}
		})
	}
}

func TestTheChainMayBeCutAndPadded(t *testing.T) {
	t.Parallel()

	first, second, third := certify(t, nil), certify(t, nil), certify(t, nil)

	tpm := watched(t, func(node *tpmsim.Node) {
		define(t, node, 0x01c00100, readable, "", append(append(bytes.Clone(first), 0xff, 0xff), second[:100]...))
		define(t, node, 0x01c00101, readable, "", append(bytes.Clone(second[100:]), 0, 0))
		define(t, node, 0x01c00102, tpm2.TPMANV{PPWrite: true, PPRead: true, PlatformCreate: true, NoDA: true}, "", first)
		define(t, node, 0x01c001ff, readable, "", append(bytes.Clone(third), "rest"...))
	})

	for _, ek := range mustReadEKs(t, tpm, Auths{}) {
		if diff := cmp.Diff([][]byte{first, second, third}, ek.Chain); diff != "" {
			t.Errorf("chain (-want +got):\n%s", diff)
		}

		const want = "NV index 0x01c00102 of the chain is left out: not readable: its attributes forbid it; 4 bytes of the chain in NV are no certificate"
		if ek.Detail != want {
			t.Errorf("detail is %q, want %q", ek.Detail, want)
		}
	}
}

func TestTheChainIsBounded(t *testing.T) {
	t.Parallel()

	const size, indices = 2000, 40

	tpm := watched(t, func(node *tpmsim.Node) {
		der := certify(t, nil)
		define(t, node, firstChain, readable, "", append(der, make([]byte, size-len(der))...))
	})

	reader, err := newNVReader(tpm, Auths{})
	must(t, err)

	reader.indices = slices.Repeat([]tpm2.TPMHandle{firstChain}, indices)

	certificates, details, err := reader.chain()
	must(t, err)

	if len(certificates) != maxChain/size || len(details) != indices-maxChain/size {
		t.Errorf("%d certificates, %d left out", len(certificates), len(details))
	}
}

// FuzzStoredCertificates: what is found in NV is what was stored there, and no more.
func FuzzStoredCertificates(f *testing.F) {
	der := certify(f, nil)
	f.Add(der)
	f.Add(append(append(bytes.Clone(der), 0, 0xff), der...))
	f.Add(append([]byte{0x10, 1, 0, byte(len(der) >> 8), byte(len(der))}, der...))
	f.Add([]byte{0x30, 0x84, 0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{0xff, 0xff})

	f.Fuzz(func(t *testing.T, stored []byte) {
		if certificate, err := parseEKCertificate(stored); err == nil && !bytes.Contains(stored, certificate.Raw) {
			t.Error("the certificate is not what was stored")
		}

		certificates, rest := splitDER(stored)
		for _, certificate := range certificates {
			if again, left := splitDER(certificate); len(again) != 1 || len(left) > 0 {
				t.Errorf("%x is not one certificate", certificate)
			}
		}

		if len(bytes.Join(certificates, nil))+len(rest) > len(stored) {
			t.Error("more came out than went in")
		}
	})
}
