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
	guest     guest // asked for a trusted host, and runs on host1
}

func TestTrustedGuests(t *testing.T) {
	t.Parallel()

	n := launchNova(t, novaConfig{Computes: []string{host1, host2, host3}})
	s := startSite(t, build(t), n, 3, 2)
	n.ready(t)

	x := &story{nova: n, site: s}
	x.site.compute = n.URL
	x.furnish(t)
	x.publisher = s.startPublisher(t, "")

	for _, part := range []struct {
		rule string
		test func(*testing.T)
	}{
		{"while no host is trusted, only guests that do not ask for it run", x.nobodyTrusted},
		{"guests go to the trusted host", x.oneTrusted},
		{"a host that boots another hypervisor gets no more of them", x.otherHypervisor},
		{"a host that is trusted again gets them", x.trustedAgain},
	} {
		if !t.Run(part.rule, part.test) {
			t.FailNow()
		}
	}
}

// bear waits until exactly these hosts bear the trait.
func (x *story) bear(t *testing.T, want ...string) {
	t.Helper()

	var got []string

	eventually(t, siteLimit, func() bool {
		got = x.bearers(t)

		return slices.Equal(got, want)
	}, func() string { return fmt.Sprintf("the trait is on %v, not on %v:\n%s", got, want, x.ctl(t, "node", "list")) })
}

func (x *story) nobodyTrusted(t *testing.T) {
	x.bear(t)
	x.landsNowhere(t, trusted)
	x.landsOn(t, plain, []string{host1, host2, host3})
}

func (x *story) oneTrusted(t *testing.T) {
	x.trustFirst(t)
	x.bear(t, host1)
	x.guest = x.landsOn(t, trusted, []string{host1})
	x.landsOn(t, plain, []string{host1, host2, host3})

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
	x.landsOn(t, plain, []string{host1, host2, host3})
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
		t.Errorf("the guest on %s is %s", g.Host, now)
	}
}
