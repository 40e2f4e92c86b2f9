//go:build openstack

package openstacktest_test

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
)

// service is what Nova says of a nova-compute.
type service struct {
	ID     string `json:"id"`
	Host   string `json:"host"`
	Status string `json:"status"`
	Reason string `json:"disabled_reason"`
}

func (n *nova) service(t testing.TB, host string) service {
	t.Helper()

	var got struct {
		Services []service `json:"services"`
	}

	n.call(t, http.StatusOK, http.MethodGet, "/os-services?binary=nova-compute&host="+host, nil, &got)

	if len(got.Services) != 1 {
		t.Fatalf("there are %d services on %s", len(got.Services), host)
	}

	return got.Services[0]
}

// waitForService waits until a host's service has a status, and a reason for it that begins so.
func (n *nova) waitForService(t testing.TB, host, status, reason string) {
	t.Helper()

	var now service

	eventually(t, siteLimit, func() bool {
		now = n.service(t, host)

		return now.Status == status && strings.HasPrefix(now.Reason, reason)
	}, func() string { return fmt.Sprintf("the service does not become %s: %+v", status, now) })
}

// quarantined has a publisher disable the services of untrusted hosts: of host1 and host3, of which an operator has disabled the first himself.
func (x *story) quarantined(t *testing.T) {
	byHand := map[string]any{"status": "disabled", "disabled_reason": "disks are replaced"}
	x.call(t, http.StatusOK, http.MethodPut, "/os-services/"+x.service(t, host1).ID, byHand, nil)

	x.publisher.end(os.Interrupt)
	x.publisher = x.startPublisher(t, x.nova, "bars: {no_new_guests: untrusted}\n")

	x.waitForService(t, host3, "disabled", "trustpool: pcr_mismatch")
	x.landsNowhere(t, plain, wishes{"host": host3})
	x.landsOn(t, plain, []string{host2})
	x.landsOn(t, trusted, []string{host2})
	x.runs(t, x.guest)

	x.reboot(t, host1, "trusted")
	x.reboot(t, "node3", "trusted")
	x.bear(t, host1, host2, host3)
	x.waitForService(t, host3, "enabled", "")
	x.landsOn(t, plain, []string{host3}, wishes{"host": host3})
	x.waitForService(t, host1, "disabled", "disks are replaced")
}
