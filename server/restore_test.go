package server_test

import (
	"database/sql"
	"path/filepath"
	"testing"
	"time"

	"github.com/trustpool/trustpool/server"
	"github.com/trustpool/trustpool/server/internal/nodetest"
	"github.com/trustpool/trustpool/server/internal/store"
	"github.com/trustpool/trustpool/server/internal/trust"
)

// TestNobodyIsTrustedByABackup restores a backup in which a node was trusted that has been found untrusted since.
func TestNobodyIsTrustedByABackup(t *testing.T) {
	t.Parallel()

	database, backup := filepath.Join(t.TempDir(), "trustpool.db"), filepath.Join(t.TempDir(), "backup.db")
	s, err := store.Open(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	cloud, err := nodetest.NewCloud(t.Context(), s, now)
	if err != nil {
		t.Fatal(err)
	}
	soft, err := cloud.Add(t.Context(), "xen", "node1.example")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cloud.Add(t.Context(), "xen", "held.example"); err != nil {
		t.Fatal(err)
	}
	if err := cloud.Attest(t.Context(), now, time.Hour); err != nil {
		t.Fatal(err)
	}
	act := store.Act{By: "alice", At: now}
	if _, err := s.HoldNode(t.Context(), act, "held.example", 0, "under suspicion"); err != nil {
		t.Fatal(err)
	}
	if found, err := server.Backup(t.Context(), database, backup); err != nil || found.Nodes != 2 {
		t.Fatalf("%+v, %v", found, err)
	}
	soft.Reboot("other")
	if err := cloud.Attest(t.Context(), now.Add(2*time.Minute), time.Hour); err != nil {
		t.Fatal(err)
	}
	last, err := s.LastGeneration(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if v := lookup(t, s, "node1.example"); v.Level != trust.Untrusted {
		t.Fatalf("before: %+v", v)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	if r, err := server.Restore(t.Context(), database, backup, "alice"); err != nil || r.Nodes != 2 || r.Aside == "" {
		t.Fatalf("%+v, %v", r, err)
	}
	if s, err = store.Open(t.Context(), database); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	v := lookup(t, s, "node1.example")
	if v.Level != trust.Unknown || v.Reason != trust.PolicyChanged {
		t.Errorf("the node is %s, %s", v.Level, v.Reason)
	}
	if v.Generation <= last {
		t.Errorf("generation %d comes again: %d was given before the restore", v.Generation, last)
	}
	if v := lookup(t, s, "held.example"); v.Level != trust.Untrusted || v.Reason != trust.OnHold {
		t.Errorf("the node on hold is %s, %s", v.Level, v.Reason)
	}
	if nodes, err := s.Claim(t.Context(), time.Now(), 10, time.Minute); err != nil || len(nodes) != 1 {
		t.Errorf("%d nodes are due, %v", len(nodes), err)
	}
	if _, _, err := s.CheckAdminLog(t.Context()); err != nil {
		t.Error(err)
	}
}

func lookup(t *testing.T, s *store.Store, name string) trust.Verdict {
	t.Helper()

	hosts, err := s.Lookup(t.Context(), []string{name}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return hosts[0].Verdict
}

func TestABackupWhoseAdminLogWasAlteredIsRefused(t *testing.T) {
	t.Parallel()

	database, backup := filepath.Join(t.TempDir(), "trustpool.db"), filepath.Join(t.TempDir(), "backup.db")
	if _, err := server.AddToken(t.Context(), database, "test", "alice", 3, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Backup(t.Context(), database, backup); err != nil {
		t.Fatal(err)
	}
	alter(t, backup, "UPDATE admin_log SET actor = 'nobody'")
	if _, err := server.Restore(t.Context(), database, backup, "alice"); err == nil {
		t.Error("it was restored")
	}
	if tokens, err := server.Tokens(t.Context(), database); err != nil || len(tokens) != 1 {
		t.Errorf("the database is not what it was: %v, %v", tokens, err)
	}
}

// alter changes a database behind the store's back.
func alter(t *testing.T, path, statement string) {
	t.Helper()

	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}
