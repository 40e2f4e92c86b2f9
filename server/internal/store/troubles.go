package store

import (
	"context"
	"fmt"
	"time"

	"github.com/trustpool/trustpool/server/internal/trust"
)

// Trouble is one cause for which nodes are not trusted now.
type Trouble struct {
	Level  trust.Level
	Reason trust.Reason
	// Detail is what the nodes have in common, word for word; of unknown ones, whose details tell of each alone, it is empty.
	Detail string
	// Nodes is how many there are, Newest lists some of them, those whose verdict changed last first.
	Nodes  int
	Newest []Troubled
}

// Troubled is a node that is not trusted now.
type Troubled struct {
	Name, Pool string
	// Since is when its verdict became what it is; of a node without one, when it was added.
	Since time.Time
}

// Troubles returns up to causes reasons for which nodes of that level, which is not Trusted, are what they are now, those of the most nodes first, each with up to each of its nodes.
func (s *Store) Troubles(ctx context.Context, level trust.Level, causes, each int, now time.Time) ([]Trouble, error) {
	statement, args := refusedNodes, []any{millis(now)}
	if level != trust.Untrusted {
		level, statement, args = trust.Unknown, unknownNodes, []any{millis(now), millis(now.Add(trust.ClockSkew))}
	}
	ranked := "SELECT id, name, pool, reason, detail, since, count(*) OVER alike AS nodes, max(since) OVER alike AS newest, " +
		"row_number() OVER (PARTITION BY reason, detail ORDER BY since DESC, name) AS place FROM (" + statement + ") AS troubled WINDOW alike AS (PARTITION BY reason, detail)"
	statement = fmt.Sprintf("SELECT name, pool, reason, detail, since, nodes FROM (%s) AS ranked WHERE place <= $%d ORDER BY nodes DESC, newest DESC, reason, detail, place LIMIT $%d",
		ranked, len(args)+1, len(args)+2)

	var all []Trouble
	err := s.view(ctx, func(t tx) error {
		return t.rows(statement, append(args, each, causes*each), func(scan func(...any) error) error {
			one := Trouble{Level: level}
			var (
				node  Troubled
				since int64
			)
			if err := scan(&node.Name, &node.Pool, &one.Reason, &one.Detail, &since, &one.Nodes); err != nil {
				return err
			}
			node.Since = moment(since)
			if last := len(all) - 1; last < 0 || all[last].Reason != one.Reason || all[last].Detail != one.Detail {
				all = append(all, one)
			}
			last := &all[len(all)-1]
			last.Newest = append(last.Newest, node)
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("looking for what is wrong with nodes: %w", err)
	}
	return all[:min(len(all), causes)], nil
}

// refusedNodes selects untrusted nodes; $1 is now.
const refusedNodes = "SELECT nodes.id, nodes.name, nodes.pool, verdicts.reason, verdicts.detail, verdicts.changed_at AS since FROM verdicts JOIN nodes ON nodes.id = verdicts.node_id " +
	"WHERE verdicts.level = 1 AND verdicts.expires_at > $1 AND nodes.state <> 'decommissioned'"

// unknownNodes selects nodes of which nothing is known now, with the reasons that scanHost gives; $1 is now, $2 ClockSkew later.
const unknownNodes = "SELECT nodes.id, nodes.name, nodes.pool, CASE WHEN verdicts.level IS NULL THEN CASE WHEN nodes.state = 'pending' THEN 'not_enrolled' ELSE 'no_quote' END " +
	"WHEN verdicts.level = 0 THEN verdicts.reason ELSE 'stale' END AS reason, '' AS detail, coalesce(verdicts.changed_at, nodes.added_at) AS since " +
	"FROM (SELECT DISTINCT id FROM (" + mayBeUnknown + ") AS each_part) AS candidates JOIN nodes ON nodes.id = candidates.id LEFT JOIN verdicts ON verdicts.node_id = nodes.id " +
	"WHERE nodes.state <> 'decommissioned' " +
	"AND (verdicts.level IS NULL OR verdicts.level = 0 OR verdicts.expires_at <= $1 OR (verdicts.level = 2 AND verdicts.quoted_at > $2))"
