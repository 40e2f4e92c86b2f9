package page

import "github.com/trustpool/trustpool/verifier"

// checkWords says what a check looks at.
func checkWords(name verifier.CheckName) string {
	switch name {
	case verifier.CheckPolicy:
		return "The rules can be applied"
	case verifier.CheckQuotedStructure:
		return "The quote is in one piece"
	case verifier.CheckSignatureStructure:
		return "The signature is in one piece"
	case verifier.CheckAKStructure:
		return "The key is in one piece"
	case verifier.CheckMagic:
		return "A TPM made the quote"
	case verifier.CheckType:
		return "It is a quote and nothing else"
	case verifier.CheckAKPinned:
		return "The key is the one that was enrolled for this node"
	case verifier.CheckAKAttributes:
		return "The key never leaves its TPM and signs only what the TPM made"
	case verifier.CheckAKAlgorithm:
		return "The key is of a kind that is taken"
	case verifier.CheckSignature:
		return "The key signed the quote"
	case verifier.CheckQualifiedSigner:
		return "The key is one of the endorsement hierarchy"
	case verifier.CheckNonce:
		return "The quote answers this server's question, over this server's connection"
	case verifier.CheckSelection:
		return "All PCRs are in it that were asked for"
	case verifier.CheckPCRValues:
		return "There is a value for each PCR"
	case verifier.CheckPCRDigest:
		return "The values are the signed ones"
	case verifier.CheckLaunch:
		return "There was a measured launch"
	case verifier.CheckLogs:
		return "The event logs can be read"
	case verifier.CheckReplay:
		return "The events give the signed values"
	case verifier.CheckKnownGood:
		return "Something is known good for each PCR"
	case verifier.CheckMeasurements:
		return "What was measured is known good"
	case verifier.CheckFreshness:
		return "The quote was made after the question"
	default:
		return string(name)
	}
}
