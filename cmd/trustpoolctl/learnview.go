package main

import (
	"crypto/sha256"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/verifier"
)

// learnView is what learn prints.
type learnView struct {
	// Address is the node's, or Folder holds the evidence.
	Address   string `json:"address,omitempty"`
	Folder    string `json:"folder,omitempty"`
	WrittenTo string `json:"written_to"`
	// AKName and EKBinding are those of the one key that was pinned; AKKey is its SubjectPublicKeyInfo, if it has no Name.
	AKName    verifier.Hex       `json:"ak_name,omitempty"`
	AKKey     verifier.Hex       `json:"ak_key,omitempty"`
	EKBinding verifier.EKBinding `json:"ek_binding"`
	// KnownGood is what the file holds.
	KnownGood verifier.KnownGood `json:"known_good"`
}

func newLearnView(knownGood verifier.KnownGood) *learnView {
	view := &learnView{KnownGood: knownGood}
	for _, pin := range knownGood.AKs {
		view.AKName, view.AKKey, view.EKBinding = pin.Name, pin.SPKI, pin.Binding
	}
	return view
}

func (v *learnView) text(p *console.Page) {
	p.Line("%s from %s, written to %s", p.Good("Learned"), console.Printable(v.Address+v.Folder), v.WrittenTo)
	p.Line("")
	for _, known := range v.KnownGood.PCRs {
		learnedPCR(p, &known)
	}

	p.Line("")
	if len(v.AKName) > 0 {
		p.Line("%s  %s", p.Head("Attestation key"), v.AKName)
	} else {
		p.Line("%s  sha256 of its SubjectPublicKeyInfo %x", p.Head("Attestation key"), sha256.Sum256(v.AKKey))
		p.Line("  %s", p.Warn("Known by its key alone: verify trusts it only with --ak-attributes-by-issuer."))
	}
	p.Line("  Pinned by first use: verify refuses any other key from now on. That proves nothing about hardware:")
	p.Line("  it is the key that answered, and it may be that of a software TPM.")
	p.Line("")
	p.Line("%s", p.Warn("Look at it before you rely on it: learned means that the node measured this, not that it is good."))
}

func learnedPCR(p *console.Page, known *verifier.KnownPCR) {
	if known.PCR == 0 {
		p.Line("  %s PCR 0: known-good by its value, since no event tells what it began with", known.Bank)
	} else if len(known.Events) == 0 {
		p.Line("  %s PCR %d: nothing was measured into it, its value is known-good", known.Bank, known.PCR)
	} else {
		p.Line("  %s PCR %d: %d events, each known-good in its place", known.Bank, known.PCR, len(known.Events))
	}
	for _, value := range known.Values {
		p.Line("    %s", value)
	}
	for _, slot := range known.Events {
		name := slot.Description
		if name == "" {
			name = slot.Type.String()
		}
		for _, digest := range slot.Digests {
			p.Line("    %s  %s", digest, console.Printable(name))
		}
	}
}
