package main

import (
	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/verifier"
)

// checkMeaning says in words what a check that passed has shown.
func checkMeaning(name verifier.CheckName) string {
	switch name {
	case verifier.CheckPolicy:
		return "what is demanded makes sense"
	case verifier.CheckQuotedStructure:
		return "the quote is one well-formed structure"
	case verifier.CheckSignatureStructure:
		return "the signature is one well-formed structure"
	case verifier.CheckAKStructure:
		return "the attestation key is one well-formed structure"
	case verifier.CheckMagic:
		return "a TPM made the quote"
	case verifier.CheckType:
		return "it is a quote and nothing else"
	case verifier.CheckAKPinned:
		return "the attestation key is one that is pinned, recorded, or certified as demanded"
	case verifier.CheckAKAttributes:
		return "the key signs only what its TPM made, and never leaves it"
	case verifier.CheckAKAlgorithm:
		return "the key's algorithm is strong enough"
	case verifier.CheckSignature:
		return "the attestation key signed the quote"
	case verifier.CheckQualifiedSigner:
		return "the key is in the endorsement hierarchy: a primary key, or one under the key in ek.pub, which is one"
	case verifier.CheckNonce:
		return "the nonce that was asked with is signed"
	case verifier.CheckSelection:
		return "the PCRs that were asked for are signed, and no others"
	case verifier.CheckPCRValues:
		return "each signed PCR has its value"
	case verifier.CheckPCRDigest:
		return "the values are the signed ones"
	case verifier.CheckLaunch:
		return "there was a measured launch"
	case verifier.CheckLogs:
		return "the event logs parse"
	case verifier.CheckReplay:
		return "the event logs explain every PCR that is judged, and none is capped"
	case verifier.CheckKnownGood:
		return "there are known-good values for exactly the PCRs that are judged"
	case verifier.CheckMeasurements:
		return "all measurements are known-good"
	case verifier.CheckFreshness:
		return "it was signed after the nonce was made"
	default:
		return ""
	}
}

// checkText writes each check with its outcome and words.
func checkText(p *console.Page, checks []verifier.Check) {
	p.Line("%s", p.Head("Checks"))
	for _, check := range checks {
		words := check.Detail
		if words == "" {
			words = checkMeaning(check.Name)
		}
		p.Line("  %s  %-20s %s", outcomeWord(p, check.Outcome), check.Name, console.Printable(words))
	}
}

// outcomeWord is nine columns wide.
func outcomeWord(p *console.Page, outcome verifier.Outcome) string {
	switch outcome {
	case verifier.Passed:
		return p.Good("ok       ")
	case verifier.NotAsked:
		return p.Warn("not asked")
	case verifier.LeftToIssuer:
		return p.Warn("by issuer")
	case verifier.NotRun:
		return p.Warn("not run  ")
	default:
		return p.Bad("failed   ")
	}
}
