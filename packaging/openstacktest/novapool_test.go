//go:build openstack

package openstacktest_test

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// Three hosts, by the names that Nova knows them by: the last by an alias of its node.
const host1, host2, host3 = "node1.sim.example", "node2.sim.example", "node3"

// story is one cloud and one site, whose parts are tested one after the other, each from where the one before it left them.
type story struct {
	*nova
	*site

	publisher *process
	guest     guest // asked for a trusted host, and was put on host1
}

func TestTrustedGuests(t *testing.T) {
	t.Parallel()

	n := launchNova(t, novaConfig{
		Computes: all(),
		Options:  map[string]map[string]any{"scheduler": {"enable_isolated_aggregate_filtering": true}},
	})
	x := &story{nova: n, site: startSite(t, 3, 2)}
	n.ready(t)
	x.furnish(t)
	x.publisher = x.startPublisher(t, n, "")

	for _, p := range []part{
		{"while no host is trusted, only guests that do not ask for it run", x.nobodyTrusted},
		{"guests go to the trusted host", x.oneTrusted},
		{"a host that boots another hypervisor gets no more of them", x.otherHypervisor},
		{"nobody can name such a host for them", x.hostNamed},
		{"a guest that is there starts and is rebuilt there, unless an administrator locked it", x.stopped},
		{"a host that is trusted again gets them", x.trustedAgain},
		{"they migrate to trusted hosts only", x.migrated},
		{"and leave a host that has failed for trusted hosts only", x.evacuated},
		{"an isolated aggregate keeps guests out that do not ask for trust", x.isolated},
		{"a host that marks itself is found out", x.markedItself},
		{"a publisher that is killed is not missed while there is another", x.publisherKilled},
		{"a server that is killed leaves no host trusted", x.serverKilled},
		{"what the last publisher left is taken away", x.allKilled},
		{"a host in quarantine gets no guest at all", x.quarantined},
	} {
		p.run(t)
	}
}

// part is one of a story, by the rule that it shows.
type part struct {
	rule string
	test func(*testing.T)
}

// run runs it. Where it fails, the story ends.
func (p part) run(t *testing.T) {
	if !t.Run(p.rule, p.test) {
		t.FailNow()
	}
}

// all are the hosts of the cloud.
func all() []string { return []string{host1, host2, host3} }

// owner is the cloud for the owner of a guest, who is no administrator.
func (x *story) owner() *nova { return x.as("owner") }

// bear waits until exactly these hosts bear the trait.
func (x *story) bear(t *testing.T, want ...string) {
	t.Helper()

	var got []string

	eventually(t, siteLimit, func() bool {
		got = x.bearers(t)

		return slices.Equal(got, want)
	}, func() string {
		return fmt.Sprintf("the trait is on %v, not on %v:\n%s", got, want, x.nodes())
	})
}

func (x *story) nobodyTrusted(t *testing.T) {
	x.bear(t)
	x.landsNowhere(t, trusted)
	x.landsOn(t, plain, all())
}

func (x *story) oneTrusted(t *testing.T) {
	x.trustFirst(t)
	x.bear(t, host1)
	x.guest = x.owner().landsOn(t, trusted, []string{host1})
	x.landsOn(t, plain, all())

	x.updateResources(t)
	x.restart(t, host1)
	x.bear(t, host1)
}

func (x *story) otherHypervisor(t *testing.T) {
	began := time.Now()
	x.reboot(t, host1, otherHypervisor)

	booted := time.Since(began)
	x.bear(t)

	withdrawn := time.Since(began)
	x.landsNowhere(t, trusted)

	refused := time.Since(began)
	t.Logf("figure: a node reboots into another hypervisor: its agent runs after %d ms, the trait is gone after %d ms, a guest finds no host after %d ms", booted.Milliseconds(),
		withdrawn.Milliseconds(), refused.Milliseconds())

	x.updateResources(t)
	x.restart(t, host1)
	x.bear(t)
	x.runs(t, x.guest)
	x.landsOn(t, plain, all())
}

func (x *story) trustedAgain(t *testing.T) {
	x.reboot(t, host1, "trusted")
	x.bear(t, host1)
	x.landsOn(t, trusted, []string{host1})
	x.runs(t, x.guest)
}

// runs fails unless a guest runs where it did.
func (x *story) runs(t *testing.T, g guest) {
	t.Helper()

	if now := x.nova.guest(t, g.ID); now.Status != "ACTIVE" || now.Host != g.Host {
		t.Errorf("the guest on %s is %s, and should have been left alone", g.Host, now)
	}
}
