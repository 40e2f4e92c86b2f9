package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"

	"github.com/trustpool/trustpool/server/internal/trust"
	"github.com/trustpool/trustpool/verifier"
)

const nodeColumns = "nodes.id, nodes.name, nodes.aliases, nodes.address, nodes.server_name, nodes.pool, nodes.labels, nodes.state, nodes.state_reason, nodes.binding, nodes.ek, " +
	"nodes.record, nodes.suggestions, nodes.revision, nodes.added_at, nodes.added_by"

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
