package trust

import (
	"slices"
	"time"

	"github.com/trustpool/trustpool/verifier"
)

// Level is what a scheduler acts on.
type Level uint8

const (
	// Unknown: there is no verdict that holds now. It is the zero value. Not trusted.
	Unknown Level = iota
	// Untrusted: the node's evidence, or the lack of what it needs, speaks against it.
	Untrusted
	// Trusted: fresh evidence of an enrolled node meets all demands of its pool.
	Trusted
)

// String gives "trusted", "untrusted" or "unknown", the words of OpenAttestation.
func (l Level) String() string {
	switch l {
	case Trusted:
		return "trusted"
	case Untrusted:
		return "untrusted"
	default:
		return "unknown"
	}
}

// ParseLevel is the opposite of String; what is none of the words is Unknown, and false.
func ParseLevel(text string) (Level, bool) {
	for _, l := range []Level{Trusted, Untrusted, Unknown} {
		if l.String() == text {
			return l, true
		}
	}
	return Unknown, false
}

// Reason says in one word why a verdict is as it is.
type Reason string

// The reasons. The list is closed.
const (
	// OK: all is as it should be. The only reason of a trusted verdict.
	OK Reason = "ok"

	// UnknownHost: no node has this name.
	UnknownHost Reason = "unknown_host"
	// NoQuote: the node was never heard of, or it answers that it can't quote.
	NoQuote Reason = "no_quote"
	// Stale: the last verdict has expired.
	Stale Reason = "stale"
	// Unreachable: the last verdict has expired, since the node can't be reached.
	Unreachable Reason = "unreachable"
	// NotEnrolled: the node has no enrolled key.
	NotEnrolled Reason = "not_enrolled"
	// OnHold: the node waits for a decision of an administrator.
	OnHold Reason = "held"
	// PolicyChanged: what the last verdict rested on was withdrawn; the next quote decides.
	PolicyChanged Reason = "policy_changed"

	// NoPolicy: the pool demands nothing, or no set of a part that it demands is in force, or they contradict each other.
	NoPolicy Reason = "no_policy"
	// WeakBinding: the node was enrolled at a level that the pool does not take.
	WeakBinding Reason = "weak_binding"
	// Simulated: the node says that its TPM is simulated.
	Simulated Reason = "simulated"
	// UnknownAK: a key signed that is not enrolled for this node, or is on the refuse list.
	UnknownAK Reason = "unknown_ak"
	// QuoteInvalid: the quote or its logs are not what they have to be: signature, structure, digest, replay.
	QuoteInvalid Reason = "quote_invalid"
	// Replayed: another nonce was signed than the one that was asked with, or over another connection.
	Replayed Reason = "replayed"
	// PCRMissing: a PCR that has to be judged was not quoted.
	PCRMissing Reason = "pcr_missing"
	// NoLaunch: there was no measured launch.
	NoLaunch Reason = "no_launch"
	// PCRMismatch: what was measured is not known good.
	PCRMismatch Reason = "pcr_mismatch"
)

// Verdict is what is known of a node. The zero value is unknown.
type Verdict struct {
	Level  Level
	Reason Reason
	// Detail says it in a sentence, for people.
	Detail string
	// QuotedAt is when the nonce was made that the evidence answers; zero if there is none. ExpiresAt is when the verdict ends; a verdict without it never held.
	QuotedAt, ExpiresAt time.Time
	// Generation grows with each change of any verdict: it numbers the changes. ChangedAt is when this one changed.
	Generation int64
	ChangedAt  time.Time
	// Sets are the names of the known-good sets that the evidence met. All of them have to stay in force.
	Sets []string
	// EKBinding is the level of the node's enrolment.
	EKBinding verifier.EKBinding
	// Boot tells one boot of the node from another; nil if no quote was authentic.
	Boot *Boot
}

// Boot is what changes at every boot (TPM 2.0 Part 2, 10.11.1): any change of the two is a reboot.
type Boot struct {
	ResetCount, RestartCount uint32
}

// ClockSkew is how far ahead of the clock a trusted verdict may have been quoted.
const ClockSkew = time.Minute

// At returns the verdict as it stands at a time: one that has expired is unknown, and so is a trusted one from later than now: the clock was set back, and nobody knows for how long the
// verdict holds. Its times, generation and boot stay, to tell what it was.
func (v Verdict) At(now time.Time) Verdict {
	isLater := v.Level == Trusted && v.QuotedAt.After(now.Add(ClockSkew))
	if v.Level == Unknown || now.Before(v.ExpiresAt) && !isLater {
		return v
	}
	ended := ") has expired"
	if isLater {
		ended = ") is from later than now: the clock was set back"
	}
	v.Level, v.Reason, v.Detail, v.Sets = Unknown, Stale, "the last verdict ("+v.Level.String()+", "+string(v.Reason)+ended, nil
	return v
}

// SameAs tells whether nothing changed but the times: v needs no new generation after old.
func (v *Verdict) SameAs(old *Verdict) bool {
	return v.Level == old.Level && v.Reason == old.Reason && v.EKBinding == old.EKBinding && slices.Equal(v.Sets, old.Sets) && !v.RebootedSince(old)
}

// RebootedSince tells whether the node booted anew between two verdicts that both know of a boot.
func (v *Verdict) RebootedSince(old *Verdict) bool {
	return v.Boot != nil && old.Boot != nil && *v.Boot != *old.Boot
}
