package store

import (
	"time"

	"github.com/trustpool/trustpool/server/internal/trust"
)

// fewNodes is up to how many nodes of a level are looked at one by one. Where more have it, a list of them by name is filled before many others were looked at.
const fewNodes = 500

// fewOf returns the numbers of the nodes that may have a level now, if they are few, else nil: in a list of few, it would cost most to look at those that are not in it. Those that it returns have to be
// looked at still; others do not have the level. A nil level is that of many.
func (t tx) fewOf(level *trust.Level, now time.Time) ([]int64, error) {
	if level == nil {
		return nil, nil
	}
	rows, args := "SELECT node_id AS id FROM verdicts WHERE level = $1 AND expires_at > $2", []any{int64(*level), millis(now)}
	if *level == trust.Unknown {
		rows, args = mayBeUnknown, []any{millis(now), millis(now.Add(trust.ClockSkew))}
	}
	ids := []int64{}
	err := t.rows("SELECT id FROM ("+rows+") AS candidates LIMIT $3", append(args, int64(fewNodes+1)), func(scan func(...any) error) error {
		var id int64
		err := scan(&id)
		ids = append(ids, id)
		return err
	})
	if len(ids) > fewNodes {
		return nil, err
	}
	return ids, err
}

// mayBeUnknown selects the nodes of which nothing may be known now, some twice, without looking at the others: each part has an index. $1 is now, $2 ClockSkew later. A node without a verdict has never
// been reached.
const mayBeUnknown = "SELECT node_id AS id FROM verdicts WHERE level = 0 UNION ALL SELECT node_id FROM verdicts WHERE level IN (1, 2) AND expires_at <= $1 " +
	"UNION ALL SELECT node_id FROM verdicts WHERE quoted_at > $2 UNION ALL SELECT nodes.id FROM nodes WHERE reached_at = 0"
