package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
)

// Backup writes the database as it is at this moment into a new file, which Open takes. Reading and writing go on meanwhile.
func (s *Store) Backup(ctx context.Context, path string) error {
	if err := s.backup(ctx, path); err != nil {
		return fmt.Errorf("writing a backup to %s: %w", path, err)
	}
	return nil
}

func (s *Store) backup(ctx context.Context, path string) error {
	// SQLite takes a file that is there if it is empty. It shall be new, and nobody else's to read.
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}

	db, err := sql.Open("sqlite", dsn(s.path, "deferred"))
	if err == nil {
		_, err = db.ExecContext(ctx, "VACUUM INTO $1", path)
		err = errors.Join(err, db.Close())
	}
	if err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}
