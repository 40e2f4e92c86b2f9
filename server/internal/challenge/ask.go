package challenge

import (
	"context"
	"errors"
	"time"

	"github.com/trustpool/trustpool/server/internal/store"
	"github.com/trustpool/trustpool/server/internal/trust"
	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/client"
)

// actor is the server itself, in the admin log.
const actor = "trustpool-server"

// ask enrols or challenges one node, and says what came of it.
func (s *Schedule) ask(ctx context.Context, node *trust.Node) store.Outcome {
	ctx, cancel := context.WithTimeout(ctx, s.config.Timeout)
	defer cancel()

	begun := time.Now()
	o := store.Outcome{Node: *node}
	policy, err := s.policy.of(ctx, node.Pool)
	switch {
	case err != nil:
		o.Problem = err.Error()
	case node.State == trust.Pending:
		o.PolicyRevision = policy.Revision
		s.enroll(ctx, node, policy, &o)
	default:
		o.PolicyRevision = policy.Revision
		s.challenge(ctx, node, policy, &o)
	}

	o.At = time.Now()
	s.settle(begun, &o)
	return o
}

// settle says when the node is due again, counts and logs.
func (s *Schedule) settle(begun time.Time, o *store.Outcome) {
	m := s.memo(o.Node.ID)
	if o.Verdict == nil && o.Problem != "" {
		o.Due = s.retry(o.At, m.failures)
		m.failures++
		s.metrics.observe("unanswered", o.At.Sub(begun))
		s.deps.Logger.Warn("a node can't be asked", "node", o.Node.Name, "address", o.Node.Address, "failures", m.failures, "error", o.Problem)
	} else {
		o.Due, m.failures = s.next(begun), 0
	}
	if o.Verdict != nil {
		s.metrics.observe(o.Verdict.Level.String(), o.At.Sub(begun))
		s.deps.Logger.Info("verdict", "node", o.Node.Name, "pool", o.Node.Pool, "verdict", o.Verdict.Level.String(), "reason", string(o.Verdict.Reason),
			"detail", o.Verdict.Detail, "duration", o.At.Sub(begun))
	}
	s.remember(o.Node.ID, m)
}

// challenge asks an active node for a quote, and judges it.
func (s *Schedule) challenge(ctx context.Context, node *trust.Node, policy *trust.Policy, o *store.Outcome) {
	answer, err := s.quote(ctx, node, policy)
	if refusal, ok := errors.AsType[*RefusalError](err); ok {
		o.Verdict = s.refused(policy, node, refusal, answer.QuotedAt)
		return
	}
	if err != nil {
		o.Problem = err.Error()
		return
	}

	m := s.memo(node.ID)
	judged := policy.Judge(node, answer, m.sets, time.Now())
	o.Verdict = &judged.Verdict
	o.Evidence = &store.Evidence{QuotedAt: answer.QuotedAt, Nonce: answer.Nonce, Evidence: answer.Evidence}
	if judged.Verdict.Reason == trust.UnknownAK {
		o.Hold, o.Alarm = judged.Verdict.Detail, store.AlarmKeyChanged
		s.deps.Logger.Error("a key signed that is not enrolled: the node is held until an administrator decides", "node", node.Name, "detail", o.Hold)
	}
	if judged.Verdict.Level == trust.Trusted {
		m.sets = judged.Verdict.Sets
	}
	m.logs = s.logs.keep(answer.Evidence.Logs)
	s.remember(node.ID, m)
}

// quote makes a nonce and asks with it.
func (s *Schedule) quote(ctx context.Context, node *trust.Node, policy *trust.Policy) (trust.Answer, error) {
	answer := trust.Answer{QuotedAt: time.Now()}
	selection := policy.Selection(node, answer.QuotedAt)
	if len(selection) == 0 {
		selection = verifier.DefaultSelection() // nobody is trusted by it, but a set can be learned from it
	}
	known, err := s.knownLogs(ctx, node)
	if err != nil {
		return answer, err
	}
	if answer.Nonce, err = client.NewNonce(); err != nil {
		return answer, err
	}
	answer.Evidence, err = s.deps.Challenger.Challenge(ctx, node, Request{Nonce: answer.Nonce, Selection: selection, KnownLogs: known})
	return answer, err
}

// refused is the verdict on a node that answers that it can't quote, or whose answer is malformed.
func (s *Schedule) refused(policy *trust.Policy, node *trust.Node, refusal *RefusalError, at time.Time) *trust.Verdict {
	v := trust.Verdict{Level: trust.Untrusted, Reason: refusal.Reason, Detail: refusal.Error(), QuotedAt: at, ExpiresAt: at.Add(policy.Validity)}
	if node.Record != nil {
		v.EKBinding = node.Record.Binding
	}
	return &v
}

// enroll enrols a pending node. It is challenged as soon as its record is stored.
func (s *Schedule) enroll(ctx context.Context, node *trust.Node, policy *trust.Policy, o *store.Outcome) {
	if s.deps.Enroll == nil {
		o.Problem = "this server does not enrol nodes"
		return
	}
	record, said, err := s.deps.Enroll(ctx, node, policy.RefusedAKs)
	if refusal, ok := errors.AsType[*RefusalError](err); ok {
		o.Verdict = s.refused(policy, node, refusal, time.Now())
		return
	}
	if err != nil {
		o.Problem = err.Error()
		return
	}
	if _, err := s.deps.Store.Enrolled(ctx, store.Act{By: actor, At: time.Now()}, node, record, said); err != nil {
		o.Problem = err.Error()
		return
	}
	s.deps.Logger.Info("enrolled a node", "node", node.Name, "ek_binding", string(record.Binding), "ek_name", record.EK.Name.String(), "ak_name", record.AKs[0].Name.String())
	s.warnOfTakenNames(ctx, node, said)
	s.Wake()
}

// warnOfTakenNames raises an alarm for each name that a node claims and another has. What a node says of itself decides nothing else.
func (s *Schedule) warnOfTakenNames(ctx context.Context, node *trust.Node, said trust.Suggestions) {
	var names []string
	for _, text := range append(said.HostNames, said.SMBIOSUUID) {
		if name, err := trust.ParseName(text); err == nil {
			names = append(names, name)
		}
	}
	hosts, err := s.deps.Store.Lookup(ctx, names, time.Now())
	for _, h := range hosts {
		if h.Node == "" || h.Node == node.Name {
			continue
		}
		detail := "the node " + node.Name + " says that it is called " + h.Asked + ", a name of the node " + h.Node
		s.deps.Logger.Error("a node claims the name of another", "node", node.Name, "name", h.Asked, "owner", h.Node)
		err = errors.Join(err, s.deps.Store.Alarm(ctx, time.Now(), store.AlarmNameTaken, node.Name, detail))
	}
	if err != nil {
		s.deps.Logger.Error("an alarm can't be stored", "node", node.Name, "error", err)
	}
}
