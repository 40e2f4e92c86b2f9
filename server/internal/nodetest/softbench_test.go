package nodetest_test

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/trustpool/trustpool/server/internal/challenge"
	"github.com/trustpool/trustpool/server/internal/nodetest"
	"github.com/trustpool/trustpool/server/internal/store/storetest"
	"github.com/trustpool/trustpool/server/internal/trust"
	"github.com/trustpool/trustpool/server/pgtest"
	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/client"
)

var softNodes = flag.Int("soft-nodes", 10_000, "how many nodes in software BenchmarkSoftNodes makes")

// A verdict that is not renewed in time ends within what is watched.
const (
	softInterval = time.Minute
	softValidity = 75 * time.Second
	softWatched  = 80 * time.Second
)

// softSite makes nodes with keys in software, all of which booted the same, and enrols them by hand.
func softSite(b *testing.B, count int, database string) (*centre, *nodetest.Fleet, []string) {
	b.Helper()
	c := newCentre(b, trust.Pool{Name: "pool"}, database)
	var (
		soft  []*nodetest.Soft
		nodes []trust.Node
		names []string
	)
	for i := range count {
		n, err := nodetest.NewSoft(fmt.Sprintf("node%05d.example", i), "xen")
		if err != nil {
			b.Fatal(err)
		}
		soft, names = append(soft, n), append(names, n.Name)
		nodes = append(nodes, trust.Node{Name: n.Name, Address: n.Name + ":9443", Pool: "pool", Binding: verifier.BindingInventory, Record: n.Record()})
	}
	known, err := soft[0].KnownGood()
	if err != nil {
		b.Fatal(err)
	}
	c.approve(b, "pool", known)
	if _, err := c.store.AddNodes(b.Context(), act(), nodes); err != nil {
		b.Fatal(err)
	}
	return c, nodetest.NewFleet(soft...), names
}

// BenchmarkSoftNodes has 10,000 nodes challenged. First all are due at once, which tells how fast the server is; then it has to keep them fresh, once a minute, with verdicts that hold for a
// minute and a quarter. A key in software signs each quote, in this process: its part of the time is measured first and taken off.
func BenchmarkSoftNodes(b *testing.B) { softNodesOn(b, storetest.SQLite.Database(b), 1) }

// BenchmarkSoftNodesPostgres is the same with two replicas that share a PostgreSQL database, which syncs what is committed.
func BenchmarkSoftNodesPostgres(b *testing.B) { softNodesOn(b, pgtest.Start(b).Database(b), 2) }

func softNodesOn(b *testing.B, database string, replicas int) {
	c, fleet, names := softSite(b, *softNodes, database)
	signing := signingTime(b, fleet, names[0])
	before := resident(b)

	used := cpu(b)
	config := challenge.Config{Interval: softInterval, Validity: softValidity, Timeout: 10 * time.Second, Concurrency: 64}
	c.run(b, replicas, config, fleet, nil)
	took := c.until(b, *softNodes, 5*time.Minute)
	used = cpu(b) - used - time.Duration(*softNodes)*signing

	w := c.watch(b, names, softWatched)
	w.report(b)
	b.ReportMetric(float64(*softNodes)/took.Seconds(), "verifications/s")
	b.ReportMetric(float64(*softNodes)/used.Seconds(), "verifications/core-s")
	b.ReportMetric(float64(signing.Microseconds()), "signing-us")
	b.ReportMetric(before, "RSS-idle-MiB")
	b.ReportMetric(resident(b), "RSS-MiB")
	b.ReportMetric(0, "ns/op") // means nothing here
}

// signingTime is what a quote costs a node in software.
func signingTime(b *testing.B, fleet *nodetest.Fleet, name string) time.Duration {
	b.Helper()
	const times = 2000
	node := trust.Node{Name: name}
	used := cpu(b)
	for range times {
		nonce, err := client.NewNonce()
		if err != nil {
			b.Fatal(err)
		}
		if _, err := fleet.Challenge(b.Context(), &node, challenge.Request{Nonce: nonce, Selection: verifier.DefaultSelection()}); err != nil {
			b.Fatal(err)
		}
	}
	return (cpu(b) - used) / times
}

// BenchmarkJudge is one verification in memory: from the evidence to the verdict, without the store.
func BenchmarkJudge(b *testing.B) {
	node, err := nodetest.NewSoft("node1.example", "xen")
	if err != nil {
		b.Fatal(err)
	}
	known, err := node.KnownGood()
	if err != nil {
		b.Fatal(err)
	}
	nonce, err := client.NewNonce()
	if err != nil {
		b.Fatal(err)
	}
	ev, err := node.Evidence(nonce, verifier.DefaultSelection())
	if err != nil {
		b.Fatal(err)
	}
	n := trust.Node{Name: node.Name, Pool: "pool", State: trust.Active, Record: node.Record(), Binding: verifier.BindingInventory}
	policy := trust.Policy{
		Pool:     trust.Pool{Name: "pool", Requires: []trust.Requirement{{Part: trust.Hypervisor, Match: trust.AnyOf}}},
		Sets:     []trust.Set{{Name: "xen", Part: trust.Hypervisor, Pools: []string{"pool"}, State: trust.InForce, KnownGood: known}},
		Validity: time.Minute,
	}
	now := time.Now()
	for b.Loop() {
		if v := policy.Judge(&n, trust.Answer{Evidence: ev, Nonce: nonce, QuotedAt: now}, []string{"xen"}, now).Verdict; v.Level != trust.Trusted {
			b.Fatalf("%+v", v)
		}
	}
}
