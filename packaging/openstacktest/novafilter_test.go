//go:build openstack

package openstacktest_test

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
)

// TestTrustedPoolFilter has nova-scheduler ask the attestation server itself, so that a trait that nobody has taken away yet does not help its host.
func TestTrustedPoolFilter(t *testing.T) {
	t.Parallel()

	s := startSite(t, 2, 1)

	module, err := filepath.Abs("../openstack")
	if err != nil {
		t.Fatal(err)
	}

	n := startNova(t, novaConfig{
		Computes: []string{host1, host2},
		Filters:  []string{"trustpool_nova_filter.TrustedPoolFilter"},
		Options: map[string]map[string]any{
			"trustpool": {"url": "https://" + s.address, "cafile": s.path("sim/pki/ca.pem"), "token_file": s.path("reader"), "timeout": 10},
		},
		env: []string{"PYTHONPATH=" + module},
	})
	x := &story{nova: n, site: s}
	x.furnish(t)
	x.addFlavor(t, asked, map[string]string{"trust:trusted_host": "trusted"})
	x.trustFirst(t)

	for _, p := range []part{
		{"a trait that a host has given itself is of no use to it", x.traitIsNotEnough},
		{"the flavor's own key needs no trait", x.keyIsEnough},
		{"a guest is not rebuilt where trust has ended", x.rebuilt},
		{"without an answer no host is trusted", x.unanswered},
	} {
		p.run(t)
	}
}

// asked is a flavor that asks for trust by the filter's own key.
const asked = "asked"

// traitIsNotEnough: there is no publisher. Both hosts bear the trait, and one is trusted.
func (x *story) traitIsNotEnough(t *testing.T) {
	x.mark(t, host1, true)
	x.mark(t, host2, true)

	x.guest = x.landsOn(t, trusted, []string{host1})
	x.landsNowhere(t, trusted, wishes{"host": host2})
	x.landsOn(t, plain, []string{host2}, wishes{"host": host2})
}

func (x *story) keyIsEnough(t *testing.T) {
	x.mark(t, host1, false)
	x.mark(t, host2, false)

	x.landsOn(t, asked, []string{host1})
	x.landsNowhere(t, asked, wishes{"host": host2})
	x.mark(t, host1, true)
}

func (x *story) rebuilt(t *testing.T) {
	rebuild := map[string]any{"rebuild": map[string]any{"imageRef": otherImage}}
	g := x.act(t, x.guest.ID, rebuild)

	if g.Status != "ACTIVE" {
		t.Errorf("on a trusted host, a rebuilt guest is %s", g)
	}

	x.reboot(t, host1, otherHypervisor)
	eventually(t, siteLimit, func() bool { return !x.trusts(host1) }, x.nodes)
	x.landsNowhere(t, trusted)
	x.call(t, http.StatusAccepted, http.MethodPost, "/servers/"+x.guest.ID+"/action", map[string]any{"rebuild": map[string]any{"imageRef": image}}, nil)
	x.waitForFailure(t, x.guest.ID, "rebuild")
}

func (x *story) unanswered(t *testing.T) {
	x.reboot(t, host1, "trusted")
	eventually(t, siteLimit, func() bool { return x.trusts(host1) }, x.nodes)
	x.landsOn(t, trusted, []string{host1})

	x.server.end(os.Kill)
	x.landsNowhere(t, trusted)
	x.landsNowhere(t, asked)
	x.landsOn(t, plain, []string{host1, host2})
}
