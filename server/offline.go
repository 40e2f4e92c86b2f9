package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/trustpool/trustpool/server/internal/access"
	"github.com/trustpool/trustpool/server/internal/store"
)

// Role is what a caller may do: reader < operator < admin.
type Role = access.Role

// ParseRole reads "reader", "operator" or "admin".
func ParseRole(text string) (Role, error) { return access.ParseRole(text) }

// Token is what the server keeps of a bearer token: enough to know it again, not enough to use it.
type Token = store.Token

// The errors of tokens on which a caller branches.
var (
	// ErrTokenExists: there is a token of this name.
	ErrTokenExists = store.ErrExists
	// ErrNoToken: there is none.
	ErrNoToken = store.ErrNotFound
)

// AddToken makes a token in a database, which is made if it is not there: so the first administrator comes to his. A server may run on it. expires is zero for a token that does not end. The text is
// kept nowhere.
func AddToken(ctx context.Context, database, by, name string, role Role, expires time.Time) (text string, err error) {
	text, kept, err := access.NewToken(name, role, expires)
	if err != nil {
		return "", err
	}
	err = withStore(ctx, database, func(s *store.Store) error {
		return s.AddToken(ctx, store.Act{By: by, At: time.Now()}, kept)
	})
	if err != nil {
		return "", err
	}
	return text, nil
}

// Tokens returns the tokens in a database by name.
func Tokens(ctx context.Context, database string) (tokens []Token, err error) {
	if err := mustExist(database); err != nil {
		return nil, err
	}
	err = withStore(ctx, database, func(s *store.Store) error {
		tokens, err = s.Tokens(ctx)
		return err
	})
	return tokens, err
}

// RemoveToken ends a token in a database. Requests that are under way may finish.
func RemoveToken(ctx context.Context, database, by, name string) error {
	if err := mustExist(database); err != nil {
		return err
	}
	return withStore(ctx, database, func(s *store.Store) error {
		return s.RemoveToken(ctx, store.Act{By: by, At: time.Now()}, name)
	})
}

// withStore runs do on a database.
func withStore(ctx context.Context, database string, do func(*store.Store) error) error {
	s, err := store.Open(ctx, database)
	if err != nil {
		return err
	}
	return errors.Join(do(s), s.Close())
}

func mustExist(database string) error {
	if IsShared(database) {
		return nil // whoever connects sees
	}
	if _, err := os.Stat(database); err != nil {
		return fmt.Errorf("opening the database: %w", err)
	}
	return nil
}

// IsShared tells whether a database is one of PostgreSQL's, which several servers share, and not a file.
func IsShared(database string) bool { return store.IsURL(database) }

// ResolveDatabase puts what path makes of it in the place of each file that the URL of a database names.
func ResolveDatabase(database string, path func(string) (string, error)) (string, error) {
	if !store.IsURL(database) {
		return database, nil
	}
	return store.ResolveFiles(database, path)
}

// MarkRestored has all verdicts in a database unknown until the nodes were asked again, after a backup was put into it by other means than Restore: what was found since the backup is not in it. source
// is for the admin log. No server may run on a file; on PostgreSQL, replicas may.
func MarkRestored(ctx context.Context, database, source, by string) (err error) {
	if err := mustExist(database); err != nil {
		return err
	}
	if !store.IsURL(database) {
		held, err := lockDatabase(database)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, held.release()) }()
	}
	return withStore(ctx, database, func(s *store.Store) error {
		if _, _, err := s.CheckAdminLog(ctx); err != nil {
			return err
		}
		return s.Restored(ctx, store.Act{By: by, At: time.Now()}, source)
	})
}

// Contents tells what is in a database that was found whole.
type Contents = store.Checked

// Backup writes a database as it is at this moment into a new file, and looks whether that is whole. A server may run on it.
func Backup(ctx context.Context, database, path string) (Contents, error) {
	if err := mustExist(database); err != nil {
		return Contents{}, err
	}
	if err := store.Backup(ctx, database, path); err != nil {
		return Contents{}, err
	}
	return store.Check(ctx, path)
}

// Restored tells what a restore did.
type Restored struct {
	// Contents are those of the backup.
	Contents
	// Aside is where the database that was there lies now; empty if there was none.
	Aside string
}

// Restore puts a backup in the place of a database, on which no server may run. The backup is looked at first: whether it is whole, and whether its admin log was altered. What was there is kept
// beside it. All verdicts are unknown until the nodes were asked again, because what was found since the backup is not in it.
func Restore(ctx context.Context, database, backup, by string) (r Restored, err error) {
	if store.IsURL(database) {
		return r, errors.New("PostgreSQL restores its own: stop all replicas, run pg_restore, then trustpool-server mark-restored, and start them")
	}
	held, err := lockDatabase(database)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, held.release()) }()

	fresh := database + ".restoring"
	if err := errors.Join(removeAll(fresh), copyFile(backup, fresh)); err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, removeAll(fresh)) }() // unless it was moved
	if r.Contents, err = store.Check(ctx, fresh); err != nil {
		return r, err
	}
	err = withStore(ctx, fresh, func(s *store.Store) error {
		return s.Restored(ctx, store.Act{By: by, At: time.Now()}, filepath.Base(backup))
	})
	if err != nil {
		return r, err
	}
	if r.Aside, err = setAside(database); err != nil {
		return r, err
	}
	if err := os.Rename(fresh, database); err != nil {
		return r, fmt.Errorf("putting the backup in place: %w", err)
	}
	return r, syncFolder(filepath.Dir(database))
}

// copyFile copies a backup, which may lie where nothing can be written.
func copyFile(from, to string) (err error) {
	source, err := os.Open(from) // #nosec G304 -- the operator names it
	if err != nil {
		return fmt.Errorf("reading the backup: %w", err)
	}
	defer func() { _ = source.Close() }()                                    // read only: nothing to lose
	target, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600) // #nosec G304 -- beside the operator's database
	if err != nil {
		return fmt.Errorf("copying the backup: %w", err)
	}
	_, err = io.Copy(target, source)
	if err = errors.Join(err, target.Sync(), target.Close()); err != nil {
		return fmt.Errorf("copying the backup: %w", err)
	}
	return nil
}

// parts are the files that SQLite has for a database.
func parts() []string { return []string{"", "-wal", "-shm"} }

// setAside moves what is at a path to a name of its own. What was committed last may be in the -wal file only, so that they go together.
func setAside(database string) (aside string, err error) {
	if _, err := os.Stat(database); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	aside = database + ".before-" + time.Now().UTC().Format("20060102T150405.000Z")
	for _, part := range parts() {
		if err := os.Rename(database+part, aside+part); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("setting the database aside: %w", err)
		}
	}
	return aside, nil
}

func removeAll(database string) error {
	for _, part := range parts() {
		if err := os.Remove(database + part); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// syncFolder makes renames outlive a power cut.
func syncFolder(path string) error {
	folder, err := os.Open(path) // #nosec G304 -- the database's own
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
