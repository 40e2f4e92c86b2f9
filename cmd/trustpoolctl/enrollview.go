package main

import (
	"cmp"
	"strings"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/wording"
	"github.com/trustpool/trustpool/verifier"
)

// enrollView is what enroll prints.
type enrollView struct {
	Name     string `json:"name"`
	Address  string `json:"address"`
	Enrolled bool   `json:"enrolled"`
	// Unread says why there was nothing to check, if the node's answer is no identity.
	Unread    string `json:"unread,omitempty"`
	WrittenTo string `json:"written_to,omitempty"`
	*verifier.Enrollment

	identity verifier.Identity
	rotated  bool
}

// newUnreadEnrollView is for a node whose answer is no identity.
func newUnreadEnrollView(name, address string, reason error) *enrollView {
	return &enrollView{Name: name, Address: address, Unread: reason.Error(), Enrollment: &verifier.Enrollment{Checks: []verifier.Check{}}}
}

func (v *enrollView) text(p *console.Page) {
	if v.Unread != "" {
		p.Line("%s %s: %s", p.Bad("REFUSED"), console.Printable(v.Name), console.Printable(v.Unread))
		return
	}
	if v.rotated {
		p.Line("%s %s: its new attestation key lives in the TPM of its endorsement key, and signs from now on", p.Good("ROTATED"), console.Printable(v.Name))
	} else if v.Enrolled {
		p.Line("%s %s: its attestation key lives in the TPM of its endorsement key", p.Good("ENROLLED"), console.Printable(v.Name))
	} else {
		p.Line("%s %s: %s", p.Bad("REFUSED"), console.Printable(v.Name), console.Printable(v.firstFailure()))
	}
	p.Line("")
	p.Line("%s", p.Head("Checks"))
	isTLSKeyAsked := v.Check(verifier.CheckTLSKeyStructure).Outcome != verifier.NotAsked
	for _, check := range v.Checks {
		if !isTLSKeyAsked && check.Name != verifier.CheckTLSKeyStructure && strings.HasPrefix(string(check.Name), "tls_key_") {
			continue // the first of them says it for all
		}
		p.Line("  %s  %-25s %s", outcomeWord(p, check.Outcome), check.Name, console.Printable(cmp.Or(check.Detail, enrollMeaning(check.Name))))
	}

	p.Line("")
	p.Line("%s", p.Head("Keys"))
	p.Field("EK", "%s", orDash(v.EKName))
	p.Field("AK", "%s", orDash(v.AKName))
	p.Field("TPM", "%s", wording.TPM(v.TPM))
	if v.Enrolled {
		p.Field("bound by", "%s", wording.Binding(v.EKBinding))
	}
	v.ownWords(p)
	if v.WrittenTo != "" {
		p.Line("")
		p.Line("Written to %s: give it to verify --node", v.WrittenTo)
	}
	if v.rotated {
		p.Line("%s", p.Warn("Known-good files that pin the old key refuse this node from now on, unless verify gets --node."))
	}
}

// firstFailure is what a person came for.
func (v *enrollView) firstFailure() string {
	for _, check := range v.Failures() {
		return string(check.Name) + ": " + check.Detail
	}
	return "its TPM did not open the credential"
}

// ownWords shows what nothing proves, and where an EK certificate is missing or odd.
func (v *enrollView) ownWords(p *console.Page) {
	var lines [][2]string
	for _, ek := range v.identity.EKs {
		if ek.Detail != "" {
			lines = append(lines, [2]string{"EK certificate", ek.Detail})
		}
	}
	if len(v.identity.HostNames) > 0 {
		lines = append(lines, [2]string{"host names", strings.Join(v.identity.HostNames, ", ")})
	}
	for name, words := range map[string]string{"SMBIOS UUID": v.identity.SMBIOSUUID, "SMBIOS serial": v.identity.SMBIOSSerial} {
		if words != "" {
			lines = append(lines, [2]string{name, words})
		}
	}
	if len(lines) == 0 {
		return
	}
	p.Line("")
	p.Line("%s", p.Head("What the node says of itself, and nothing proves"))
	for _, line := range lines {
		p.Field(line[0], "%s", console.Printable(line[1]))
	}
}

// enrollMeaning says in words what a check of an enrolment that passed has shown.
func enrollMeaning(name verifier.CheckName) string {
	switch name {
	case verifier.CheckEnrollPolicy:
		return "what is demanded makes sense"
	case verifier.CheckEKStructure:
		return "the endorsement key is one well-formed structure"
	case verifier.CheckEKAttributes:
		return "the key only decrypts what its TPM may see, and never leaves it"
	case verifier.CheckEKAlgorithm:
		return "the endorsement key's algorithm is strong enough"
	case verifier.CheckEKCertificate:
		return "its certificate is one of an endorsement key"
	case verifier.CheckEKCertificateKey:
		return "the certificate is for this endorsement key"
	case verifier.CheckEKChain:
		return "a TPM maker that you trust signed the certificate"
	case verifier.CheckEKRevocation:
		return "current revocation lists do not name it"
	case verifier.CheckEKBinding:
		return "the endorsement key belongs to the node, as far as the binding can tell"
	case verifier.CheckAKNotRefused:
		return "the attestation key is not on the refuse list"
	case verifier.CheckAKCreationData:
		return "the creation data is one well-formed structure"
	case verifier.CheckAKParent:
		return "the attestation key was made in the endorsement hierarchy"
	case verifier.CheckAKCertifyInfo:
		return "a TPM certified how the key was made"
	case verifier.CheckAKCertifySignature:
		return "the attestation key signed that"
	case verifier.CheckAKCertifyNonce:
		return "it was signed for this enrolment"
	case verifier.CheckAKCertifiedObject:
		return "it is about this key and this creation data"
	case verifier.CheckAKCertifySigner:
		return "the signer is a primary key of the endorsement hierarchy"
	case verifier.CheckAKCertificate:
		return "the attestation key's certificate is for this key"
	case verifier.CheckTLSKeyStructure:
		return "the TLS key is one well-formed structure"
	case verifier.CheckTLSKeyAttributes:
		return "the TLS key never leaves its TPM, and can't pass for an attestation key"
	case verifier.CheckTLSKeyAlgorithm:
		return "the TLS key is ECDSA on P-256"
	case verifier.CheckTLSKeyCertifyInfo:
		return "a TPM certified the TLS key"
	case verifier.CheckTLSKeyCertifySignature:
		return "the attestation key signed that"
	case verifier.CheckTLSKeyCertifyNonce:
		return "it was signed for this enrolment"
	case verifier.CheckTLSKeyCertifiedObject:
		return "it is about the TLS key, which is in the endorsement hierarchy"
	case verifier.CheckTLSKeyCertifySigner:
		return "the signer is a primary key of the endorsement hierarchy"
	case verifier.CheckTLSKeyPeer:
		return "this very connection ended at the TLS key"
	case verifier.CheckCredential:
		return "the TPM with this endorsement key holds this attestation key"
	default:
		return checkMeaning(name)
	}
}
