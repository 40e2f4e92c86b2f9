package store

import (
	"context"
	"fmt"
	"time"

	"github.com/trustpool/trustpool/server/internal/trust"
)

// Host is what a scheduler is told of one host.
type Host struct {
	// Asked is the name that was asked for, byte for byte; of Hosts, the node's own.
	Asked string
	// Node is the node's own name, Pool its pool; empty if no node has the name.
	Node string
	Pool string
	// Verdict is as it stands now.
	Verdict trust.Verdict
	// EvidenceID is the evidence of the last change of the verdict; 0 if there is none.
	EvidenceID int64
}

// Lookup answers each of names, in their order. A name that no node has, and a verdict that has expired, are unknown. now is the time of the call; a verdict that ends while the database is waited for
// has expired, too.
func (s *Store) Lookup(ctx context.Context, names []string, now time.Time) ([]Host, error) {
	asked := time.Now()
	hosts := make([]Host, len(names))
	wanted := make(map[string][]int, len(names))
	for i, name := range names {
		hosts[i] = Host{Asked: name, Verdict: trust.Verdict{Reason: trust.UnknownHost, Detail: "no node has this name"}}
		name = trust.FoldName(name)
		wanted[name] = append(wanted[name], i)
	}
	folded := make([]string, 0, len(wanted))
	for name := range wanted {
		folded = append(folded, name)
	}

	err := s.look(ctx, func(t tx) error {
		return t.lookup(folded, func(name string, h Host) {
			for _, i := range wanted[name] {
				h.Asked = names[i]
				hosts[i] = h
			}
		})
	})
	if err != nil {
		return nil, fmt.Errorf("looking hosts up: %w", err)
	}
	return asOf(hosts, now, asked), nil
}

// asOf judges verdicts as they stand once they have been read, which was asked for when it was now: a connection, or a database that does not answer at once, may have been waited for longer than a
// verdict lasts. It is measured by the clock that can't be set, and added to the caller's now.
func asOf(hosts []Host, now, asked time.Time) []Host {
	now = now.Add(time.Since(asked))
	for i := range hosts {
		hosts[i].Verdict = hosts[i].Verdict.At(now)
	}
	return hosts
}

// hostColumns go with scanHost. A node without a verdict has none of the verdicts' columns.
const hostColumns = "nodes.name, nodes.pool, nodes.state, " + verdictOrNone + ", " +
	"coalesce((SELECT history.evidence_id FROM history WHERE history.generation = verdicts.generation), 0)"

// verdictOrNone are the columns of a verdict, or what stands for none.
const verdictOrNone = "coalesce(level, 0), coalesce(reason, ''), coalesce(detail, ''), coalesce(quoted_at, 0), coalesce(expires_at, 0), " +
	"coalesce(generation, 0), coalesce(changed_at, 0), coalesce(sets, 'null'), coalesce(ek_binding, ''), coalesce(booted, FALSE), coalesce(reset_count, 0), coalesce(restart_count, 0)"

func (t tx) lookup(names []string, each func(name string, h Host)) error {
	which, arg := t.among("names.name", "$1"), t.list(names)
	if len(names) == 1 {
		// Of a list, PostgreSQL can't know the length before it has it: it would plan anew each time, which takes it longer than to answer (PostgreSQL, PREPARE).
		which, arg = "names.name = $1", names[0]
	}
	statement := "SELECT names.name, " + hostColumns + " FROM names JOIN nodes ON nodes.id = names.node_id LEFT JOIN verdicts ON verdicts.node_id = nodes.id WHERE " + which
	return t.rows(statement, []any{arg}, func(scan func(...any) error) error {
		var name string
		h, err := scanHost(scan, &name)
		each(name, h)
		return err
	})
}

// scanHost reads more, and then hostColumns. The verdict is as it was written.
func scanHost(scan func(...any) error, more ...any) (Host, error) {
	var (
		h     Host
		s     storedVerdict
		state trust.State
	)
	if err := scan(append(append(append(more, &h.Node, &h.Pool, &state), s.columns()...), &h.EvidenceID)...); err != nil {
		return Host{}, err
	}
	v, err := s.verdict()
	if v.Generation == 0 {
		v = trust.Verdict{Reason: trust.NoQuote, Detail: "the node has not been heard of yet"}
		if state == trust.Pending {
			v = trust.Verdict{Reason: trust.NotEnrolled, Detail: "the node is not enrolled yet"}
		}
	}
	h.Asked, h.Verdict = h.Node, v
	return h, err
}

