package verifier

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
)

// BindingAKIssuer: the AK has a certificate by one of Policy.AKIssuers, and that CA's word is all that ties it to a TPM.
const BindingAKIssuer EKBinding = "ak_issuer"

// remark is what a check has to say that did not fail.
type remark struct {
	outcome Outcome
	text    string
}

// Error gives the words.
func (r remark) Error() string { return r.text }

// checkAKPinned wants a pin, the right issuer, or both, whichever the policy has.
func (e *exam) checkAKPinned() error {
	if err := e.checkAKNotRefused(); err != nil {
		return err
	}
	pins := e.policy.pins()
	if e.policy.Node != nil && len(pins) == 0 {
		return errors.New("the node's record has no AK: it trusts no key")
	}
	if len(pins) == 0 && e.policy.AKIssuers == nil {
		return errors.New("the policy pins no AK: it trusts no key")
	}
	found := AKPin{SPKI: e.ak.spki, Binding: BindingAKIssuer}
	if len(pins) > 0 {
		var ok bool
		if found, ok = findPin(pins, e.ak); !ok {
			return e.notPinned()
		}
	}
	if e.policy.AKIssuers != nil {
		if err := e.checkAKIssuer(); err != nil {
			return err
		}
	}
	e.pin = found
	return nil
}

// checkAKNotRefused goes by the Name of whatever public area there is. Where no pin vouches for that area, CheckQualifiedSigner shows that the Name is the signed one.
func (e *exam) checkAKNotRefused() error {
	return checkNotRefused(e.policy.RefusedAKs, e.ak.name)
}

func (e *exam) notPinned() error {
	first := e.policy.pins()[0]
	if e.ak.public == nil {
		return mismatch{
			detail:   fmt.Sprintf("the AK is not one that the policy pins: its key is %x", e.ak.spki),
			expected: first.SPKI,
			got:      e.ak.spki,
		}
	}
	return mismatch{
		detail:   fmt.Sprintf("the AK is not one that the policy pins: its Name is %x", e.ak.name),
		expected: first.Name,
		got:      e.ak.name,
	}
}

// checkAKIssuer verifies the AK's certificate at the policy's time.
func (e *exam) checkAKIssuer() error {
	if len(e.ak.chain) == 0 {
		return errors.New("the policy wants a certificate of the AK by one of its issuers, and the evidence has none")
	}

	leaf := *e.ak.chain[0]
	if err := checkAKUsage(&leaf); err != nil {
		return err
	}
	// RFC 5280, 4.2.1.6: with an empty subject the alternative name is critical. It names the TPM in forms that the library does not know,
	// and nothing here goes by that name.
	leaf.UnhandledCriticalExtensions = slices.DeleteFunc(slices.Clone(leaf.UnhandledCriticalExtensions), func(id asn1.ObjectIdentifier) bool {
		return id.Equal(asn1.ObjectIdentifier{2, 5, 29, 17})
	})
	between := x509.NewCertPool()
	for _, cert := range e.ak.chain[1:] {
		between.AddCert(cert)
	}
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots:         e.policy.AKIssuers,
		Intermediates: between,
		CurrentTime:   e.policy.At,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return fmt.Errorf("the AK's certificate is not by one of the policy's issuers: %w", err)
	}
	return nil
}

// checkAKUsage keeps out what such a CA may issue beside AK certificates, as far as these say what they are for (TCG EK Credential Profile: 2.23.133.8.3 is
// tcg-kp-AIKCertificate). One without an extended key usage is taken, since not all CAs write one.
func checkAKUsage(cert *x509.Certificate) error {
	if cert.IsCA {
		return errors.New("the AK's certificate is that of a CA")
	}
	if hasExtension(cert.Extensions, 2, 5, 29, 15) && cert.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return errors.New("the AK's certificate is not for signing: its key usage has no digitalSignature")
	}
	if hasExtension(cert.Extensions, 2, 5, 29, 37) && !slices.ContainsFunc(cert.UnknownExtKeyUsage, asn1.ObjectIdentifier{2, 23, 133, 8, 3}.Equal) {
		return errors.New("the AK's certificate is for something else than an AK: its extended key usage is not tcg-kp-AIKCertificate (2.23.133.8.3)")
	}
	return nil
}

func (e *exam) checkAKAttributes() error {
	if e.ak.public == nil {
		return e.leftToIssuer("only the AK's key is known, not its public area: nothing shows that it is restricted and never leaves its TPM")
	}
	if err := e.ak.checkAttributes(); err != nil {
		return err
	}
	if len(e.pin.SPKI) > 0 {
		return e.leftToIssuer("the policy knows only the AK's key: that it is restricted and never leaves its TPM is the evidence's own word")
	}
	return nil
}

// checkQualifiedSigner: the TPM signs the key's place in its hierarchy, so a key of another hierarchy or under another parent shows here.
func (e *exam) checkQualifiedSigner() error {
	if e.ak.public == nil {
		return e.leftToIssuer("only the AK's key is known, not its Name: nothing shows that it belongs to the endorsement hierarchy")
	}
	detail, signer := "the signer is no primary key of the endorsement hierarchy with this AK's Name", e.quoted.QualifiedSigner.Buffer
	err := compare(e.ak.qualifiedName(), signer, "%s", detail)
	if err != nil && e.ak.parent != nil {
		detail += ", nor a key under the parent that is told"
		err = compare(e.ak.qualifiedNameUnder(e.ak.parent.qualifiedName()), signer, "%s", detail)
	}
	if err == nil || !e.policy.AKAttributesByIssuer {
		return err
	}
	if len(e.policy.RefusedAKs) > 0 && !e.areaPinned() {
		return fmt.Errorf("%s, so that nothing shows that this is the AK's Name: whether it is on the refuse list can't be told", detail)
	}
	return e.leftToIssuer(detail)
}

// areaPinned tells whether the policy pins the AK's whole public area, and with it its Name.
func (e *exam) areaPinned() bool { return len(e.pin.Public) > 0 }

// akName returns the Name of the AK if the policy vouches for it, or the key itself in what it signed; else nil.
func (e *exam) akName() []byte {
	if e.ak == nil || !e.areaPinned() && !e.passed(CheckMagic, CheckType, CheckSignature, CheckQualifiedSigner) {
		return nil
	}
	return e.ak.name
}

// leftToIssuer is for what can't be checked: it refuses unless the policy leaves it to the issuer.
func (e *exam) leftToIssuer(text string) error {
	if !e.policy.AKAttributesByIssuer {
		return errors.New(text + ", and the policy does not leave that to the AK's issuer")
	}
	return remark{LeftToIssuer, "not checked, the AK's issuer is believed: " + text}
}
