package verifier

import "cmp"

// Meaning says for people, in English, what ties a key to a TPM and what that does not prove: the level, a colon, and a sentence without its full stop. It is empty if b is none of the levels.
func (b EKBinding) Meaning() string {
	switch b {
	case BindingInventory:
		return "inventory: it is the TPM that the inventory names for this node"
	case BindingChain:
		return "chain: a genuine TPM was reached under this name; which machine it sits in is not proven"
	case BindingFirstUse:
		return "first use: it is the TPM that answered first; that proves nothing about hardware"
	case BindingAKIssuer:
		return "issuer: a CA that the policy names says that the key is a TPM's"
	default:
		return ""
	}
}

// Meaning says for people, in English, what is shown if the check passed: a sentence that begins with a small letter and has no full stop. It is empty if n is none of the checks.
func (n CheckName) Meaning() string { return cmp.Or(n.quoteMeaning(), n.enrollMeaning()) }

// quoteMeaning is about the checks of Verify.
func (n CheckName) quoteMeaning() string {
	switch n {
	case CheckPolicy:
		return "what is demanded makes sense"
	case CheckQuotedStructure:
		return "the quote is one well-formed structure"
	case CheckSignatureStructure:
		return "the signature is one well-formed structure"
	case CheckAKStructure:
		return "the attestation key is one well-formed structure"
	case CheckMagic:
		return "a TPM made the quote"
	case CheckType:
		return "it is a quote and nothing else"
	case CheckAKPinned:
		return "the attestation key is one that is pinned, recorded, or certified as demanded"
	case CheckAKAttributes:
		return "the key signs only what its TPM made, and never leaves it"
	case CheckAKAlgorithm:
		return "the key's algorithm is strong enough"
	case CheckSignature:
		return "the attestation key signed the quote"
	case CheckQualifiedSigner:
		return "the key is in the endorsement hierarchy: a primary key, or one under the key in ek.pub, which is one"
	case CheckNonce:
		return "the nonce that was asked with is signed"
	case CheckSelection:
		return "the PCRs that were asked for are signed, and no others"
	case CheckPCRValues:
		return "each signed PCR has its value"
	case CheckPCRDigest:
		return "the values are the signed ones"
	case CheckLaunch:
		return "there was a measured launch"
	case CheckLogs:
		return "the event logs parse"
	case CheckReplay:
		return "the event logs explain every PCR that is judged, and none is capped"
	case CheckKnownGood:
		return "there are known-good values for exactly the PCRs that are judged"
	case CheckMeasurements:
		return "all measurements are known-good"
	case CheckFreshness:
		return "it was signed after the nonce was made"
	default:
		return ""
	}
}

// enrollMeaning is about those checks of an enrolment that Verify has not.
func (n CheckName) enrollMeaning() string {
	switch n {
	case CheckEnrollPolicy:
		return "what is demanded makes sense"
	case CheckEKStructure:
		return "the endorsement key is one well-formed structure"
	case CheckEKAttributes:
		return "the endorsement key only decrypts what its TPM may see, and never leaves it"
	case CheckEKAlgorithm:
		return "the endorsement key's algorithm is strong enough"
	case CheckEKCertificate:
		return "the endorsement key's certificate is one of an endorsement key"
	case CheckEKCertificateKey:
		return "the certificate is for this endorsement key"
	case CheckEKChain:
		return "a TPM maker that is trusted signed the certificate"
	case CheckEKRevocation:
		return "current revocation lists do not name the certificate"
	case CheckEKBinding:
		return "the endorsement key belongs to the node, as far as the binding can tell"
	case CheckAKNotRefused:
		return "the attestation key is not on the refuse list"
	case CheckAKCreationData:
		return "the creation data is one well-formed structure"
	case CheckAKParent:
		return "the attestation key was made in the endorsement hierarchy"
	case CheckAKCertifyInfo:
		return "a TPM certified how the attestation key was made"
	case CheckAKCertifySignature:
		return "the attestation key signed how it was made"
	case CheckAKCertifyNonce:
		return "how the attestation key was made was signed for this enrolment"
	case CheckAKCertifiedObject:
		return "what was certified is this attestation key, with this creation data"
	case CheckAKCertifySigner:
		return "who certified the attestation key is a primary key of the endorsement hierarchy"
	case CheckAKCertificate:
		return "the attestation key's certificate is for this key"
	case CheckTLSKeyStructure:
		return "the TLS key is one well-formed structure"
	case CheckTLSKeyAttributes:
		return "the TLS key never leaves its TPM, and can't pass for an attestation key"
	case CheckTLSKeyAlgorithm:
		return "the TLS key is ECDSA on P-256"
	case CheckTLSKeyCertifyInfo:
		return "a TPM certified the TLS key"
	case CheckTLSKeyCertifySignature:
		return "the attestation key signed what is certified of the TLS key"
	case CheckTLSKeyCertifyNonce:
		return "what is certified of the TLS key was signed for this enrolment"
	case CheckTLSKeyCertifiedObject:
		return "what was certified is this TLS key, in the endorsement hierarchy"
	case CheckTLSKeyCertifySigner:
		return "who certified the TLS key is a primary key of the endorsement hierarchy"
	case CheckTLSKeyPeer:
		return "this very connection ended at the TLS key"
	case CheckCredential:
		return "the TPM with this endorsement key holds this attestation key"
	default:
		return ""
	}
}
