package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/trustpool/trustpool/server/internal/trust"
)

// AddNodes adds nodes, all or none. Without a Record they are pending, with one they are active; either way they are due at once. A name that another node has is a *TakenError and raises an
// alarm. The error tells of each node that can't be added.
func (s *Store) AddNodes(ctx context.Context, a Act, nodes []trust.Node) ([]trust.Node, error) {
	if a.By == "" || a.At.IsZero() {
		return nil, errors.New("adding nodes for nobody")
	}
	adding := newAddition(a, nodes)
	err := s.change(ctx, func(t tx) error {
		if err := t.checkAddition(adding); err != nil {
			return err
		}
		for part := range slices.Chunk(adding.nodes, manyAtOnce) {
			if err := t.addPart(a, part); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, s.alarmTaken(ctx, a, adding.taken))
	}
	return adding.nodes, nil
}

// addition is nodes that are being added, and what is wrong with them.
type addition struct {
	nodes []trust.Node
	wrong []error // of each node the first
	taken []*TakenError
}

// newAddition checks what can be without the database.
func newAddition(a Act, nodes []trust.Node) *addition {
	all := &addition{nodes: slices.Clone(nodes), wrong: make([]error, len(nodes))}
	names, eks := make(map[string]string), make(map[string]string) // to the nodes that have them
	for i := range all.nodes {
		n := &all.nodes[i]
		n.State, n.StateReason, n.Revision, n.AddedAt, n.AddedBy = trust.Pending, "not enrolled yet", 1, moment(millis(a.At)), a.By
		all.note(i, invalid(n.Check()))
		if n.Record != nil {
			n.State, n.StateReason = trust.Active, ""
			if n.Record.Name != n.Name {
				all.note(i, invalid(fmt.Errorf("the record is that of %.64s", n.Record.Name)))
			}
			ek := n.Record.EK.Name.String()
			if owner, have := eks[ek]; have {
				all.note(i, ekTaken(owner))
			}
			eks[ek] = n.Name
		}
		for _, name := range n.Names() {
			if owner, have := names[name]; have {
				all.note(i, &TakenError{Name: name, Owner: owner})
			}
			names[name] = n.Name
		}
	}
	return all
}

// note notes what is wrong with a node, if anything is.
func (all *addition) note(i int, err error) {
	if err == nil || all.wrong[i] != nil {
		return
	}
	all.wrong[i] = err
	if taken, ok := errors.AsType[*TakenError](err); ok {
		all.taken = append(all.taken, taken)
	}
}

func ekTaken(owner string) error {
	return conflictf("its EK is that of the node %s, and a TPM is in one machine: remove that node first", owner)
}

// err tells of each node that can't be added.
func (all *addition) err() error {
	var errs []error
	for i, err := range all.wrong {
		if err != nil {
			errs = append(errs, fmt.Errorf("adding the node %.64s: %w", all.nodes[i].Name, err))
		}
	}
	return errors.Join(errs...)
}

// checkAddition checks nodes against what is there.
func (t tx) checkAddition(all *addition) error {
	pools := make(map[string]error)
	names, eks := many{columns: []string{"place BIGINT", "name TEXT"}}, many{columns: []string{"place BIGINT", "ek TEXT"}}
	for i := range all.nodes {
		n := &all.nodes[i]
		if _, asked := pools[n.Pool]; !asked {
			_, pools[n.Pool] = t.pool(n.Pool)
		}
		if err := pools[n.Pool]; err != nil {
			all.note(i, fmt.Errorf("the pool %s: %w", n.Pool, err))
		}
		if n.Record != nil {
			eks.add(int64(i), n.Record.EK.Name.String())
		}
		for _, name := range n.Names() {
			names.add(int64(i), name)
		}
	}
	var (
		place      int64
		name, whom string
	)
	err := t.queryMany("SELECT v.place, nodes.name FROM ROWS JOIN nodes ON nodes.ek_name = v.ek WHERE nodes.state <> 'decommissioned'", eks, func(scan func(...any) error) error {
		err := scan(&place, &whom)
		all.note(int(place), ekTaken(whom))
		return err
	})
	if err != nil {
		return err
	}
	err = t.queryMany("SELECT v.place, v.name, nodes.name FROM ROWS JOIN names ON names.name = v.name JOIN nodes ON nodes.id = names.node_id", names, func(scan func(...any) error) error {
		err := scan(&place, &name, &whom)
		all.note(int(place), &TakenError{Name: name, Owner: whom})
		return err
	})
	return errors.Join(err, all.err())
}

// addPart adds nodes that were checked, and gives them their numbers.
func (t tx) addPart(a Act, part []trust.Node) error {
	rows := many{columns: []string{
		"name TEXT", "aliases TEXT", "address TEXT", "server_name TEXT", "pool TEXT", "labels TEXT", "state TEXT", "state_reason TEXT", "binding TEXT", "ek TEXT", "record TEXT",
		"suggestions TEXT", "revision BIGINT", "added_at BIGINT", "added_by TEXT", "ek_name TEXT",
	}}
	byName := make(map[string]*trust.Node, len(part))
	for i := range part {
		n := &part[i]
		f, err := fieldsOf(n)
		if err != nil {
			return err
		}
		byName[n.Name] = n
		rows.add(n.Name, f.aliases, n.Address, n.ServerName, n.Pool, f.labels, string(n.State), n.StateReason, string(n.Binding), f.ek, f.record,
			f.suggestions, n.Revision, millis(n.AddedAt), n.AddedBy, f.ekName)
	}
	err := t.queryMany("INSERT INTO nodes (name, aliases, address, server_name, pool, labels, state, state_reason, binding, ek, record, suggestions, revision, added_at, added_by, ek_name, "+
		"due_at, leased_until, failures, last_error, reached_at, good_quotes, bad_quotes, unanswered) "+
		"SELECT v.name, v.aliases, v.address, v.server_name, v.pool, v.labels, v.state, v.state_reason, v.binding, v.ek, v.record, v.suggestions, v.revision, v.added_at, v.added_by, v.ek_name, "+
		"v.added_at, 0, 0, '', 0, 0, 0, 0 FROM ROWS RETURNING id, name", rows, func(scan func(...any) error) error {
		var (
			id   int64
			name string
		)
		err := scan(&id, &name)
		if err == nil {
			byName[name].ID = id
		}
		return err
	})
	if err != nil {
		return err
	}

	names := many{columns: []string{"name TEXT", "node BIGINT", "alias BOOLEAN"}}
	entries := make([]entry, len(part))
	for i := range part {
		n := &part[i]
		for place, name := range n.Names() {
			names.add(name, n.ID, place > 0)
		}
		entries[i] = entry{"node.add", n.Name, nodeDetail(n)}
	}
	if _, err := t.execMany("INSERT INTO names (name, node_id, alias) SELECT v.name, v.node, v.alias FROM ROWS", names); err != nil {
		return err
	}
	return t.log(a, entries...)
}
