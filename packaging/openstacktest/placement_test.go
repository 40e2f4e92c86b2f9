//go:build openstack

package openstacktest_test

import (
	"net/http"
	"testing"
)

func TestPlacementAnswers(t *testing.T) {
	t.Parallel()

	p := startPlacement(t)

	if status, _ := request(t, http.MethodGet, p.URL+"/resource_providers", http.Header{}, nil); status != http.StatusUnauthorized {
		t.Errorf("without a token: status %d, want 401", status)
	}

	if status, _ := request(t, http.MethodGet, p.URL+"/resource_providers", http.Header{"X-Auth-Token": {"somebody"}}, nil); status != http.StatusForbidden {
		t.Errorf("with somebody's token: status %d, want 403", status)
	}

	must(t, http.StatusOK, http.MethodGet, p.URL+"/resource_providers", asAdmin, nil, nil)
}
