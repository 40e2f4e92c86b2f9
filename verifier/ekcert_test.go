package verifier_test

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"strings"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"

	"github.com/trustpool/trustpool/verifier"
)

// softwareEK is an EK of no TPM: what checks of bytes can't tell from one.
func softwareEK(t testing.TB, alter func(*tpm2.TPMTPublic)) []byte {
	t.Helper()
	f := newForgery(t)
	area := tpm2.ECCEKTemplate
	area.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
		X: tpm2.TPM2BECCParameter{Buffer: f.key.X.FillBytes(make([]byte, 32))},
		Y: tpm2.TPM2BECCParameter{Buffer: f.key.Y.FillBytes(make([]byte, 32))},
	})
	if alter != nil {
		alter(&area)
	}
	return tpm2.Marshal(area)
}

// softwareIdentity passes every check but those of EK certificates and of the credential.
func softwareIdentity(t *testing.T, nonce []byte) verifier.Identity {
	t.Helper()
	return verifier.Identity{
		EKs: []verifier.EndorsementKey{{Public: softwareEK(t, nil)}},
		AKs: []verifier.AttestationKey{newForgery(t).attestationKey(t, nonce)},
	}
}

func TestAnEKIsOfAKindThatKeepsSecrets(t *testing.T) {
	t.Parallel()

	nonce := newNonce(t)
	parms := func(alter func(*tpm2.TPMSECCParms)) func(*tpm2.TPMTPublic) {
		return func(area *tpm2.TPMTPublic) {
			detail, err := area.Parameters.ECCDetail()
			if err != nil {
				t.Fatal(err)
			}
			changed := *detail
			alter(&changed)
			area.Parameters = tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &changed)
		}
	}
	for name, test := range map[string]struct {
		alter func(*tpm2.TPMTPublic)
		want  []verifier.CheckName
	}{
		"good":                  {nil, nil},
		"not restricted":        {func(a *tpm2.TPMTPublic) { a.ObjectAttributes.Restricted = false }, []verifier.CheckName{verifier.CheckEKAttributes}},
		"not fixed to its TPM":  {func(a *tpm2.TPMTPublic) { a.ObjectAttributes.FixedTPM = false }, []verifier.CheckName{verifier.CheckEKAttributes}},
		"not fixed to a parent": {func(a *tpm2.TPMTPublic) { a.ObjectAttributes.FixedParent = false }, []verifier.CheckName{verifier.CheckEKAttributes}},
		"not made by its TPM":   {func(a *tpm2.TPMTPublic) { a.ObjectAttributes.SensitiveDataOrigin = false }, []verifier.CheckName{verifier.CheckEKAttributes}},
		"not for decryption":    {func(a *tpm2.TPMTPublic) { a.ObjectAttributes.Decrypt = false }, []verifier.CheckName{verifier.CheckEKAttributes}},
		"signs too":             {func(a *tpm2.TPMTPublic) { a.ObjectAttributes.SignEncrypt = true }, []verifier.CheckName{verifier.CheckEKAttributes}},
		"encrypted duplication": {func(a *tpm2.TPMTPublic) { a.ObjectAttributes.EncryptedDuplication = true }, []verifier.CheckName{verifier.CheckEKAttributes}},
		"another curve":         {parms(func(p *tpm2.TPMSECCParms) { p.CurveID = tpm2.TPMECCSM2P256 }), []verifier.CheckName{verifier.CheckEKAlgorithm}},
		"a point off its curve": {parms(func(p *tpm2.TPMSECCParms) { p.CurveID = tpm2.TPMECCNistP384 }), []verifier.CheckName{verifier.CheckEKAlgorithm}},
		"a signature scheme": {parms(func(p *tpm2.TPMSECCParms) {
			p.Scheme = tpm2.TPMTECCScheme{Scheme: tpm2.TPMAlgECDSA, Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgECDSA, &tpm2.TPMSSigSchemeECDSA{HashAlg: tpm2.TPMAlgSHA256})}
		}), []verifier.CheckName{verifier.CheckEKAlgorithm}},
		"no protection": {parms(func(p *tpm2.TPMSECCParms) { p.Symmetric = tpm2.TPMTSymDefObject{Algorithm: tpm2.TPMAlgNull} }), []verifier.CheckName{verifier.CheckEKAlgorithm}},
		"protection that is odd": {parms(func(p *tpm2.TPMSECCParms) {
			p.Symmetric.KeyBits = tpm2.NewTPMUSymKeyBits(tpm2.TPMAlgAES, tpm2.TPMKeyBits(64))
		}), []verifier.CheckName{verifier.CheckEKAlgorithm}},
		"named by SHA-1": {func(a *tpm2.TPMTPublic) { a.NameAlg = tpm2.TPMAlgSHA1 }, []verifier.CheckName{verifier.CheckEKStructure}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			id := softwareIdentity(t, nonce)
			id.EKs[0].Public = softwareEK(t, test.alter)
			wantEnrollment(t, verifier.Enroll(id, firstUse(nonce)), test.want...)
			if _, err := verifier.NewChallenge(id.EKs[0].Public, nonce); (err == nil) != (test.want == nil) {
				t.Errorf("a credential for it: %v", err)
			}
		})
	}
}

