package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/trustpool/trustpool/server/internal/trust"
)

// Checked is what Check found in a database that is whole.
type Checked struct {
	// Nodes is how many there are, the decommissioned ones left out; AdminLog is the number of the last entry of the admin log.
	Nodes, AdminLog int64
}

// Check looks whether a database file is whole: its pages and indexes, which rows name each other, and the chain of the admin log. It changes nothing.
func Check(ctx context.Context, path string) (c Checked, err error) {
	s := &Store{name: path, dialect: sqliteDialect()}
	if s.read, err = openFile(fileURL(path) + "?mode=ro&_pragma=query_only(1)"); err != nil {
		return c, fmt.Errorf("checking %s: %w", path, err)
	}
	err = s.view(ctx, func(t tx) error {
		var found string
		if err := t.row("SELECT group_concat(integrity_check, '; ') FROM pragma_integrity_check", nil, &found); err != nil {
			return err
		}
		if found != "ok" {
			return errors.New(found)
		}
		var orphans int64
		err := t.row("SELECT count(*) FROM pragma_foreign_key_check", nil, &orphans)
		if err == nil && orphans > 0 {
			err = fmt.Errorf("%d rows name others that are not there", orphans)
		}
		return errors.Join(err, t.row("SELECT count(*) FROM nodes WHERE state <> $1", []any{trust.Decommissioned}, &c.Nodes))
	})
	if err == nil {
		c.AdminLog, _, err = s.CheckAdminLog(ctx)
	}
	if err = errors.Join(err, s.Close()); err != nil {
		return Checked{}, fmt.Errorf("%s is no whole database of trustpool-server: %w", path, err)
	}
	return c, nil
}

// generationGap is by how much generations go on above those of a backup, so that none that was given since comes again.
const generationGap = 1 << 32

// Restored makes a backup fit to be used: what was found since it was written is not in it. All verdicts are unknown until the nodes were asked, which they are at once, generations go on above all
// that were ever given, and whoever was signed in has to do so again.
func (s *Store) Restored(ctx context.Context, a Act, source string) error {
	err := s.act(ctx, a, func(t tx) (entry, error) {
		// A node on hold is refused until an administrator decides, and not asked.
		err := errors.Join(t.skipGenerations(t, generationGap),
			t.endTrust(a.At, "the database was restored from a backup; the next quote decides", trust.PolicyChanged, "level <> 0 AND node_id NOT IN (SELECT id FROM nodes WHERE state = $1)", trust.Held),
			t.hurry(a, "state <> $1", trust.Held))
		_, sessionsErr := t.exec("DELETE FROM sessions") // some of them were ended since
		return entry{"database.restore", source, nil}, errors.Join(err, sessionsErr, t.bumpPolicy())
	})
	if err != nil {
		return fmt.Errorf("making a backup fit to be used: %w", err)
	}
	return nil
}
