package ear

import (
	"slices"

	"github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/server/internal/trust"
	"github.com/trustpool/trustpool/verifier"
)

// The values of trustworthiness claims that are used here (draft-ietf-rats-ar4si, 2.3.4).
const (
	noClaim = 0

	approvedConfiguration  = 2
	recognizedInstance     = 2
	genuineHardware        = 2
	approvedBootExecutable = 3 // "during the boot process": nobody looks at what is loaded later

	unrecognizedExecutable = 33

	contraindicatedHardware = 96
	unrecognizedInstance    = 97
	badEvidence             = 99 // "Cryptographic validation of the Evidence has failed"
)

// tierOf is affirming for what is trusted, and for nothing else.
func tierOf(t api.Trust) api.Tier {
	switch t {
	case api.Trusted:
		return api.TierAffirming
	case api.Untrusted:
		return api.TierContraindicated
	default:
		return api.TierNone
	}
}

// vectorOf claims what was found, and nothing of what was not looked at. Only claims of a trusted host affirm, and none of them is worse than the status says (draft-ietf-rats-ear-04, 3.1).
func vectorOf(v *api.EARVerdict) api.TrustVector {
	switch v.Trust {
	case api.Trusted:
		return affirmed(v)
	case api.Untrusted:
		return refused(trust.Reason(v.Reason))
	default:
		return api.TrustVector{}
	}
}

// affirmed claims by the parts of the launch that are known good, and by what ties the node's keys to its TPM. After an enrolment by first use, nobody knows which machine that is or whether its TPM
// is one.
func affirmed(v *api.EARVerdict) api.TrustVector {
	var vector api.TrustVector
	knows := func(part trust.Part) bool { return slices.Contains(v.Parts, string(part)) }
	bound := v.EKBinding == string(verifier.BindingInventory) || v.EKBinding == string(verifier.BindingChain)
	if bound {
		vector.InstanceIdentity = recognizedInstance
	}
	if knows(trust.Hypervisor) {
		vector.Executables = approvedBootExecutable
	}
	if knows(trust.Hypervisor) && knows(trust.Platform) { // command lines are in the one, launch control policy in the other
		vector.Configuration = approvedConfiguration
	}
	if knows(trust.Platform) && bound {
		vector.Hardware = genuineHardware
	}
	return vector
}

// refused claims what a reason says. Most say nothing of what runs there.
func refused(reason trust.Reason) api.TrustVector {
	switch reason {
	case trust.QuoteInvalid, trust.Replayed:
		return api.TrustVector{InstanceIdentity: badEvidence, Configuration: badEvidence, Executables: badEvidence, Hardware: badEvidence}
	case trust.UnknownAK:
		return api.TrustVector{InstanceIdentity: unrecognizedInstance}
	case trust.PCRMismatch:
		return api.TrustVector{Executables: unrecognizedExecutable}
	case trust.Simulated:
		return api.TrustVector{Hardware: contraindicatedHardware}
	default:
		return api.TrustVector{InstanceIdentity: noClaim, Configuration: noClaim, Executables: noClaim, Hardware: noClaim}
	}
}
