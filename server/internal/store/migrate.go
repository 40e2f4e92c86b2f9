package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
)

//go:embed sqlite/*.sql
var migrations embed.FS // read only, as every embed.FS is

// migrate brings the tables up to date. A database of a newer version is refused: an older server does not know what it would break.
func migrate(ctx context.Context, db *sql.DB) error {
	files, err := fs.Sub(migrations, "sqlite")
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, db, files, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("preparing the migrations: %w", err)
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("bringing the tables up to date: %w", err)
	}
	current, target, err := provider.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("asking for the version of the tables: %w", err)
	}
	if current > target {
		return fmt.Errorf("its tables are of version %d, newer than the %d of this program: install the newer version, or restore the backup from before it", current, target)
	}
	return nil
}
