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
	return Backup(ctx, s.name, path)
}

// Backup is that of a database that need not be open. Its tables stay of the version that they are.
func Backup(ctx context.Context, database, path string) error {
	if err := backup(ctx, database, path); err != nil {
		return fmt.Errorf("writing a backup of %s to %s: %w", Redacted(database), path, err)
	}
	return nil
}

func backup(ctx context.Context, database, path string) error {
	if IsURL(database) {
		return errors.New("PostgreSQL makes its own: run pg_dump --format=custom --file=FILE on the database")
	}
	if _, err := os.Stat(database); err != nil { // SQLite would make it
		return err
	}
	// SQLite takes a file that is there if it is empty. It shall be new, and nobody else's to read.
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600) // #nosec G304 -- the operator names it
	if err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}

	db, err := sql.Open("sqlite", dsn(database, "deferred"))
	if err == nil {
		_, err = db.ExecContext(ctx, "VACUUM INTO $1", path)
		err = errors.Join(err, db.Close())
	}
	if err == nil {
		err = syncFile(path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// syncFile makes a file outlive a power cut: VACUUM INTO does not.
func syncFile(path string) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0) // #nosec G304 -- it was just written
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}