func TestAnEKCertificateIsOfATrustedMakerAndInForce(t *testing.T) {
	t.Parallel()

	nonce := newNonce(t)
	root := newEKAuthority(t, "root", nil)
	between := newEKAuthority(t, "intermediate", root)
	stranger := newEKAuthority(t, "root", nil) // the same name, another key
	public := softwareEK(t, nil)

	for name, test := range map[string]struct {
		issuer *ekAuthority
		alter  func(*x509.Certificate)
		bundle []byte
		chain  [][]byte
		want   []verifier.CheckName
	}{
		"of the root":                      {issuer: root},
		"of an intermediate in the bundle": {issuer: between, bundle: append(between.pem(), root.pem()...)},
		"of an intermediate in the TPM":    {issuer: between, chain: [][]byte{[]byte("padding"), between.cert.Raw}},
		"of an intermediate that is missing": {
			issuer: between, want: []verifier.CheckName{verifier.CheckEKChain},
		},
		"of another CA": {issuer: stranger, want: []verifier.CheckName{verifier.CheckEKChain}},
		"of another CA that the TPM brings along": {
			issuer: stranger, chain: [][]byte{stranger.cert.Raw}, want: []verifier.CheckName{verifier.CheckEKChain},
		},
		"that ended":       {issuer: root, alter: func(c *x509.Certificate) { c.NotAfter = now().Add(-time.Minute) }, want: []verifier.CheckName{verifier.CheckEKChain}},
		"that begins soon": {issuer: root, alter: func(c *x509.Certificate) { c.NotBefore = now().Add(time.Minute) }, want: []verifier.CheckName{verifier.CheckEKChain}},
		"with a critical extension that nobody knows": {issuer: root, alter: func(c *x509.Certificate) {
			c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}})
		}, want: []verifier.CheckName{verifier.CheckEKChain}},
		"without names":  {issuer: root, alter: func(c *x509.Certificate) { c.ExtraExtensions, c.Subject.CommonName = nil, "TPM" }},
		"of a CA":        {issuer: root, alter: func(c *x509.Certificate) { c.IsCA = true }, want: []verifier.CheckName{verifier.CheckEKCertificate}},
		"for signatures": {issuer: root, alter: func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageDigitalSignature }, want: []verifier.CheckName{verifier.CheckEKCertificate}},
		"for no purpose": {issuer: root, alter: func(c *x509.Certificate) { c.UnknownExtKeyUsage = nil }, want: []verifier.CheckName{verifier.CheckEKCertificate}},
		"of a platform":  {issuer: root, alter: func(c *x509.Certificate) { c.UnknownExtKeyUsage[0] = asn1.ObjectIdentifier{2, 23, 133, 8, 2} }, want: []verifier.CheckName{verifier.CheckEKCertificate}},
		"with names that do not parse": {issuer: root, alter: func(c *x509.Certificate) {
			c.ExtraExtensions[0].Value = append(c.ExtraExtensions[0].Value, 0)
		}, want: []verifier.CheckName{verifier.CheckEKCertificate}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			id := softwareIdentity(t, nonce)
			id.EKs[0].Certificate, id.EKs[0].Chain = test.issuer.certify(t, public, test.alter), test.chain
			policy := firstUse(nonce)
			policy.Roots = parseRoots(t, root.pem())
			if test.bundle != nil {
				policy.Roots = parseRoots(t, test.bundle)
			}
			e := verifier.Enroll(id, policy)
			wantEnrollment(t, e, test.want...)
			if test.want == nil && !e.TPM.Certified {
				t.Errorf("the TPM is %+v", e.TPM)
			}
		})
	}
}

