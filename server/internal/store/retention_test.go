package store_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/trustpool/trustpool/server/internal/store"
	"github.com/trustpool/trustpool/server/internal/store/storetest"
	"github.com/trustpool/trustpool/server/internal/trust"
)

func TestABackupIsADatabase(t *testing.T) {
	t.Parallel()

	b := newBase(t, storetest.SQLite) // of PostgreSQL, pg_dump makes one
	b.attest(t, noon)
	path := filepath.Join(t.TempDir(), "backup.db")
	if err := b.Backup(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	if err := b.Backup(t.Context(), path); err == nil {
		t.Error("a file that was there was overwritten")
	}
	restored := &base{Store: storetest.Open(t, path)}
	wantVerdict(t, restored.verdict(t, "node1", noon), trust.Trusted, trust.OK)
}

func TestADatabaseOfANewerVersionIsRefused(t *testing.T) {
	t.Parallel()

	storetest.OnBoth(t, func(t *testing.T, on storetest.Engine) {
		s, database := newStore(t, on)
		storetest.Alter(t, database, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (999, TRUE)")
		if on == storetest.Postgres { // an older replica works beside newer tables until they say that it can't
			storetest.Open(t, database)
			storetest.Alter(t, database, "UPDATE compatibility SET oldest = 999")
			if _, err := s.PutPool(t.Context(), act(), trust.Pool{Name: "pool"}, 0); err == nil || !strings.Contains(err.Error(), "install the newer version") {
				t.Errorf("an older replica writes: %v", err)
			}
			if err := s.Ready(t.Context()); err == nil {
				t.Error("an older replica is ready")
			}
			if _, err := s.Pools(t.Context()); err == nil {
				t.Error("an older replica reads")
			}
		}
		if s, err := store.Open(t.Context(), database); err == nil {
			t.Error("taken", s.Close())
		}
	})
}

func TestWhatIsPastItsTimeGoes(t *testing.T) {
	t.Parallel()

	storetest.OnBoth(t, func(t *testing.T, on storetest.Engine) {
		b := newBase(t, on)
		for i := range 4 {
			b.soft.Reboot(fmt.Sprint("hypervisor ", i%2))
			b.attest(t, noon.Add(time.Duration(i)*time.Minute))
		}
		p, err := b.Prune(t.Context(), store.Retention{History: time.Hour}, noon.Add(62*time.Minute))
		if err != nil || p.Changes != 2 {
			t.Errorf("%+v, %v", p, err)
		}
		p, err = b.Prune(t.Context(), store.Retention{History: time.Minute}, noon.Add(24*time.Hour))
		if err != nil || p.Changes != 1 {
			t.Errorf("%+v, %v", p, err)
		}
		history, err := b.History(t.Context(), "node1", 0, 10)
		if err != nil || len(history) != 1 {
			t.Errorf("the last change is gone: %+v, %v", history, err)
		}
		logs, err := b.Logs(t.Context(), b.node.ID)
		if err != nil || len(logs["txt"]) == 0 {
			t.Errorf("the log of the last evidence is gone: %v, %v", logs, err)
		}

		p, err = b.Prune(t.Context(), store.Retention{LogBytes: 1}, noon)
		if err != nil || p.LogsOfEvidence != 1 {
			t.Errorf("%+v, %v", p, err)
		}
		if ev, err := b.LastEvidence(t.Context(), "node1", store.LastBad); err != nil || len(ev.Evidence.Logs) != 0 {
			t.Errorf("%+v, %v", ev, err)
		}
	})
}

// TestTheLogOfGoodEvidenceIsTheLastToGo: also if it is older than what a node that lies has sent since.
func TestTheLogOfGoodEvidenceIsTheLastToGo(t *testing.T) {
	t.Parallel()

	storetest.OnBoth(t, func(t *testing.T, on storetest.Engine) {
		b := newBase(t, on)
		b.attest(t, noon)
		b.soft.Reboot("another hypervisor")
		b.attest(t, noon.Add(time.Minute))
		good, err := b.LastEvidence(t.Context(), "node1", store.LastGood)
		if err != nil || len(good.Evidence.Logs) != 1 {
			t.Fatalf("%+v, %v", good, err)
		}
		p, err := b.Prune(t.Context(), store.Retention{LogBytes: int64(len(good.Evidence.Logs[0].Raw))}, noon.Add(2*time.Minute))
		if err != nil || p.LogsOfEvidence != 1 {
			t.Errorf("%+v, %v", p, err)
		}
		if good, err := b.LastEvidence(t.Context(), "node1", store.LastGood); err != nil || len(good.Evidence.Logs) != 1 {
			t.Errorf("the log of the good evidence is gone: %v", err)
		}
	})
}

func TestALogIsStoredOnce(t *testing.T) {
	t.Parallel()

	storetest.OnBoth(t, func(t *testing.T, on storetest.Engine) {
		b := newBase(t, on)
		b.attest(t, noon)
		b.attest(t, noon.Add(time.Minute))
		var n int
		if err := storetest.Raw(t, b.path).QueryRow("SELECT count(*) FROM logs").Scan(&n); err != nil || n != 1 {
			t.Errorf("%d logs, %v", n, err)
		}
	})
}

// TestMuchIsRemovedInSmallSteps: whoever records what nodes answered waits for one step, and not for all.
func TestMuchIsRemovedInSmallSteps(t *testing.T) {
	t.Parallel()

	b := newBase(t, storetest.Postgres)
	b.attest(t, noon)
	db := storetest.Raw(t, b.path)
	for _, statement := range []string{
		"CREATE TABLE removed (kind TEXT, within BIGINT)",
		"CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO removed VALUES (TG_TABLE_NAME, txid_current()); RETURN NULL; END $$",
		"CREATE TRIGGER note AFTER DELETE ON history FOR EACH ROW EXECUTE FUNCTION note()",
		"CREATE TRIGGER note AFTER DELETE ON logs FOR EACH ROW EXECUTE FUNCTION note()",
		"INSERT INTO logs (sha256, size, used_at, raw) SELECT sha256(n::text::bytea), 10, n, '' FROM generate_series(1, 1100) AS n",
		"INSERT INTO logs (sha256, size, used_at, raw) SELECT sha256(n::text::bytea), 10, n, '' FROM generate_series(2001, 3100) AS n",
		"INSERT INTO evidence (id, node_id, kind, quoted_at, nonce, body) SELECT 9000, node_id, 'change', 0, '', '{}' FROM verdicts",
		"INSERT INTO evidence_logs (evidence_id, position, source, sha256) SELECT 9000, n, 'txt', sha256(n::text::bytea) FROM generate_series(2001, 3100) AS n",
		"INSERT INTO history (generation, node_id, at, level, reason, detail, quoted_at, expires_at, sets, ek_binding, booted, reset_count, restart_count, rebooted, evidence_id) " +
			"SELECT 9000 + n, node_id, n, 0, '', '', 0, 0, 'null', '', FALSE, 0, 0, FALSE, 0 FROM verdicts, generate_series(1, 1100) AS n",
	} {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}

	p, err := b.Prune(t.Context(), store.Retention{History: time.Hour, LogBytes: 10_000}, noon.Add(time.Minute))
	if err != nil || p.Changes != 1100 || p.Logs < 1200 || p.LogsOfEvidence != p.Logs-1100 {
		t.Errorf("%+v, %v", p, err)
	}
	var most, steps int
	if err := db.QueryRow("SELECT max(n), count(*) FROM (SELECT count(*) AS n FROM removed GROUP BY kind, within) AS steps").Scan(&most, &steps); err != nil || most > 500 || steps < 6 {
		t.Errorf("%d rows went in one of %d steps, %v", most, steps, err)
	}
	if ev, err := b.LastEvidence(t.Context(), "node1", store.LastGood); err != nil || len(ev.Evidence.Logs) != 1 {
		t.Errorf("the log of the good evidence is gone: %+v, %v", ev, err)
	}
}
