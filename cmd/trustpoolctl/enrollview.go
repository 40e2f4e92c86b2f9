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
		p.Line("  %s  %-25s %s", outcomeWord(p, check.Outcome), check.Name, console.Printable(cmp.Or(check.Detail, check.Name.Meaning())))
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