func TestAnRSAEKIsOfASizeAndExponentThatTPMsHave(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		rule     string
		bits     int
		exponent uint32
		last     byte // of the modulus
		want     bool
	}{
		{"2048 bits", 2048, 0, 1, true},
		{"3072 bits", 3072, 0, 1, true},
		{"4096 bits", 4096, 0, 1, true},
		{"the exponent told", 2048, 65537, 1, true},
		{"1024 bits", 1024, 0, 1, false},
		{"2560 bits", 2560, 0, 1, false},
		{"another exponent", 2048, 3, 1, false},
		{"an even modulus", 2048, 0, 2, false},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			t.Parallel()
			modulus := bytes.Repeat([]byte{0xC5}, tc.bits/8)
			modulus[len(modulus)-1] = tc.last
			public := func(modulus []byte) []byte {
				area := tpm2.RSAEKTemplate
				detail, err := area.Parameters.RSADetail()
				if err != nil {
					t.Fatal(err)
				}
				parms := *detail
				parms.KeyBits, parms.Exponent = tpm2.TPMKeyBits(tc.bits), tc.exponent
				area.Parameters = tpm2.NewTPMUPublicParms(tpm2.TPMAlgRSA, &parms)
				area.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgRSA, &tpm2.TPM2BPublicKeyRSA{Buffer: modulus})
				return tpm2.Marshal(area)
			}
			name := nameOf([]byte("an AK"))
			if _, err := verifier.NewChallenge(public(modulus), name); (err == nil) != tc.want {
				t.Errorf("a credential for it: %v", err)
			}
			modulus[0] = 0x45
			if _, err := verifier.NewChallenge(public(modulus), name); err == nil {
				t.Error("a credential for a modulus of a bit less")
			}
		})
	}
}

func TestAPaddedOrCutCertificateGivesAStatement(t *testing.T) {
	t.Parallel()

	nonce := newNonce(t)
	root := newEKAuthority(t, "root", nil)
	good := root.certify(t, softwareEK(t, nil), nil)
	for name, der := range map[string][]byte{
		"padded":       append(bytes.Clone(good), 0xFF, 0xFF),
		"cut":          good[:len(good)-1],
		"no DER":       []byte("certificate"),
		"far too long": make([]byte, 9<<10),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			id := softwareIdentity(t, nonce)
			id.EKs[0].Certificate = der
			policy := firstUse(nonce)
			policy.Roots = parseRoots(t, root.pem())
			e := verifier.Enroll(id, policy)
			wantEnrollment(t, e, verifier.CheckEKCertificate)
			if detail := e.Check(verifier.CheckEKCertificate).Detail; !strings.HasPrefix(detail, "the EK certificate ") {
				t.Errorf("the statement is %q", detail)
			}
			policy.Roots = verifier.EKRoots{}
			wantEnrollment(t, verifier.Enroll(id, policy)) // nobody asked for it
		})
	}
}

