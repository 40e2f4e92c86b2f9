package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/trustpool/trustpool/server/internal/trust"
)

// Outcome is what became of one claimed node.
type Outcome struct {
	// Node is the node as it was claimed, and PolicyRevision that of the policy by which it was judged. If either changed since, the verdict does not count, and the node is due at once.
	Node           trust.Node
	PolicyRevision int64
	// Lease is when the lease ends under which the node was claimed. An outcome counts under that one alone: if it was ended, or the node claimed anew, what comes of that is newer.
	Lease time.Time
	// At is now, Due when it is to be asked next.
	At, Due time.Time
	// Verdict is nil if the node could not be asked: Problem says why. That neither renews the last verdict nor ends it.
	Verdict *trust.Verdict
	Problem string
	// Evidence is what the verdict rests on; nil if there is none.
	Evidence *Evidence
	// Hold, if not empty, says why the node is refused until an administrator decides; Alarm is the kind of the alarm that is raised.
	Hold  string
	Alarm string
}

// Record gives claimed nodes back, with what became of them, in one transaction. It takes as many statements for many nodes as for a few: others wait for it.
func (s *Store) Record(ctx context.Context, outcomes []Outcome) error {
	all := make([]answer, len(outcomes))
	for i := range outcomes {
		if err := all[i].prepare(&outcomes[i]); err != nil {
			return fmt.Errorf("recording what the node %s answered: %w", outcomes[i].Node.Name, err)
		}
	}
	err := s.change(ctx, func(t tx) error {
		for len(all) > 0 {
			n := firstOfEach(all)
			if err := t.record(all[:n], s.number); err != nil {
				return err
			}
			all = all[n:]
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("recording what nodes answered: %w", err)
	}
	return nil
}

// answer is an outcome that is being recorded.
type answer struct {
	*Outcome
	evidence storedEvidence
	standing standing
}

func (a *answer) prepare(o *Outcome) (err error) {
	a.Outcome = o
	if o.Verdict != nil && o.Evidence != nil {
		a.evidence, err = o.Evidence.stored()
	}
	return err
}

// firstOfEach is how many answers there are until one is of a node that is among them already: what counts then is what the first has made of it.
func firstOfEach(all []answer) int {
	seen := make(map[int64]bool, len(all))
	for i := range all {
		if seen[all[i].Node.ID] {
			return i
		}
		seen[all[i].Node.ID] = true
	}
	return len(all)
}

// record records answers, of each node one.
func (t tx) record(all []answer, replica int64) error {
	var policy int64
	if err := t.row("SELECT revision FROM policy_revision", nil, &policy); err != nil {
		return err
	}
	if err := t.stand(all, replica); err != nil {
		return err
	}
	var (
		overtaken  = many{columns: []string{"id BIGINT", "at BIGINT"}}
		unanswered = many{columns: []string{"id BIGINT", "problem TEXT", "due BIGINT"}}
		judged     []*answer
	)
	for i := range all {
		a := &all[i]
		switch {
		case !a.standing.mine: // its lease was ended, so that the node is due, or somebody has asked since, and what that one found is newer
		case a.standing.revision != a.Node.Revision || a.Verdict != nil && policy != a.PolicyRevision:
			overtaken.add(a.Node.ID, millis(a.At)) // whoever changed it made it due. It was judged by what holds no more
		case a.Verdict == nil:
			unanswered.add(a.Node.ID, a.Problem, millis(a.Due))
		default:
			judged = append(judged, a)
		}
	}
	_, err := t.execMany(fmt.Sprintf("UPDATE nodes SET leased_until = 0, due_at = CASE WHEN due_at < v.at OR due_at = %d THEN due_at ELSE v.at END FROM ROWS WHERE nodes.id = v.id", int64(never)), overtaken)
	_, err2 := t.execMany("UPDATE nodes SET unanswered = unanswered + 1, failures = failures + 1, last_error = v.problem, "+giveBack+" FROM ROWS WHERE nodes.id = v.id", unanswered)
	return errors.Join(err, err2, t.judge(judged))
}

// standing is how a node stands when what it answered is recorded.
type standing struct {
	revision int64
	// mine: the lease holds under which it was asked.
	mine    bool
	verdict trust.Verdict
}

// stand reads how nodes stand: reading all of them would cost more than all the rest.
func (t tx) stand(all []answer, replica int64) error {
	byID := make(map[int64]*answer, len(all))
	ids := make([]int64, len(all))
	for i := range all {
		ids[i] = all[i].Node.ID
		byID[ids[i]] = &all[i]
	}
	found := 0
	statement := "SELECT nodes.id, nodes.revision, nodes.leased_until, " + t.mine + ", " + verdictOrNone + " FROM nodes LEFT JOIN verdicts ON verdicts.node_id = nodes.id WHERE " + t.among("nodes.id", "$1")
	err := t.rows(statement, []any{t.list(ids), replica}, func(scan func(...any) error) error {
		var (
			id, lease int64
			now       standing
			v         storedVerdict
		)
		err := scan(append([]any{&id, &now.revision, &lease, &now.mine}, v.columns()...)...)
		if err != nil {
			return err
		}
		found++
		a := byID[id]
		now.mine = now.mine && lease == millis(a.Lease)
		now.verdict, err = v.verdict()
		a.standing = now
		return err
	})
	if err == nil && found < len(all) {
		return ErrNotFound
	}
	return err
}

// judge writes the verdicts on nodes that answered.
func (t tx) judge(all []*answer) error {
	if len(all) == 0 {
		return nil
	}
	nodes := many{columns: []string{"id BIGINT", "good BIGINT", "bad BIGINT", "problem TEXT", "reached BIGINT", "due BIGINT"}}
	verdicts := make([]becoming, len(all))
	for i, a := range all {
		good, bad := int64(0), int64(1)
		if a.Verdict.Level == trust.Trusted {
			good, bad = 1, 0
		}
		nodes.add(a.Node.ID, good, bad, a.Problem, millis(a.At), millis(a.Due))
		verdicts[i] = becoming{node: a.Node.ID, old: a.standing.verdict, v: *a.Verdict, at: a.At}
	}
	if err := t.keepEvidence(all, verdicts); err != nil {
		return err
	}
	_, err := t.execMany("UPDATE nodes SET good_quotes = good_quotes + v.good, bad_quotes = bad_quotes + v.bad, failures = 0, last_error = v.problem, reached_at = v.reached, "+giveBack+
		" FROM ROWS WHERE nodes.id = v.id", nodes)
	if err != nil {
		return err
	}
	if err := t.setVerdicts(verdicts); err != nil {
		return err
	}
	for _, a := range all {
		if a.Hold == "" {
			continue
		}
		if err := t.holdNow(a.Outcome); err != nil {
			return fmt.Errorf("the node %s: %w", a.Node.Name, err)
		}
	}
	return nil
}

// giveBack ends a lease; v.due is when the node is due again. Whoever hurried the node in the meantime has made it due before the end of the lease, and that stays.
const giveBack = "due_at = CASE WHEN due_at < leased_until THEN due_at ELSE v.due END, leased_until = 0"

// holdNow refuses the node by the server's own act.
func (t tx) holdNow(o *Outcome) error {
	n, err := t.node("nodes.id = $1", o.Node.ID)
	if err != nil {
		return err
	}
	a := Act{By: "trustpool-server", At: o.At}
	if err := t.hold(a, &n, o.Hold); err != nil {
		return err
	}
	n.Revision++
	return errors.Join(t.writeNode(a, &n), t.log(a, entry{"node.hold", n.Name, nodeDetail(&n)}), t.alarm(o.At, o.Alarm, n.Name, o.Hold))
}
