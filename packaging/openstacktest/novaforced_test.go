//go:build openstack

package openstacktest_test

import (
	"fmt"
	"net/http"
	"testing"
)

// forced shows moves about which no scheduler is asked, nor Placement for candidates, so that guests that demand the trait get to hosts that do not bear it.
func (n *nova) forced(t *testing.T) {
	const good, other, bad = "compute1", "compute2", "compute3"

	n.mark(t, good, true)

	g := n.as("owner").landsOn(t, trusted, []string{good})
	move := func(version string, options map[string]any) {
		t.Helper()

		options["block_migration"] = "auto"
		n.at(version).call(t, http.StatusAccepted, http.MethodPost, "/servers/"+g.ID+"/action", map[string]any{"os-migrateLive": options}, nil)
	}

	for _, p := range []part{
		{"a live migration to a host that is named, but not forced, is refused", func(t *testing.T) {
			move(novaVersion, map[string]any{"host": bad})
			n.waitForFailure(t, g.ID, "live-migration")
			n.runsOn(t, g, good)
		}},
		// Evacuations come first: the hypervisors' stand-in keeps a guest that has left by live migration, and takes none that it has.
		{"an evacuation to a host that is named is forced below 2.29, and may be up to 2.67", func(t *testing.T) {
			n.evacuate(t, "2.28", g, good, map[string]any{"host": bad})
			move(novaVersion, map[string]any{"host": nil})
			n.runsOn(t, g, good)
			n.evacuate(t, "2.67", g, good, map[string]any{"host": other, "force": true})
			move(novaVersion, map[string]any{"host": nil})
			n.runsOn(t, g, good)
		}},
		{"a live migration to a host that is named is forced below 2.30", func(t *testing.T) {
			move("2.29", map[string]any{"host": bad})
			n.runsOn(t, g, bad)
			move(novaVersion, map[string]any{"host": nil})
			n.runsOn(t, g, good)
		}},
		{"and may be forced up to 2.67", func(t *testing.T) {
			move("2.67", map[string]any{"host": bad, "force": true})
			n.runsOn(t, g, bad)
			move(novaVersion, map[string]any{"host": nil})
			n.runsOn(t, g, good)

			body := map[string]any{"os-migrateLive": map[string]any{"host": bad, "force": true, "block_migration": "auto"}}
			n.at("2.68").call(t, http.StatusBadRequest, http.MethodPost, "/servers/"+g.ID+"/action", body, nil)
		}},
		{"a guest comes back to a host that has lost the trait if its owner reverts the migration", func(t *testing.T) {
			n.mark(t, other, true)
			n.call(t, http.StatusAccepted, http.MethodPost, "/servers/"+g.ID+"/action", map[string]any{"migrate": nil}, nil)

			if now := n.waitFor(t, g.ID, "VERIFY_RESIZE"); now.Host != other {
				t.Fatalf("it migrated to %s", now.Host)
			}

			n.mark(t, good, false)
			n.as("owner").call(t, http.StatusAccepted, http.MethodPost, "/servers/"+g.ID+"/action", map[string]any{"revertResize": nil}, nil)
			n.runsOn(t, g, good)
		}},
	} {
		p.run(t)
	}
}

// at is the same cloud for whoever speaks to it in a microversion.
func (n *nova) at(version string) *nova {
	other := *n
	other.version = version

	return &other
}

// runsOn waits until a guest runs on a host, and Nova does nothing with it any more.
func (n *nova) runsOn(t testing.TB, g guest, host string) {
	t.Helper()

	var now guest

	eventually(t, guestLimit, func() bool {
		now = n.guest(t, g.ID)

		return now.Status == "ACTIVE" && now.Host == host && now.Task == ""
	}, func() string { return fmt.Sprintf("the guest does not run on %s: %s, %s", host, now, now.Task) })
}

// evacuate has a guest leave a host that has failed for the one that the options name, and the host come back.
func (n *nova) evacuate(t testing.TB, version string, g guest, from string, options map[string]any) {
	t.Helper()

	service := "/os-services/" + n.service(t, from).ID

	n.call(t, http.StatusOK, http.MethodPut, service, map[string]any{"forced_down": true}, nil)
	n.at(version).call(t, http.StatusOK, http.MethodPost, "/servers/"+g.ID+"/action", map[string]any{"evacuate": options}, nil)
	n.runsOn(t, g, fmt.Sprint(options["host"]))
	n.restart(t, from) // Nova wants it to forget the guest first
	n.call(t, http.StatusOK, http.MethodPut, service, map[string]any{"forced_down": false}, nil)
}
