package fleet

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/server/api"
)

func now() time.Time { return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) }

func TestNodeShowSaysFirstWhyANodeIsNotTrusted(t *testing.T) {
	t.Parallel()

	const why = "PCR 17, event 14 (tboot module 0, kernel): expected 00aa, got 00bb"
	node := api.Node{
		NodeSpec: api.NodeSpec{Name: "node1.example", Aliases: []string{"node1", "compute-1"}, Pool: "gold", Address: "node1.example:9443", Labels: map[string]string{"row": "b", "rack": "7"}, Binding: "chain"},
		State:    "active", Revision: 3, AddedAt: now().Add(-72 * time.Hour), AddedBy: "token:alice",
		Verdict: api.Verdict{
			Trust: api.Untrusted, Reason: "pcr_mismatch", Detail: why, ChangedAt: now().Add(-3 * time.Minute), QuotedAt: now().Add(-30 * time.Second),
			ExpiresAt: now().Add(5 * time.Minute), Generation: 17, EvidenceID: 42, Boot: &api.Boot{ResetCount: 7, RestartCount: 1},
		},
		Contact: &api.Contact{DueAt: now().Add(30 * time.Second), ReachedAt: now().Add(-30 * time.Second), GoodQuotes: 12, BadQuotes: 1},
	}
	const want = `UNTRUSTED node1.example: pcr_mismatch
  PCR 17, event 14 (tboot module 0, kernel): expected 00aa, got 00bb
  If this is meant to run there, declare it known good: trustpoolctl knowngood --help. If not, somebody changed what the host boots.

Verdict
  since          2026-11-23T11:57:00Z (3m ago)
  quoted         2026-11-23T11:59:30Z (30s ago)
  ends           2026-11-23T12:05:00Z (in 5m)
  boot           reset 7, restart 1
  evidence       42 (trustpoolctl node evidence node1.example 42)
  generation     17

Node
  aliases        node1, compute-1
  pool           gold
  state          active
  address        node1.example:9443
  labels         rack=7 row=b
  added          2026-11-20T12:00:00Z (3d ago) by token:alice
  revision       3

Keys
  enrolled       not yet; it has to reach the level chain

Challenges
  last answer    2026-11-23T11:59:30Z (30s ago)
  next           2026-11-23T12:00:30Z (in 30s)
  so far         12 good, 1 bad, 0 unanswered
`
	p := &console.Page{}
	newNodeView(&node, now()).text(p)
	if diff := cmp.Diff(want, p.String()); diff != "" {
		t.Error(diff)
	}
}

// TestNothingThatANodeSaysReachesTheTerminalRaw: names, suggestions, errors and details carry the words of nodes, of which some lie.
func TestNothingThatANodeSaysReachesTheTerminalRaw(t *testing.T) {
	t.Parallel()

	const evil = "x\x1b[2J\r\n\u202eTRUSTED"
	verdict := api.Verdict{Trust: evil, Reason: evil, Detail: evil, Sets: []string{evil}, EvidenceID: 1, Generation: 1}
	node := api.Node{
		NodeSpec: api.NodeSpec{
			Name: evil, Aliases: []string{evil}, Pool: evil, Address: evil, ServerName: evil, Labels: map[string]string{evil: evil}, Binding: evil,
			EK: &api.ExpectedEK{Name: evil, Serial: evil, Issuer: evil},
		},
		State: evil, StateReason: evil + " too", AddedBy: evil, Verdict: verdict, Contact: &api.Contact{Failures: 1, LastError: evil},
		Suggestions: &api.Suggestions{HostNames: []string{evil}, SMBIOSUUID: evil, SMBIOSSerial: evil},
	}
	change := api.Change{Node: evil, Pool: evil, Verdict: verdict}
	host := api.Host{Host: evil, Node: evil, Pool: evil, Verdict: verdict}
	pool := api.Pool{Name: evil, PoolSpec: api.PoolSpec{Description: evil, Requires: []api.Requirement{{Part: evil, Match: evil}}, Bindings: []string{evil}}}
	var told strings.Builder
	watcher := watcher{out: &console.Output{Stdout: &told}}

	for name, text := range map[string]func(*console.Page){
		"node show":   newNodeView(&node, now()).text,
		"node list":   (&nodesView{Nodes: []api.Node{node}}).text,
		"history":     (&historyView{Changes: []api.Change{change}}).text,
		"host status": (&hostsView{Hosts: []api.Host{host}}).text,
		"two hosts":   (&hostsView{Hosts: []api.Host{host, host}}).text,
		"pool show":   func(p *console.Page) { poolText(p, &pool) },
		"admin-log": func(p *console.Page) {
			adminLogText(p, []api.AdminEntry{{By: evil, Action: evil, Subject: evil, Detail: []byte(evil)}})
		},
		"summary":       (&summaryView{Summary: api.Summary{Pools: map[string]api.Count{evil: {}}}, Caller: api.Caller{Name: evil, Role: evil}}).text,
		"state of node": func(p *console.Page) { p.Line("%s", stateWords(&node)) },
		"watch": func(p *console.Page) {
			if err := watcher.tell(&change); err != nil {
				t.Error(err)
			}
			p.WriteString(told.String())
		},
	} {
		p := &console.Page{}
		text(p)
		if got := p.String(); got == "" || strings.ContainsAny(got, "\x1b\r\u202e") || strings.Contains(got, "\nTRUSTED") {
			t.Errorf("%s prints\n%q", name, got)
		}
	}
}

func TestTheWorstVerdictIsTheExitCode(t *testing.T) {
	t.Parallel()

	for _, test := range []struct {
		trusts []api.Trust
		want   int
	}{
		{nil, 0},
		{[]api.Trust{api.Trusted, api.Trusted}, 0},
		{[]api.Trust{api.Trusted, api.Unknown}, 1},
		{[]api.Trust{api.Untrusted, api.Unknown, api.Trusted}, 4},
		{[]api.Trust{""}, 1},
		{[]api.Trust{"TRUSTED"}, 1},
	} {
		view := &hostsView{}
		for _, trust := range test.trusts {
			view.Hosts = append(view.Hosts, api.Host{Verdict: api.Verdict{Trust: trust}})
		}
		if got := view.exit(); got != test.want {
			t.Errorf("%v: exit code %d, want %d", test.trusts, got, test.want)
		}
	}
}
