package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed sqlite/*.sql postgres/*.sql
var migrations embed.FS // read only, as every embed.FS is

// migrateSQLite brings the tables up to date. A database of a newer version is refused: an older server does not know what it would break.
func (s *Store) migrateSQLite(ctx context.Context) error {
	files, err := fs.Sub(migrations, "sqlite")
	if err != nil {
		return err
	}
	current, err := s.migrate(ctx, s.write, goose.DialectSQLite3, files)
	if err != nil {
		return err
	}
	if current > s.target {
		return fmt.Errorf("its tables are of version %d, newer than the %d of this program: install the newer version, or restore the backup from before it", current, s.target)
	}
	return nil
}

// migratePostgres brings the tables up to date; of replicas that start at once, one does it and the others wait. Whether this program may work on tables that are newer, Ready tells.
func (s *Store) migratePostgres(ctx context.Context, db *sql.DB, files fs.FS) error {
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockID(migrationLock), lock.WithLockTimeout(1, 300))
	if err != nil {
		return err
	}
	_, err = s.migrate(ctx, db, goose.DialectPostgres, files, goose.WithSessionLocker(locker))
	return err
}

func (s *Store) migrate(ctx context.Context, db *sql.DB, dialect goose.Dialect, files fs.FS, options ...goose.ProviderOption) (current int64, err error) {
	provider, err := goose.NewProvider(dialect, db, files, append(options, goose.WithDisableGlobalRegistry(true))...)
	if err != nil {
		return 0, fmt.Errorf("preparing the migrations: %w", err)
	}
	if _, err := provider.Up(ctx); err != nil {
		return 0, fmt.Errorf("bringing the tables up to date: %w", err)
	}
	if current, s.target, err = provider.GetVersions(ctx); err != nil {
		return 0, fmt.Errorf("asking for the version of the tables: %w", err)
	}
	return current, nil
}