// levelNow is a verdict's level as trust.Verdict.At has it, for Hosts and Counts; now and skewed are places for now and for ClockSkew later.
func levelNow(now, skewed string) string {
	return "CASE WHEN expires_at > " + now + " AND (level <> 2 OR quoted_at <= " + skewed + ") THEN level ELSE 0 END"
}

// HostFilter selects hosts; what is left out selects all.
type HostFilter struct {
	// Begins is how their names begin.
	Begins string
	Pool   string
	// Level, if not nil, is the verdict's level as it stands now.
	Level *trust.Level
	// State is that of the node. Empty: all but decommissioned ones.
	State trust.State
	// After is the last name of the page before; Limit is how many are wanted, at least 1.
	After string
	Limit int
}

// afterNames is behind every letter of a name.
const afterNames = "\x7f"

// Hosts lists nodes by name, with their verdicts as they stand now. One whose verdict ends while the database is waited for is in the list as unknown, whatever level was wanted.
func (s *Store) Hosts(ctx context.Context, f HostFilter, now time.Time) ([]Host, error) {
	asked := time.Now()
	level := -1
	if f.Level != nil {
		level = int(*f.Level)
	}
	var hosts []Host
	err := s.view(ctx, func(t tx) error {
		args := []any{f.After, f.Pool, f.State, level, millis(now), millis(now.Add(trust.ClockSkew)), f.Limit, f.Begins, f.Begins + afterNames}
		statement := "SELECT " + hostColumns + " FROM nodes LEFT JOIN verdicts ON verdicts.node_id = nodes.id " +
			"WHERE nodes.name > $1 AND nodes.name >= $8 AND nodes.name < $9 AND ($2 = '' OR nodes.pool = $2) AND (nodes.state = $3 OR ($3 = '' AND nodes.state <> 'decommissioned')) " +
			"AND ($4 < 0 OR $4 = " + levelNow("$5", "$6") + ")"
		few, err := t.fewOf(f.Level, now)
		if err != nil {
			return err
		}
		if few != nil {
			statement, args = statement+" AND "+t.among("nodes.id", "$10"), append(args, t.list(few))
		}
		return t.rows(statement+" ORDER BY nodes.name, nodes.id LIMIT $7", args, func(scan func(...any) error) error {
			h, err := scanHost(scan)
			hosts = append(hosts, h)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("listing hosts: %w", err)
	}
	return asOf(hosts, now, asked), nil
}

// Nodes lists nodes by name, as Hosts does.
func (s *Store) Nodes(ctx context.Context, f HostFilter) (nodes []trust.Node, err error) {
	err = s.look(ctx, func(t tx) error {
		statement := "SELECT " + nodeColumns + " FROM nodes WHERE nodes.name > $1 AND ($2 = '' OR nodes.pool = $2) " +
			"AND (nodes.state = $3 OR ($3 = '' AND nodes.state <> 'decommissioned')) ORDER BY nodes.name, nodes.id LIMIT $4"
		return t.rows(statement, []any{f.After, f.Pool, f.State, f.Limit}, func(scan func(...any) error) error {
			n, err := scanNode(scan)
			nodes = append(nodes, n)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("listing nodes: %w", err)
	}
	return nodes, nil
}

// Count is how many nodes of a pool have a level now.
type Count struct {
	Pool  string
	Level trust.Level
	Nodes int
}

// Counts counts the nodes that are not decommissioned, by pool and level.
func (s *Store) Counts(ctx context.Context, now time.Time) ([]Count, error) {
	var counts []Count
	err := s.look(ctx, func(t tx) error {
		statement := "SELECT nodes.pool, " + levelNow("$1", "$2") + " AS now_level, count(*) FROM nodes LEFT JOIN verdicts ON verdicts.node_id = nodes.id " +
			"WHERE nodes.state <> 'decommissioned' GROUP BY nodes.pool, now_level ORDER BY nodes.pool, now_level"
		return t.rows(statement, []any{millis(now), millis(now.Add(trust.ClockSkew))}, func(scan func(...any) error) error {
			var c Count
			err := scan(&c.Pool, &c.Level, &c.Nodes)
			counts = append(counts, c)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("counting nodes: %w", err)
	}
	return counts, nil
}
