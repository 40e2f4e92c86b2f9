//go:build openstack

package openstacktest_test

import "testing"

func TestTraitDecidesWhereNovaPutsGuests(t *testing.T) {
	t.Parallel()

	hosts := []string{"compute1", "compute2", "compute3"}
	n := startNova(t, novaConfig{Computes: hosts})
	n.furnish(t)

	n.landsNowhere(t, trusted)
	n.landsOn(t, plain, hosts)

	n.mark(t, "compute2", true)
	g := n.landsOn(t, trusted, hosts[1:2])

	n.updateResources(t)
	n.restart(t, "compute2")

	if !n.has(t, "compute2") {
		t.Error("nova-compute took the trait away")
	}

	n.mark(t, "compute2", false)
	n.updateResources(t)
	n.restart(t, "compute2")

	if n.has(t, "compute2") {
		t.Error("nova-compute brought the trait back")
	}

	n.landsNowhere(t, trusted)

	if now := n.guest(t, g.ID); now.Status != "ACTIVE" || now.Host != g.Host {
		t.Errorf("the guest that ran there is %s", now)
	}

	t.Run("but for moves that are forced", n.forced)
}
