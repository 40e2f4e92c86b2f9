//go:build openstack

package openstacktest_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/trustpool/trustpool/server/publish"
)

// computeStatus is what Nova says of a compute service.
type computeStatus struct {
	ID     string `json:"id"`
	Status string `json:"status"`
	Reason string `json:"disabled_reason"`
}

// services returns the compute services by their hosts.
func (c *cloud) services(t testing.TB) map[string]computeStatus {
	t.Helper()

	var got struct {
		Services []struct {
			Host string `json:"host"`
			computeStatus
		} `json:"services"`
	}

	must(t, http.StatusOK, http.MethodGet, c.nova.URL+"/v2.1/os-services?binary=nova-compute", c.admin(t), nil, &got)

	services := map[string]computeStatus{}
	for _, one := range got.Services {
		services[one.Host] = one.computeStatus
	}

	return services
}

func barUntrusted(t *testing.T, c *cloud, password string) {
	f := c.configure(t, c.keystone.URL, password)
	f.Bars.NoNewGuests = publish.Untrusted
	s := openSink(t, f)

	withoutID := cmpopts.IgnoreFields(computeStatus{}, "ID")
	put := func(host string, state publish.State) {
		t.Helper()

		if err := s.Write(t.Context(), host, state); err != nil {
			t.Fatal(err)
		}
	}

	// The two nodes of one service are nobody's to bar.
	want := map[string]publish.State{"compute1": {}, "compute2": {}, "bare1": {Held: true}, "bare2": {Held: true}}
	if diff := cmp.Diff(want, s.read(t)); diff != "" {
		t.Fatalf("read at first (-want +got):\n%s", diff)
	}

	long := strings.Repeat("ä", 300)
	put("compute1", publish.State{Bar: publish.NoNewGuests, Reason: "pcr_mismatch"})
	put("compute2", publish.State{Bar: publish.NoNewGuests, Reason: long})
	put("bare1", publish.State{Bar: publish.NoNewGuests, Reason: "pcr_mismatch"})

	barred := map[string]computeStatus{
		"c1": {Status: "disabled", Reason: "trustpool: pcr_mismatch"}, "c2": {Status: "disabled", Reason: "trustpool: " + string([]rune(long)[:244])}, "ironic": {Status: "enabled"},
	}
	if diff := cmp.Diff(barred, c.services(t), withoutID); diff != "" {
		t.Errorf("services after barring (-want +got):\n%s", diff)
	}

	if got := s.read(t)["compute1"]; got.Bar != publish.NoNewGuests || got.Reason != "pcr_mismatch" || got.Held {
		t.Errorf("compute1 is %+v", got)
	}

	// An operator takes compute2 over, which the publisher has not seen yet.
	must(t, http.StatusOK, http.MethodPut, c.nova.URL+"/v2.1/os-services/"+c.services(t)["c2"].ID, c.admin(t), map[string]string{"status": "disabled", "disabled_reason": "new memory"}, nil)
	put("compute1", publish.State{})
	put("compute2", publish.State{})

	freed := map[string]computeStatus{"c1": {Status: "enabled"}, "c2": {Status: "disabled", Reason: "new memory"}, "ironic": {Status: "enabled"}}
	if diff := cmp.Diff(freed, c.services(t), withoutID); diff != "" {
		t.Errorf("services after freeing (-want +got):\n%s", diff)
	}

	if got := s.read(t)["compute2"]; !got.Held || got.Bar != publish.NoBar {
		t.Errorf("compute2 is %+v", got)
	}

	put("compute2", publish.State{Bar: publish.NoNewGuests, Reason: "pcr_mismatch"})

	if got := c.services(t)["c2"].Reason; got != "new memory" {
		t.Errorf("the operator's reason became %q", got)
	}
}

// withoutNova publishes while Nova's endpoint leads nowhere.
func withoutNova(t *testing.T, c *cloud, password string) {
	f := c.configure(t, c.keystone.URL, password)
	f.Bars.NoNewGuests = publish.Untrusted
	f.Placement.ComputeEndpoint = "http://127.0.0.1:1/v2.1"
	s := openSink(t, f)
	s.read(t)
	s.write(t, "compute1", trait)

	if got := s.read(t)["compute1"]; !slices.Equal(got.Marks, []string{trait}) || !got.Held {
		t.Errorf("compute1 is %+v", got)
	}

	s.write(t, "compute1")
}

// serviceGone has Nova list a service no more between reading and writing, while Placement takes no write: the host is there, and what failed is told.
func serviceGone(t *testing.T, c *cloud, password string) {
	f := c.configure(t, c.keystone.URL, password)
	f.Bars.NoNewGuests = publish.Untrusted
	f.Placement.ComputeEndpoint = between(t, c.nova.URL, func(_ http.ResponseWriter, r *http.Request) bool {
		r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "host=c1", "host=gone", 1)

		return false
	}) + "/v2.1"
	f.Placement.Endpoint = between(t, c.placement.URL, func(w http.ResponseWriter, r *http.Request) bool {
		if isTraitWrite(r, "compute1") {
			w.WriteHeader(http.StatusInternalServerError)
		}

		return isTraitWrite(r, "compute1")
	})
	s := openSink(t, f)
	s.read(t)

	err := s.Write(t.Context(), "compute1", publish.State{Marks: []string{trait}, Bar: publish.NoNewGuests, Reason: "pcr_mismatch"})
	if err == nil || errors.Is(err, publish.ErrNoHost) || !strings.Contains(err.Error(), "writing traits") || !strings.Contains(err.Error(), "compute service c1") {
		t.Errorf("Write() = %v, want both failures, and not ErrNoHost", err)
	}
}

// flavorAndAggregate runs the documented commands where Placement has the trait.
func flavorAndAggregate(t *testing.T, c *cloud, _ string) {
	shell(t, strings.Join([]string{
		documented(t, "openstack --os-placement-api-version 1.6 trait show"),
		documented(t, "openstack flavor create"),
		documented(t, "openstack --os-placement-api-version 1.29 allocation candidate list"),
		strings.ReplaceAll(documented(t, "openstack aggregate create"), "trusted compute1", "trusted c1"),
	}, "\n"), c.adminEnv()...)

	for _, path := range []string{"/flavors/detail", "/os-aggregates"} {
		status, said := request(t, http.MethodGet, c.nova.URL+"/v2.1"+path, c.admin(t), nil)
		if status != http.StatusOK || !strings.Contains(string(said), `"trait:CUSTOM_TRUSTED_POOL": "required"`) {
			t.Errorf("%s: status %d, and none requires the trait: %s", path, status, said)
		}
	}
}
