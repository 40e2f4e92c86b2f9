//go:build openstack

package openstacktest_test

import (
	"fmt"
	"net/http"
	"testing"
)

// hostNamed: an administrator names a host for a guest, in the two ways that there are. By the second, Nova's own filters are not asked; Placement is.
func (x *story) hostNamed(t *testing.T) {
	for _, how := range []wishes{{"host": host1}, {"availability_zone": "nova:" + host1}} {
		x.landsNowhere(t, trusted, how)
		x.landsOn(t, plain, []string{host1}, how)
	}
}

// stopped shows what no scheduler can prevent, since none is asked when a guest starts (OSSN-0059), and what an administrator can do. Nor does Placement get to see a rebuild.
func (x *story) stopped(t *testing.T) {
	stop, start := map[string]any{"os-stop": nil}, map[string]any{"os-start": nil}
	path := "/servers/" + x.guest.ID + "/action"

	x.owner().call(t, http.StatusAccepted, http.MethodPost, path, stop, nil)
	x.waitFor(t, x.guest.ID, "SHUTOFF")
	x.owner().call(t, http.StatusAccepted, http.MethodPost, path, start, nil)
	x.waitFor(t, x.guest.ID, "ACTIVE")
	x.runs(t, x.guest)

	x.owner().call(t, http.StatusAccepted, http.MethodPost, path, stop, nil)
	x.waitFor(t, x.guest.ID, "SHUTOFF")
	x.call(t, http.StatusAccepted, http.MethodPost, path, map[string]any{"lock": map[string]any{"locked_reason": "its host is not trusted"}}, nil)
	x.owner().call(t, http.StatusConflict, http.MethodPost, path, start, nil)
	x.owner().call(t, http.StatusForbidden, http.MethodPost, path, map[string]any{"unlock": nil}, nil)

	x.call(t, http.StatusAccepted, http.MethodPost, path, map[string]any{"unlock": nil}, nil)
	x.owner().call(t, http.StatusAccepted, http.MethodPost, path, start, nil)
	x.waitFor(t, x.guest.ID, "ACTIVE")

	x.act(t, x.guest.ID, map[string]any{"rebuild": map[string]any{"imageRef": otherImage}})
	x.runs(t, x.guest)
}

// migrated has a guest leave the only trusted host, which it can't, and then go to another one. A shelved one comes back to a trusted host.
func (x *story) migrated(t *testing.T) {
	path := "/servers/" + x.guest.ID + "/action"

	x.call(t, http.StatusAccepted, http.MethodPost, path, map[string]any{"shelve": nil}, nil)
	x.waitFor(t, x.guest.ID, "SHELVED_OFFLOADED")
	x.call(t, http.StatusAccepted, http.MethodPost, path, map[string]any{"unshelve": nil}, nil)
	x.waitFor(t, x.guest.ID, "ACTIVE")
	x.runs(t, x.guest)

	x.call(t, http.StatusAccepted, http.MethodPost, path, map[string]any{"migrate": nil}, nil)
	x.waitForFailure(t, x.guest.ID, "migrate")
	x.runs(t, x.guest)

	x.reboot(t, host2, "trusted")
	x.bear(t, host1, host2)
	x.call(t, http.StatusAccepted, http.MethodPost, path, map[string]any{"migrate": nil}, nil)

	if g := x.waitFor(t, x.guest.ID, "VERIFY_RESIZE"); g.Host != host2 {
		t.Errorf("it migrated to %s", g.Host)
	}

	x.call(t, http.StatusNoContent, http.MethodPost, path, map[string]any{"confirmResize": nil}, nil)
	x.guest = x.waitFor(t, x.guest.ID, "ACTIVE")
}

// evacuated has a guest leave a host that has failed, while there is a trusted one, and one that is not.
func (x *story) evacuated(t *testing.T) {
	service := "/os-services/" + x.service(t, host2).ID

	x.call(t, http.StatusOK, http.MethodPut, service, map[string]any{"forced_down": true}, nil)
	x.call(t, http.StatusOK, http.MethodPost, "/servers/"+x.guest.ID+"/action", map[string]any{"evacuate": map[string]any{}}, nil)
	eventually(t, guestLimit, func() bool {
		now := x.nova.guest(t, x.guest.ID)

		return now.Status == "ACTIVE" && now.Host == host1
	}, func() string { return fmt.Sprintf("the guest on %s is %s", host2, x.nova.guest(t, x.guest.ID)) })

	x.guest = x.settled(t, x.guest.ID)
	x.restart(t, host2) // Nova wants it to forget the guest first
	x.call(t, http.StatusOK, http.MethodPut, service, map[string]any{"forced_down": false}, nil)
}

// waitForFailure waits until Nova says that the last thing of that name that a guest was to do has failed.
func (n *nova) waitForFailure(t testing.TB, id, action string) {
	t.Helper()

	var got struct {
		Actions []struct {
			Action  string `json:"action"`
			Message string `json:"message"`
		} `json:"instanceActions"`
	}

	eventually(t, guestLimit, func() bool {
		n.call(t, http.StatusOK, http.MethodGet, "/servers/"+id+"/os-instance-actions", nil, &got)

		return len(got.Actions) > 0 && got.Actions[0].Action == action && got.Actions[0].Message == "Error"
	}, func() string { return fmt.Sprintf("to %s does not fail: %v", action, got.Actions) })
}

// isolated keeps a trusted host for those who ask for one. Nova's option enable_isolated_aggregate_filtering is on.
func (x *story) isolated(t *testing.T) {
	x.landsOn(t, plain, []string{host1}, wishes{"host": host1})

	var made struct {
		Aggregate struct {
			ID int `json:"id"`
		} `json:"aggregate"`
	}

	x.call(t, http.StatusOK, http.MethodPost, "/os-aggregates", map[string]any{"aggregate": map[string]any{"name": "trusted"}}, &made)
	path := fmt.Sprintf("/os-aggregates/%d/action", made.Aggregate.ID)
	x.call(t, http.StatusOK, http.MethodPost, path, map[string]any{"add_host": map[string]any{"host": host1}}, nil)
	x.call(t, http.StatusOK, http.MethodPost, path, map[string]any{"set_metadata": map[string]any{"metadata": map[string]any{"trait:" + trait: "required"}}}, nil)

	x.landsNowhere(t, plain, wishes{"host": host1})
	x.landsNowhere(t, plain, wishes{"availability_zone": "nova:" + host1})
	x.landsOn(t, plain, []string{host2, host3})
	x.landsOn(t, trusted, []string{host1}, wishes{"host": host1})

	x.call(t, http.StatusOK, http.MethodPost, path, map[string]any{"remove_host": map[string]any{"host": host1}}, nil)
}
