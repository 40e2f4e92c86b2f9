package store

import (
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/trustpool/trustpool/server/internal/trust"
	"github.com/trustpool/trustpool/server/pgtest"
)

// TestAnOldReplicaWorksBesideNewerTables has a program of the next version, which does not exist, bring the tables up to date.
func TestAnOldReplicaWorksBesideNewerTables(t *testing.T) {
	t.Parallel()

	database := pgtest.Database(t)
	now, err := Open(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = now.Close() })
	act := Act{By: "alice", At: time.Now()}
	if _, err := now.PutPool(t.Context(), act, trust.Pool{Name: "before"}, 0); err != nil {
		t.Fatal(err)
	}

	next := nextVersion(t, database, "ALTER TABLE pools ADD COLUMN colour TEXT NOT NULL DEFAULT 'none'; CREATE TABLE novelties (id BIGINT PRIMARY KEY); CREATE INDEX pools_colour ON pools (colour)")
	if _, err := now.PutPool(t.Context(), act, trust.Pool{Name: "beside"}, 0); err != nil {
		t.Error(err)
	}
	if _, err := next.PutPool(t.Context(), act, trust.Pool{Name: "after"}, 0); err != nil {
		t.Error(err)
	}
	if pools, err := now.Pools(t.Context()); err != nil || len(pools) != 3 {
		t.Errorf("%+v, %v", pools, err)
	}
	if err := now.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	again, err := Open(t.Context(), database) // it is started anew, as by a crash
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

// TestAnOldReplicaRefusesTablesThatItWouldBreak is the same with a migration that an older program can't work beside.
func TestAnOldReplicaRefusesTablesThatItWouldBreak(t *testing.T) {
	t.Parallel()

	database := pgtest.Database(t)
	now, err := Open(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = now.Close() })
	next := nextVersion(t, database, "ALTER TABLE pools RENAME COLUMN description TO words; UPDATE compatibility SET oldest = 900")
	_, err = now.PutPool(t.Context(), Act{By: "alice", At: time.Now()}, trust.Pool{Name: "pool"}, 0)
	if err == nil || !strings.Contains(err.Error(), "install the newer version") {
		t.Errorf("it writes: %v", err)
	}
	if err := now.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "install the newer version") {
		t.Errorf("it is ready: %v", err)
	}
	if err := next.Ready(t.Context()); err != nil {
		t.Error(err)
	}
}

// nextVersion opens a database by a program that knows one more migration.
func nextVersion(t *testing.T, database, statements string) *Store {
	t.Helper()
	files := fstest.MapFS{"00900_next.sql": {Data: []byte("-- +goose Up\n" + statements + ";\n")}}
	err := fs.WalkDir(os.DirFS("postgres"), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		raw, err := os.ReadFile("postgres/" + path)
		files[path] = &fstest.MapFile{Data: raw}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	next := &Store{name: database, changed: make(chan struct{})}
	t.Cleanup(func() { _ = next.Close() })
	if err := next.openPostgresWith(t.Context(), files); err != nil {
		t.Fatal(err)
	}
	return next
}

func TestAMachineWhoseClockIsWrongDoesNothing(t *testing.T) {
	t.Parallel()

	at := func(ms int) time.Time { return time.UnixMilli(int64(1_000_000 + ms)) }
	for name, test := range map[string]struct {
		asked, theirs, answered time.Time
		fits                    bool
	}{
		"the same":                     {at(0), at(1), at(2), true},
		"within what may be":           {at(0), at(4_900), at(2), true},
		"behind":                       {at(0), at(5_100), at(2), false},
		"ahead":                        {at(5_100), at(0), at(5_102), false},
		"a slow answer, made at once":  {at(0), at(0), at(4_000), true},
		"a slow answer, made too late": {at(0), at(9_100), at(4_000), false},
	} {
		if err := checkClock(test.asked, test.theirs, test.answered); (err == nil) != test.fits {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestAStoreThatIsUnfitAnswersNothing: neither verdicts nor claims, until it is fit again.
func TestAStoreThatIsUnfitAnswersNothing(t *testing.T) {
	t.Parallel()

	s, err := Open(t.Context(), pgtest.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	why := checkClock(time.Now(), time.Now().Add(time.Hour), time.Now())
	s.unfit.Store(&why)
	if _, err := s.Lookup(t.Context(), []string{"node1"}, time.Now()); err == nil {
		t.Error("it answers")
	}
	if _, err := s.Claim(t.Context(), time.Now(), 1, time.Minute); err == nil {
		t.Error("it claims")
	}
	if err := s.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Lookup(t.Context(), []string{"node1"}, time.Now()); err != nil {
		t.Error(err)
	}
}

func TestAURLIsReadStrictly(t *testing.T) {
	t.Parallel()

	for database, want := range map[string]string{
		"postgres:///trustpool?host=/run/postgresql":                            "",
		"postgres://trustpool@localhost/trustpool":                              "",
		"postgres://trustpool@db.example/trustpool?sslmode=verify-full":         "",
		"postgres://trustpool@db.example/trustpool":                             "sslmode=verify-full",
		"postgres://trustpool@db.example/trustpool?sslmode=require":             "sslmode=verify-full",
		"postgres://a@localhost,db.example/trustpool?sslmode=disable":           "db.example",
		"postgres://trustpool:secret@localhost/trustpool":                       "passfile=",
		"postgres://trustpool@localhost/trustpool?password=secret":              "passfile=",
		"postgres://trustpool@localhost/trustpool?passfile=pgpass":              "absolute path",
		"postgres://trustpool@localhost/trustpool?passfile=/not/there":          "no such file",
		"postgres://trustpool@localhost/trustpool?sslmode=sometimes":            "sslmode",
		"postgres://trust pool@@@[/":                                            "it is no URL",
		"postgresql://trustpool@[::1]:5433/trustpool?application_name=replica1": "",
	} {
		err := CheckURLFiles(database)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) || err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %q", database, err, want)
		}
	}
}

func TestAPasswordComesFromAFileThatIsTheServersAlone(t *testing.T) {
	t.Parallel()

	file := t.TempDir() + "/pgpass"
	if err := os.WriteFile(file, []byte("*:*:*:*:s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &Store{name: "postgres://trustpool@localhost/trustpool?passfile=" + file}
	if config, err := s.connection(); err != nil || config.Password != "s3cret" {
		t.Errorf("%v", err)
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := s.connection(); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("%v", err)
	}
}
