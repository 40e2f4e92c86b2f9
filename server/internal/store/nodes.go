package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/trustpool/trustpool/server/internal/trust"
	"github.com/trustpool/trustpool/verifier"
)

const nodeColumns = "nodes.id, nodes.name, nodes.aliases, nodes.address, nodes.server_name, nodes.pool, nodes.labels, nodes.state, nodes.state_reason, nodes.binding, nodes.ek, " +
	"nodes.record, nodes.suggestions, nodes.revision, nodes.added_at, nodes.added_by"

// AddNodes adds nodes, all or none. Without a Record they are pending, with one they are active; either way they are due at once. A name that another node has is a *TakenError and raises an
// alarm. The error tells of each node that can't be added.
func (s *Store) AddNodes(ctx context.Context, a Act, nodes []trust.Node) ([]trust.Node, error) {
	added := slices.Clone(nodes)
	var taken []*TakenError
	err := s.change(ctx, func(t tx) error {
		var errs []error
		for i := range added {
			err := t.addNode(a, &added[i])
			if name, ok := errors.AsType[*TakenError](err); ok {
				taken = append(taken, name)
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("adding the node %.64s: %w", added[i].Name, err))
			}
		}
		return errors.Join(errs...)
	})
	if err != nil {
		return nil, errors.Join(err, s.alarmTaken(ctx, a, taken))
	}
	return added, nil
}

func (t tx) addNode(a Act, n *trust.Node) error {
	if a.By == "" || a.At.IsZero() {
		return errors.New("changing something for nobody")
	}
	if err := n.Check(); err != nil {
		return invalid(err)
	}
	if _, err := t.pool(n.Pool); err != nil {
		return fmt.Errorf("the pool %s: %w", n.Pool, err)
	}
	n.State, n.StateReason, n.Revision, n.AddedAt, n.AddedBy = trust.Pending, "not enrolled yet", 1, moment(millis(a.At)), a.By
	if n.Record != nil {
		if n.Record.Name != n.Name {
			return invalid(fmt.Errorf("the record is that of %.64s", n.Record.Name))
		}
		n.State, n.StateReason = trust.Active, ""
		owner, err := t.sharedEK(n)
		if err != nil {
			return err
		}
		if owner != "" {
			return conflictf("its EK is that of the node %s, and a TPM is in one machine: remove that node first", owner)
		}
	}

	f, err := fieldsOf(n)
	if err != nil {
		return err
	}
	err = t.row("INSERT INTO nodes (name, aliases, address, server_name, pool, labels, state, state_reason, binding, ek, record, suggestions, revision, added_at, added_by, "+
		"ek_name, due_at, leased_until, failures, last_error, reached_at, good_quotes, bad_quotes, unanswered) "+
		"VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $14, 0, 0, '', 0, 0, 0, 0) RETURNING id",
		[]any{
			n.Name, f.aliases, n.Address, n.ServerName, n.Pool, f.labels, n.State, n.StateReason, n.Binding, f.ek, f.record, f.suggestions,
			n.Revision, millis(n.AddedAt), n.AddedBy, f.ekName,
		}, &n.ID)
	if err != nil {
		return err
	}
	if err := t.takeNames(n); err != nil {
		return err
	}
	return t.log(a, entry{"node.add", n.Name, nodeDetail(n)})
}

// sharedEK returns the name of another node that is enrolled with the EK of a node's record; "" if there is none.
func (t tx) sharedEK(n *trust.Node) (owner string, err error) {
	err = t.row("SELECT nodes.name FROM nodes WHERE ek_name = $1 AND id <> $2 AND state <> 'decommissioned' LIMIT 1", []any{n.Record.EK.Name.String(), n.ID}, &owner)
	if errors.Is(err, ErrNotFound) {
		err = nil
	}
	return owner, err
}

// takeNames gives a node its names. Those of other nodes are a *TakenError.
func (t tx) takeNames(n *trust.Node) error {
	if _, err := t.exec("DELETE FROM names WHERE node_id = $1", n.ID); err != nil {
		return err
	}
	for i, name := range n.Names() {
		added, err := t.exec("INSERT INTO names (name, node_id, alias) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING", name, n.ID, i > 0)
		if err != nil {
			return err
		}
		if added == 0 {
			owner := ""
			err := t.row("SELECT nodes.name FROM names JOIN nodes ON nodes.id = names.node_id WHERE names.name = $1", []any{name}, &owner)
			return errors.Join(err, &TakenError{Name: name, Owner: owner})
		}
	}
	return nil
}