func TestWhatACertificateSaysOfTheTPMIsBoundedAndPrintable(t *testing.T) {
	t.Parallel()

	nonce := newNonce(t)
	root := newEKAuthority(t, "root", nil)
	for said, want := range map[string][2]string{
		"id:49465800":                {"id:49465800", "IFX"},
		"id:494E5443":                {"id:494E5443", "INTC"},
		"id:217E0000":                {"id:217E0000", "!~"},
		"id:20410000":                {"id:20410000", "id:20410000"},
		"id:417F0000":                {"id:417F0000", "id:417F0000"},
		"id:00001014":                {"id:00001014", "id:00001014"},
		"\x1b[31m" + "red":           {"?[31mred", "?[31mred"},
		strings.Repeat("long ", 100): {strings.Repeat("long ", 100)[:64], strings.Repeat("long ", 100)[:64]},
	} {
		id := softwareIdentity(t, nonce)
		id.EKs[0].Certificate = root.certify(t, id.EKs[0].Public, func(c *x509.Certificate) { c.ExtraExtensions[0] = tpmName(t, said) })
		e := verifier.Enroll(id, firstUse(nonce))
		if got := [2]string{e.TPM.Manufacturer, e.TPM.Vendor()}; got != want || e.TPM.Model != "SLB9670" || e.TPM.Firmware != "id:00070055" || e.TPM.Certified {
			t.Errorf("%q gives %+v, want %q", said, e.TPM, want)
		}
	}
}

func TestARevokedCertificateIsRefusedAndAMissingListToo(t *testing.T) {
	t.Parallel()

	nonce := newNonce(t)
	root := newEKAuthority(t, "root", nil)
	between := newEKAuthority(t, "intermediate", root)
	stranger := newEKAuthority(t, "intermediate", root)
	past := func(l *x509.RevocationList) {
		l.ThisUpdate, l.NextUpdate = now().Add(-2*time.Hour), now().Add(-time.Hour)
	}
	future := func(l *x509.RevocationList) {
		l.ThisUpdate, l.NextUpdate = now().Add(time.Hour), now().Add(2*time.Hour)
	}

	for name, test := range map[string]struct {
		lists [][]byte
		want  verifier.Outcome
		words string
	}{
		"no lists":                         {nil, verifier.NotAsked, "no CRLs were given"},
		"not revoked":                      {[][]byte{between.crl(t, nil, 1, 2), root.crl(t, nil)}, verifier.Passed, ""},
		"revoked":                          {[][]byte{between.crl(t, nil, 1, 0x1234), root.crl(t, nil)}, verifier.Failed, "was revoked"},
		"intermediate revoked":             {[][]byte{between.crl(t, nil), root.crl(t, nil, 7)}, verifier.Failed, "was revoked"},
		"revoked by an old list":           {[][]byte{between.crl(t, past, 0x1234), between.crl(t, nil), root.crl(t, nil)}, verifier.Failed, "was revoked"},
		"list of the root missing":         {[][]byte{between.crl(t, nil)}, verifier.Failed, "no current CRL of CN=root"},
		"list of the intermediate missing": {[][]byte{root.crl(t, nil)}, verifier.Failed, "no current CRL of CN=intermediate"},
		"list that ended":                  {[][]byte{between.crl(t, past), root.crl(t, nil)}, verifier.Failed, "ended on"},
		"list that begins soon":            {[][]byte{between.crl(t, future), root.crl(t, nil)}, verifier.Failed, "no current CRL"},
		"list by somebody of that name":    {[][]byte{stranger.crl(t, nil), root.crl(t, nil)}, verifier.Failed, "no current CRL of CN=intermediate"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			id := softwareIdentity(t, nonce)
			id.EKs[0].Certificate = between.certify(t, id.EKs[0].Public, nil)
			policy := firstUse(nonce)
			policy.Roots = parseRoots(t, append(root.pem(), between.pem()...))
			for _, list := range test.lists {
				crls, err := verifier.ParseCRLs(list)
				if err != nil {
					t.Fatal(err)
				}
				policy.CRLs = append(policy.CRLs, crls...)
			}
			e := verifier.Enroll(id, policy)
			if c := e.Check(verifier.CheckEKRevocation); c.Outcome != test.want || !strings.Contains(c.Detail, test.words) {
				t.Errorf("revocation %s: %s", c.Outcome, c.Detail)
			}
			if refused := len(e.Failures()) > 0; refused != (test.want == verifier.Failed) {
				t.Errorf("refused: %v", e.Failures())
			}
		})
	}
}

