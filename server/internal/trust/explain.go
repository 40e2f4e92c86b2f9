package trust

import "github.com/trustpool/trustpool/verifier"

// explain turns what the verifier refused into a word and a sentence. The first failure that the list names counts: what comes later mostly follows from it.
func explain(result *verifier.Result) (Reason, string) {
	for _, c := range result.Checks {
		if c.Outcome != verifier.Failed {
			continue
		}
		reason := reasonOf(c.Name)
		if reason == PCRMismatch && len(result.Differences) > 0 {
			return reason, result.Differences[0].String()
		}
		return reason, string(c.Name) + ": " + c.Detail
	}
	return QuoteInvalid, "the evidence was not judged as a whole"
}

func reasonOf(check verifier.CheckName) Reason {
	switch check {
	case verifier.CheckAKPinned:
		return UnknownAK
	case verifier.CheckNonce, verifier.CheckFreshness:
		return Replayed
	case verifier.CheckSelection:
		return PCRMissing
	case verifier.CheckLaunch:
		return NoLaunch
	case verifier.CheckKnownGood, verifier.CheckMeasurements:
		return PCRMismatch
	default:
		return QuoteInvalid
	}
}
