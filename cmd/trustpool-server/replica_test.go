package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/server/pgtest"
	"github.com/trustpool/trustpool/tpmsim"
)

// replicas are two servers that share a database, each with a witness of what it says.
type replicas [2]*witness

func newReplicas(t *testing.T, interval time.Duration, database string) replicas {
	t.Helper()

	first := newSite(t, 5, interval, database)
	both := replicas{}
	for i, x := range []*site{first, first.replica(t)} {
		both[i] = &witness{site: x, changes: make(map[int64]api.Change), tokens: make(map[string]bool)}
		x.start(t)
	}
	first.furnish(t)
	both.allRight(t)
	first.nodes[4].reboot(t, tpmsim.OtherHypervisor)
	both.allRight(t)
	return both
}

// allRight waits until both say of each node what they have to say.
func (r replicas) allRight(t *testing.T) {
	t.Helper()
	for _, w := range r {
		w.waitUntil(t, "all verdicts are right", w.allRight)
	}
}

// load asks, changes and listens at both until what it returns is called.
func (r replicas) load(t *testing.T) (end func()) {
	ends := []func(){r[0].load(t), r[1].load(t)}
	return func() {
		for _, end := range ends {
			end()
		}
	}
}

// nothingLost compares what both have said with what one knows.
func (r replicas) nothingLost(t *testing.T, known *site) {
	t.Helper()
	for _, said := range r {
		(&witness{site: known, changes: said.changes, tokens: said.tokens}).nothingLost(t)
	}
}

// TestAKilledReplicaLosesNothing kills one of two servers under load, in turn, and looks at what the other one says: nothing that either had told anybody may be gone, no verdict wrong, and no node
// may wait for the end of a lease, those included that the killed one was asking.
func TestAKilledReplicaLosesNothing(t *testing.T) {
	t.Parallel()

	const interval = 3 * time.Second
	both := newReplicas(t, interval, pgtest.Start(t).Database(t))
	var longest time.Duration
	for round := range *kills {
		killed, other := both[round%2], both[1-round%2]
		load := both.load(t)
		<-time.After(time.Duration(round) * 431 * time.Millisecond % interval) // the moment is what is varied, nothing is waited for
		killed.kill()
		dead := time.Now()
		other.waitUntil(t, "each node was asked after the death", func(ctx context.Context) bool { return other.allSince(ctx, dead) })
		took := time.Since(dead)
		if took > inTime {
			t.Errorf("round %d: a node was not attested for %s", round, took)
		}
		longest = max(longest, took)
		if round%3 == 2 { // a node boots something else meanwhile
			other.nodes[3].reboot(t, []tpmsim.Scenario{tpmsim.NoLaunch, tpmsim.Trusted}[round/3%2])
			other.waitUntil(t, "the other sees it", other.allRight)
		}
		load()
		both.nothingLost(t, other.site)

		killed.start(t)
		both.allRight(t)
		both.nothingLost(t, killed.site)
	}
	for _, w := range both {
		if code := w.stop(t); code != 0 {
			t.Errorf("exit code %d", code)
		}
		if len(w.changes) == 0 || len(w.tokens) == 0 {
			t.Errorf("there was no load: %d changes heard, %d tokens made", len(w.changes), len(w.tokens))
		}
	}
	t.Logf("%d kills: %d and %d answers checked, every node asked within %s of a death, with an interval of %s", *kills, both[0].answers, both[1].answers, longest, interval)
}

// TestNobodyIsTrustedWhilePostgreSQLIsAway stops and kills PostgreSQL under two servers. As long as it is away nobody hears that a host is trusted; when it is back, both go on by themselves.
func TestNobodyIsTrustedWhilePostgreSQLIsAway(t *testing.T) {
	t.Parallel()

	const interval = 3 * time.Second
	cluster := pgtest.Start(t)
	both := newReplicas(t, interval, cluster.Database(t))
	for _, down := range []func(testing.TB){cluster.Stop, cluster.Kill} {
		load := both.load(t)
		down(t)
		for _, w := range both {
			if hosts, err := w.client.QueryHosts(t.Context(), w.names()); api.StatusOf(err) != http.StatusServiceUnavailable {
				t.Errorf("%+v, %v", hosts, err)
			}
			if levels := w.pollHosts(t); slices.ContainsFunc(levels, func(level string) bool { return level != "unknown" }) || len(levels) != len(w.nodes) {
				t.Errorf("PollHosts says %v", levels)
			}
		}
		cluster.Up(t)
		back := time.Now()
		for _, w := range both {
			w.waitUntil(t, "each node was asked after the return", func(ctx context.Context) bool { return w.allSince(ctx, back) })
		}
		load()
		both.allRight(t)
		both.nothingLost(t, both[0].site)
	}
	for _, w := range both {
		if code := w.stop(t); code != 0 {
			t.Errorf("exit code %d", code)
		}
	}
}

// pollHosts asks for all nodes as OpenStack's TrustedFilter does.
func (x *site) pollHosts(t *testing.T) (levels []string) {
	t.Helper()

	body, err := json.Marshal(map[string]any{"hosts": x.names()})
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+x.address+"/AttestationService/resources/PollHosts", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Auth-Blob", x.token)
	transport := &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: x.roots(), ServerName: "server.example"}}
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }() // read to its end
	raw, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%d %s, %v", response.StatusCode, raw, err)
	}
	var answer struct {
		Hosts []struct {
			Level string `json:"trust_lvl"`
		} `json:"hosts"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		t.Fatal(err)
	}
	for _, h := range answer.Hosts {
		levels = append(levels, h.Level)
	}
	return levels
}

// TestADumpIsRestored takes a database through pg_dump, pg_restore and mark-restored, as the documentation says.
func TestADumpIsRestored(t *testing.T) {
	t.Parallel()

	cluster := pgtest.Start(t)
	database := cluster.Database(t)
	x := newSite(t, 1, time.Hour, database)
	x.start(t)
	x.furnish(t)
	w := &witness{site: x}
	x.waitUntil(t, "the node is trusted", w.allRight)
	dump := filepath.Join(x.dir, "trustpool.dump")
	cluster.Run(t, database, "pg_dump", "--format=custom", "--file="+dump)
	x.stop(t)

	cluster.Run(t, database, "pg_restore", "--clean", "--if-exists", "--single-transaction", dump)
	if out, err := x.command("mark-restored", "trustpool.dump", "--config", x.config).Output(); err != nil || !strings.Contains(string(out), "unknown") {
		t.Fatalf("%v: %s\n%s", err, out, x.said)
	}
	x.start(t)
	x.waitUntil(t, "the node is trusted again", w.allRight)
	reasons := make(map[string]bool)
	for change, err := range x.client.History(t.Context(), x.nodes[0].name) {
		if err != nil {
			t.Fatal(err)
		}
		reasons[change.Reason] = true
	}
	if !reasons["policy_changed"] {
		t.Errorf("it was not unknown in between: %v", reasons)
	}
	if out, err := x.command("backup", filepath.Join(x.dir, "backup.db"), "--config", x.config).Output(); err == nil || !strings.Contains(x.said.String(), "pg_dump") {
		t.Errorf("backup: %s, %v", out, err)
	}
	if _, err := os.Stat(filepath.Join(x.dir, "backup.db")); err == nil {
		t.Error("a file was made")
	}
}
