package store

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"

	"github.com/trustpool/trustpool/server/internal/trust"
	"github.com/trustpool/trustpool/verifier"
)

// never is when a node is due that is not to be asked.
const never = math.MaxInt64

// UpdateNode changes what an administrator says of the node of this revision: aliases, address, server name, pool, labels, binding and expected EK. A new pool takes the verdict away until the
// next quote; a new binding or EK takes the enrolment away. Other changes that do makes are not kept.
func (s *Store) UpdateNode(ctx context.Context, a Act, name string, revision int64, do func(*trust.Node)) (trust.Node, error) {
	return s.changeNode(ctx, a, name, revision, "node.update", func(t tx, n *trust.Node) error {
		old := *n
		do(n)
		n.ID, n.Name, n.State, n.StateReason, n.Record, n.Suggestions = old.ID, old.Name, old.State, old.StateReason, old.Record, old.Suggestions
		n.AddedAt, n.AddedBy, n.Revision = old.AddedAt, old.AddedBy, old.Revision
		if n.Binding != old.Binding || !reflect.DeepEqual(n.EK, old.EK) {
			n.State, n.StateReason, n.Record = trust.Pending, "not enrolled yet", nil
		}
		err := n.Check()
		if err != nil {
			return invalid(err)
		}
		if _, err := t.pool(n.Pool); err != nil {
			return fmt.Errorf("the pool %s: %w", n.Pool, err)
		}
		if err := t.takeNames(n); err != nil {
			return err
		}

		if n.Pool != old.Pool || n.Record == nil {
			err = t.withdraw(a, "node_id = $1", n.ID)
		}
		if old.State == trust.Held && n.State != trust.Held {
			err = errors.Join(err, t.endHold(a, n))
		}
		return err
	})
}

// ReenrollNode forgets the node's keys: it is enrolled anew as soon as it is reached, at the level that was set for it. This is how an administrator accepts another AK or TPM.
func (s *Store) ReenrollNode(ctx context.Context, a Act, name string, revision int64) (trust.Node, error) {
	return s.changeNode(ctx, a, name, revision, "node.reenroll", func(t tx, n *trust.Node) error {
		n.State, n.StateReason, n.Record = trust.Pending, "not enrolled yet", nil
		return errors.Join(t.withdraw(a, "node_id = $1", n.ID), t.endHold(a, n))
	})
}

// HoldNode refuses a node until an administrator decides.
func (s *Store) HoldNode(ctx context.Context, a Act, name string, revision int64, reason string) (trust.Node, error) {
	return s.changeNode(ctx, a, name, revision, "node.hold", func(t tx, n *trust.Node) error {
		return t.hold(a, n, reason)
	})
}

// ReleaseNode ends a hold: the keys that were enrolled before count again.
func (s *Store) ReleaseNode(ctx context.Context, a Act, name string, revision int64) (trust.Node, error) {
	return s.changeNode(ctx, a, name, revision, "node.release", func(t tx, n *trust.Node) error {
		if n.State != trust.Held {
			return conflictf("the node is %s, not held", n.State)
		}
		n.State, n.StateReason = trust.Active, ""
		if n.Record == nil {
			n.State, n.StateReason = trust.Pending, "not enrolled yet"
		}
		return t.endHold(a, n)
	})
}

// RemoveNode decommissions a node. Its names are free for others and answer as unknown; its history stays.
func (s *Store) RemoveNode(ctx context.Context, a Act, name string, revision int64) error {
	_, err := s.changeNode(ctx, a, name, revision, "node.remove", func(t tx, n *trust.Node) error {
		n.State, n.StateReason = trust.Decommissioned, "removed by "+a.By
		_, err := t.exec("DELETE FROM names WHERE node_id = $1", n.ID)
		return errors.Join(err, t.setVerdict(n.ID, trust.Verdict{Reason: trust.UnknownHost, Detail: "the node was decommissioned"}, a.At, 0))
	})
	return err
}