// nodeDetail is what the admin log keeps of a node.
func nodeDetail(n *trust.Node) map[string]any {
	return map[string]any{
		"aliases": n.Aliases, "address": n.Address, "server_name": n.ServerName, "pool": n.Pool, "labels": n.Labels, "state": n.State, "state_reason": n.StateReason,
		"binding": n.Binding, "record": n.Record, "revision": n.Revision,
	}
}

// Node returns the node that has a name, its own or an alias; ErrNotFound if none has.
func (s *Store) Node(ctx context.Context, name string) (n trust.Node, err error) {
	err = s.look(ctx, func(t tx) error {
		n, err = t.node("nodes.id = (SELECT node_id FROM names WHERE names.name = $1)", trust.FoldName(name))
		return err
	})
	if err != nil {
		return trust.Node{}, fmt.Errorf("reading the node %.64s: %w", name, err)
	}
	return n, nil
}

func (t tx) node(where string, args ...any) (trust.Node, error) {
	return scanNode(func(into ...any) error {
		return t.row("SELECT "+nodeColumns+" FROM nodes WHERE "+where, args, into...)
	})
}

// fields are a node's parts that are stored as JSON, and the Name of its enrolled EK.
type fields struct{ aliases, labels, ek, record, suggestions, ekName string }

// storedEK is an ExpectedEK as it is stored.
type storedEK struct {
	Name   verifier.Hex `json:"name,omitempty"`
	Serial string       `json:"serial,omitempty"`
	Issuer string       `json:"issuer,omitempty"`
}

func fieldsOf(n *trust.Node) (fields, error) {
	ek := storedEK{Name: n.EK.Name, Issuer: n.EK.Issuer}
	if n.EK.Serial != nil {
		ek.Serial = n.EK.Serial.Text(16)
	}
	var (
		f    fields
		errs []error
	)
	for _, part := range []struct {
		from any
		to   *string
	}{{n.Aliases, &f.aliases}, {n.Labels, &f.labels}, {ek, &f.ek}, {n.Suggestions, &f.suggestions}} {
		raw, err := json.Marshal(part.from)
		*part.to, errs = string(raw), append(errs, err)
	}
	if n.Record != nil {
		raw, err := n.Record.Marshal()
		f.record, f.ekName, errs = string(raw), n.Record.EK.Name.String(), append(errs, err)
	}
	return f, errors.Join(errs...)
}

func scanNode(scan func(...any) error) (trust.Node, error) {
	var (
		n     trust.Node
		f     fields
		added int64
	)
	err := scan(&n.ID, &n.Name, &f.aliases, &n.Address, &n.ServerName, &n.Pool, &f.labels, &n.State, &n.StateReason, &n.Binding, &f.ek, &f.record, &f.suggestions,
		&n.Revision, &added, &n.AddedBy)
	if err != nil {
		return trust.Node{}, err
	}
	n.AddedAt = moment(added)

	var ek storedEK
	err = errors.Join(json.Unmarshal([]byte(f.labels), &n.Labels), json.Unmarshal([]byte(f.ek), &ek), json.Unmarshal([]byte(f.suggestions), &n.Suggestions),
		json.Unmarshal([]byte(f.aliases), &n.Aliases))
	n.EK = trust.ExpectedEK{Name: ek.Name, Issuer: ek.Issuer}
	if ek.Serial != "" {
		serial, ok := new(big.Int).SetString(ek.Serial, 16)
		if !ok {
			err = errors.Join(err, errors.New("its EK's serial number can't be read"))
		}
		n.EK.Serial = serial
	}
	if f.record != "" {
		record, recordErr := verifier.ParseNodeRecord([]byte(f.record))
		n.Record, err = &record, errors.Join(err, recordErr)
	}
	if err != nil {
		return trust.Node{}, fmt.Errorf("the node %s: %w", n.Name, err)
	}
	return n, nil
}
