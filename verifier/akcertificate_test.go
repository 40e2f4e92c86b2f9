package verifier_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"testing"

	"github.com/trustpool/trustpool/verifier"
)

// TestAnIssuersOtherCertificatesAreNoneOfAnAK has the issuer's CA certify the same key for something else.
func TestAnIssuersOtherCertificatesAreNoneOfAnAK(t *testing.T) {
	t.Parallel()
	f := newForgery(t)
	ev, ca := f.evidence(t), newAuthority(t)
	p := rawPolicy(f.known, f.nonce)
	p.AKIssuers, p.At = ca.pool(), certifiedAt
	akUsage := asn1.ObjectIdentifier{2, 23, 133, 8, 3}
	ekUsage := asn1.ObjectIdentifier{2, 23, 133, 8, 1}

	for rule, tc := range map[string]struct {
		change func(*x509.Certificate)
		good   bool
	}{
		"says nothing of its use": {func(*x509.Certificate) {}, true},
		"as the TCG has it": {func(c *x509.Certificate) {
			c.KeyUsage, c.UnknownExtKeyUsage = x509.KeyUsageDigitalSignature, []asn1.ObjectIdentifier{akUsage}
		}, true},
		"no CA, as it says": {func(c *x509.Certificate) { c.BasicConstraintsValid = true }, true},
		"a CA":              {func(c *x509.Certificate) { c.BasicConstraintsValid, c.IsCA = true, true }, false},
		"for key agreement": {func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement }, false},
		"for nothing":       {func(c *x509.Certificate) { c.ExtraExtensions = append(c.ExtraExtensions, noUsage()) }, false},
		"of a TLS client":   {func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }, false},
		"of a TLS server":   {func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }, false},
		"for any use":       {func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} }, false},
		"of an EK":          {func(c *x509.Certificate) { c.UnknownExtKeyUsage = []asn1.ObjectIdentifier{ekUsage} }, false},
		"of an AK, and a TLS client": {func(c *x509.Certificate) {
			c.ExtKeyUsage, c.UnknownExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, []asn1.ObjectIdentifier{akUsage}
		}, true},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			ev := clone(ev)
			ev.AKCertificates = [][]byte{ca.certifyAs(t, spkiOf(t, f.public), tc.change)}
			if r := verifier.Verify(ev, p); !tc.good {
				wantOnly(t, r, verifier.CheckAKPinned)
			} else if r.Verdict != verifier.Trusted {
				t.Error(r.Explain())
			}
		})
	}
}

// noUsage is a key usage without a single bit, which crypto/x509 reads as none at all.
func noUsage() pkix.Extension {
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 15}, Critical: true, Value: []byte{3, 2, 7, 0}}
}