func TestParseCRLsTakesWholeListsOnly(t *testing.T) {
	t.Parallel()

	root := newEKAuthority(t, "root", nil)
	good := root.crl(t, nil, 1)
	extended := func(id asn1.ObjectIdentifier, critical bool) []byte {
		return root.crl(t, func(l *x509.RevocationList) {
			l.ExtraExtensions = []pkix.Extension{{Id: id, Critical: critical, Value: []byte{2, 1, 1}}}
		})
	}
	entry := func(id asn1.ObjectIdentifier, critical bool) []byte {
		return root.crl(t, func(l *x509.RevocationList) {
			l.RevokedCertificateEntries[0].ExtraExtensions = []pkix.Extension{{Id: id, Critical: critical, Value: []byte{5, 0}}}
		}, 1)
	}
	for name, test := range map[string]struct {
		raw  []byte
		want int
	}{
		"DER":                                {good, 1},
		"two in PEM":                         {append(pemOf("X509 CRL", good), pemOf("X509 CRL", good)...), 2},
		"another kind of PEM":                {root.pem(), 0},
		"nothing":                            {nil, 0},
		"byte after it":                      {append(bytes.Clone(good), 0), 0},
		"delta list":                         {extended(asn1.ObjectIdentifier{2, 5, 29, 27}, true), 0},
		"delta list by mistake":              {extended(asn1.ObjectIdentifier{2, 5, 29, 27}, false), 0},
		"list of a part":                     {extended(asn1.ObjectIdentifier{2, 5, 29, 28}, true), 0},
		"list of a part, by mistake":         {extended(asn1.ObjectIdentifier{2, 5, 29, 28}, false), 0},
		"entry of another issuer":            {entry(asn1.ObjectIdentifier{2, 5, 29, 29}, true), 0},
		"entry of another issuer by mistake": {entry(asn1.ObjectIdentifier{2, 5, 29, 29}, false), 0},
		"critical extension":                 {extended(asn1.ObjectIdentifier{1, 2, 3}, true), 0},
		"entry with a critical extension":    {entry(asn1.ObjectIdentifier{1, 2, 3}, true), 0},
		"entry with a remark":                {entry(asn1.ObjectIdentifier{1, 2, 3}, false), 1},
		"remark that is no matter":           {extended(asn1.ObjectIdentifier{1, 2, 3}, false), 1},
		"far too long":                       {make([]byte, 16<<20+1), 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			crls, err := verifier.ParseCRLs(test.raw)
			if len(crls) != test.want || (err == nil) != (test.want > 0) {
				t.Errorf("got %d lists and %v, want %d", len(crls), err, test.want)
			}
		})
	}
}

func TestParseEKRootsTakesCAsWithARoot(t *testing.T) {
	t.Parallel()

	root := newEKAuthority(t, "root", nil)
	between := newEKAuthority(t, "intermediate", root)
	leaf := pemOf("CERTIFICATE", root.certify(t, softwareEK(t, nil), nil))
	for name, test := range map[string]struct {
		bundle []byte
		want   string
	}{
		"root":                 {root.pem(), ""},
		"with text between":    {bytes.Join([][]byte{[]byte("# maker\n"), between.pem(), []byte("\nand\n"), root.pem()}, nil), ""},
		"no root":              {between.pem(), "none of the certificates is a root"},
		"certificate of a TPM": {append(leaf, root.pem()...), "none of a CA"},
		"private key":          {append(pemOf("PRIVATE KEY", nil), root.pem()...), "only CERTIFICATE belongs here"},
		"nothing":              {nil, "there has to be one"},
		"broken block":         {append(bytes.Replace(root.pem(), []byte("M"), []byte("!"), 1), root.pem()...), "1 of 2 PEM blocks"},
		"no certificate":       {pemOf("CERTIFICATE", []byte("x")), "does not parse"},
		"far too long":         {make([]byte, 4<<20+1), "more than"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			roots, err := verifier.ParseEKRoots(test.bundle)
			if (test.want == "") != (err == nil) || (err != nil && !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if roots.Empty() != (err != nil) {
				t.Errorf("empty: %v", roots.Empty())
			}
		})
	}
}
