package trust

import (
	"fmt"
	"slices"
	"time"

	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/client"
)

// Answer is what a node answered to one challenge.
type Answer struct {
	// Evidence is what came back, Nonce what it was asked with, and QuotedAt when that nonce was made.
	Evidence verifier.Evidence
	Nonce    []byte
	QuotedAt time.Time
}

// Judgement is a verdict, and the result of the verifier that it rests on.
type Judgement struct {
	Verdict Verdict
	// Result is nil if the evidence was not looked at.
	Result *verifier.Result
}

// Judge decides on a node by what it answered. previous are the names of the sets that its last evidence met: they are tried first, which saves time and decides nothing.
//
// A verdict is trusted only if the node is active, its enrolment is good enough for the pool, and one run of verifier.Verify trusts the evidence by sets that are in force now, of all
// parts that the pool demands. It holds for p.Validity from QuotedAt, and not beyond the end of one of these sets.
func (p *Policy) Judge(node *Node, answer Answer, previous []string, now time.Time) Judgement {
	if v, refused := p.refuse(node, answer.Evidence); refused {
		return Judgement{Verdict: p.dated(v, answer.QuotedAt)}
	}
	required, err := p.sets(node, now)
	if err != nil {
		return Judgement{Verdict: p.dated(untrusted(node, NoPolicy, err.Error()), answer.QuotedAt)}
	}

	s := newSearch(required, &answer.Evidence, previous)
	for {
		chosen, known, err := s.choice()
		if err != nil {
			return Judgement{Verdict: p.dated(untrusted(node, NoPolicy, err.Error()), answer.QuotedAt)}
		}
		result := verifier.Verify(answer.Evidence, verifier.Policy{
			Nonce: answer.Nonce, BindMode: verifier.BindBound, KnownGood: known, Node: node.Record, RefusedAKs: p.RefusedAKs,
			Selection: known.Selection(), AllowMorePCRs: true, // other sets may have asked for more
		})
		if result.Verdict != verifier.Trusted && s.next(&result) {
			continue
		}
		return Judgement{Verdict: p.verdict(node, &result, chosen, answer.QuotedAt), Result: &result}
	}
}

// refuse holds back nodes whose evidence need not be looked at.
func (p *Policy) refuse(node *Node, ev verifier.Evidence) (Verdict, bool) {
	switch {
	case node.State == Held:
		return untrusted(node, OnHold, node.StateReason), true
	case node.State != Active || node.Record == nil:
		return Verdict{Level: Unknown, Reason: NotEnrolled, Detail: "the node is not enrolled"}, true
	case node.Record.Name != node.Name:
		return untrusted(node, NotEnrolled, fmt.Sprintf("the node was enrolled under the name %s, enrol it anew", node.Record.Name)), true
	case node.Pool != p.Pool.Name:
		return untrusted(node, NoPolicy, "the policy is that of another pool"), true
	case !p.Pool.Takes(node.Record.Binding):
		return untrusted(node, WeakBinding, fmt.Sprintf("the node was enrolled by %s, which the pool %s does not take", node.Record.Binding, p.Pool.Name)), true
	case !p.Pool.AllowSimulatedNodes && ev.Hints[client.HintSimulated] == "true":
		return untrusted(node, Simulated, "the node says that its TPM is simulated, which the pool "+p.Pool.Name+" does not allow"), true
	default:
		return Verdict{}, false
	}
}

// dated bounds a verdict in time.
func (p *Policy) dated(v Verdict, quotedAt time.Time) Verdict {
	v.QuotedAt, v.ExpiresAt = quotedAt, quotedAt.Add(p.Validity)
	return v
}

func untrusted(node *Node, reason Reason, detail string) Verdict {
	v := Verdict{Level: Untrusted, Reason: reason, Detail: detail}
	if node.Record != nil {
		v.EKBinding = node.Record.Binding
	}
	return v
}

// verdict turns the verifier's result into that of the node.
func (p *Policy) verdict(node *Node, result *verifier.Result, sets []*Set, quotedAt time.Time) Verdict {
	v := untrusted(node, OK, "")
	if result.Verdict == verifier.Trusted {
		v.Level, v.Detail = Trusted, "all demands of the pool "+p.Pool.Name+" are met"
		for _, s := range sets {
			v.Sets = append(v.Sets, s.Name)
		}
		slices.Sort(v.Sets)
	} else {
		v.Reason, v.Detail = explain(result)
	}
	if result.Quote != nil && result.Check(verifier.CheckAKPinned).Outcome == verifier.Passed {
		v.Boot = &Boot{ResetCount: result.Quote.ResetCount, RestartCount: result.Quote.RestartCount}
	}

	v = p.dated(v, quotedAt)
	for _, s := range sets {
		if v.Level == Trusted && !s.ValidUntil.IsZero() && s.ValidUntil.Before(v.ExpiresAt) {
			v.ExpiresAt = s.ValidUntil
		}
	}
	return v
}
