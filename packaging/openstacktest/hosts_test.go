//go:build openstack

package openstacktest_test

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"slices"
	"testing"
)

// trait is the one that most tests publish.
const trait = "CUSTOM_TRUSTED_POOL"

// noauth is a Placement that tests speak to as its administrator, also past trustpool.
type noauth struct{ *api }

// provider is Placement's resource provider, as far as the tests look at it.
type provider struct {
	UUID       string `json:"uuid"`
	Name       string `json:"name"`
	Generation int    `json:"generation"`
}

// providerTraits are the traits of a provider, with the generation that a change has to name.
type providerTraits struct {
	Traits     []string `json:"traits"`
	Generation int      `json:"resource_provider_generation"`
}

// uuidOf is the UUID of the provider with that name, always the same.
func uuidOf(name string) string {
	h := fmt.Sprintf("%x", sha256.Sum256([]byte(name)))

	return h[:8] + "-" + h[8:12] + "-4" + h[12:15] + "-8" + h[15:18] + "-" + h[18:30]
}

// addHost registers a compute node as Nova does: with VCPUs, memory, disk, and traits of its own.
func (n noauth) addHost(t testing.TB, name string, traits ...string) {
	t.Helper()
	n.addProvider(t, name, "")

	inventories := map[string]any{"VCPU": map[string]int{"total": 16}, "MEMORY_MB": map[string]int{"total": 32768}, "DISK_GB": map[string]int{"total": 500}}
	must(t, http.StatusOK, http.MethodPut, n.of(name)+"/inventories", asAdmin, map[string]any{"resource_provider_generation": 0, "inventories": inventories}, nil)

	if len(traits) > 0 {
		n.setTraits(t, name, traits...)
	}
}

// addProvider registers a resource provider, inside another unless parent is empty.
func (n noauth) addProvider(t testing.TB, name, parent string) {
	t.Helper()

	body := map[string]any{"name": name, "uuid": uuidOf(name)}
	if parent != "" {
		body["parent_provider_uuid"] = uuidOf(parent)
	}

	must(t, http.StatusOK, http.MethodPost, n.URL+"/resource_providers", asAdmin, body, nil)
}

// of is the URL of a host's provider.
func (n noauth) of(name string) string {
	return n.URL + "/resource_providers/" + uuidOf(name)
}

// traits returns a host's traits, sorted.
func (n noauth) traits(t testing.TB, name string) providerTraits {
	t.Helper()

	var got providerTraits

	must(t, http.StatusOK, http.MethodGet, n.of(name)+"/traits", asAdmin, nil, &got)
	slices.Sort(got.Traits)

	return got
}

// setTraits has a host bear these traits and no others, as its nova-compute could.
func (n noauth) setTraits(t testing.TB, name string, traits ...string) {
	t.Helper()

	body := map[string]any{"resource_provider_generation": n.traits(t, name).Generation, "traits": append([]string{}, traits...)}
	must(t, http.StatusOK, http.MethodPut, n.of(name)+"/traits", asAdmin, body, nil)
}

// candidates returns the hosts that a scheduler gets for a small guest with these required traits, sorted.
func (n noauth) candidates(t testing.TB, required ...string) []string {
	t.Helper()

	url := n.URL + "/allocation_candidates?resources=VCPU:1,MEMORY_MB:512,DISK_GB:1"
	for _, r := range required {
		url += "&required=" + r
	}

	var all struct {
		Providers []provider `json:"resource_providers"`
	}

	var got struct {
		Summaries map[string]any `json:"provider_summaries"`
	}

	must(t, http.StatusOK, http.MethodGet, n.URL+"/resource_providers", asAdmin, nil, &all)
	must(t, http.StatusOK, http.MethodGet, url, asAdmin, nil, &got)

	names := []string{}

	for _, p := range all.Providers {
		if _, ok := got.Summaries[p.UUID]; ok {
			names = append(names, p.Name)
		}
	}

	slices.Sort(names)

	return names
}