// Enrolled takes over what an enrolment of the node as it was asked found. The node is active and due at once; but if another node has this EK, it is on hold, and an alarm is raised.
func (s *Store) Enrolled(ctx context.Context, a Act, asked *trust.Node, record verifier.NodeRecord, said trust.Suggestions) (trust.Node, error) {
	return s.changeNode(ctx, a, asked.Name, asked.Revision, "node.enrolled", func(t tx, n *trust.Node) error {
		if n.ID != asked.ID {
			return conflictf("the node was removed and another has its name")
		}
		if record.Name != n.Name {
			return invalid(fmt.Errorf("the record is that of %.64s", record.Name))
		}
		n.State, n.StateReason, n.Record, n.Suggestions = trust.Active, "", &record, said
		owner, err := t.sharedEK(n)
		if err != nil || owner == "" {
			return err
		}
		n.Record = nil
		reason := fmt.Sprintf("its EK is that of the node %s, and a TPM is in one machine", owner)
		return errors.Join(t.hold(a, n, reason), t.alarm(a.At, AlarmKeyShared, n.Name, reason))
	})
}

// changeNode changes the node that has a name and this revision; revision 0 means whichever it has. The node is due at once if it is one to be asked.
func (s *Store) changeNode(ctx context.Context, a Act, name string, revision int64, action string, do func(tx, *trust.Node) error) (n trust.Node, err error) {
	err = s.act(ctx, a, func(t tx) (entry, error) {
		if n, err = t.node("nodes.id = (SELECT node_id FROM names WHERE names.name = $1)", trust.FoldName(name)); err != nil {
			return entry{}, err
		}
		if revision != 0 && n.Revision != revision {
			return entry{}, changed("node", n.Revision, revision)
		}
		if err := do(t, &n); err != nil {
			return entry{}, err
		}
		n.Revision++
		return entry{action, n.Name, nodeDetail(&n)}, t.writeNode(a, &n)
	})
	if err != nil {
		if taken, ok := errors.AsType[*TakenError](err); ok {
			err = errors.Join(err, s.alarmTaken(ctx, a, []*TakenError{taken}))
		}
		return trust.Node{}, fmt.Errorf("changing the node %.64s: %w", name, err)
	}
	return n, nil
}

// writeNode writes what changes of a node, and when it is due.
func (t tx) writeNode(a Act, n *trust.Node) error {
	f, err := fieldsOf(n)
	if err != nil {
		return err
	}
	due := int64(never)
	if n.State == trust.Pending || n.State == trust.Active {
		due = millis(a.At)
	}
	_, err = t.exec("UPDATE nodes SET aliases = $2, address = $3, server_name = $4, pool = $5, labels = $6, state = $7, state_reason = $8, binding = $9, ek = $10, record = $11, "+
		"suggestions = $12, revision = $13, due_at = $14, ek_name = $15 WHERE id = $1",
		n.ID, f.aliases, n.Address, n.ServerName, n.Pool, f.labels, n.State, n.StateReason, n.Binding, f.ek, f.record, f.suggestions, n.Revision, due, f.ekName)
	return err
}

// hold refuses a node, and its verdict from this moment on. The caller writes the node.
func (t tx) hold(a Act, n *trust.Node, reason string) error {
	n.State, n.StateReason = trust.Held, reason
	v := trust.Verdict{Level: trust.Untrusted, Reason: trust.OnHold, Detail: reason, QuotedAt: a.At, ExpiresAt: forever()}
	if n.Record != nil {
		v.EKBinding = n.Record.Binding
	}
	return t.setVerdict(n.ID, v, a.At, 0)
}

// endHold takes back what hold says of a node: it would not end by itself, and a node that can't be reached would be called held for ever.
func (t tx) endHold(a Act, n *trust.Node) error {
	return t.endTrust(a.At, "the node is on hold no more; the next quote decides", trust.PolicyChanged, "node_id = $1 AND reason = $2", n.ID, trust.OnHold)
}

// withdraw takes trust away from the verdicts that where selects: what they rested on is gone. where has one parameter, $1.
func (t tx) withdraw(a Act, where string, arg any) error {
	return t.endTrust(a.At, "the policy, the pool or the keys of the node changed; the next quote decides", trust.PolicyChanged, "level = 2 AND "+where, arg)
}

// hurry makes the nodes that where selects due at once. where has one parameter, $1.
func (t tx) hurry(a Act, where string, arg any) error {
	_, err := t.exec("UPDATE nodes SET due_at = $2 WHERE due_at > $2 AND state IN ('pending', 'active') AND ("+where+")", arg, millis(a.At))
	return err
}
