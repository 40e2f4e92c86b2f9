//go:build openstack

package openstacktest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
)

const (
	adminPassword = "the administrator's"

	// A token lasts as long as any test, but where a test waits for its end.
	longToken, shortToken = 3600, 5 // seconds
)

// keystoneConfig is Keystone's own configuration: how long its tokens last, and its folder. Passwords are hashed as fast as can be.
const keystoneConfig = `[database]
connection = sqlite:///%[2]s/keystone.db
[token]
expiration = %[1]d
[identity]
password_hash_rounds = 4
[fernet_tokens]
key_repository = %[2]s/keys
[fernet_receipts]
key_repository = %[2]s/keys
[credential]
key_repository = %[2]s/keys
[cache]
enabled = true
backend = dogpile.cache.memory
`

// authConfig is what an API has to know of Keystone. A validated token is not remembered, so that none outlives Keystone's word.
const authConfig = `[keystone_authtoken]
www_authenticate_uri = %[1]s/v3
token_cache_time = -1
` + serviceConfig

// serviceConfig is as whom an API calls Keystone, and Nova's calls Placement.
const serviceConfig = `auth_type = password
auth_url = %[1]s/v3
username = admin
password = %[2]s
project_name = admin
user_domain_name = Default
project_domain_name = Default
`

// computeConfig is the configuration of Nova's API. It has no compute service to call, and does not wait for one.
const computeConfig = `[DEFAULT]
transport_url = fake://
rpc_response_timeout = 1
report_interval = 1
service_down_time = 2
state_path = %[1]s
[database]
connection = sqlite:///%[1]s/nova.db
[api_database]
connection = sqlite:///%[1]s/nova_api.db
[oslo_concurrency]
lock_path = %[1]s
`

// cloud is Keystone, and behind it Placement and Nova's API, with a role for the publisher. Its policies are those that trustpool ships.
type cloud struct {
	dir                       string
	keystone, placement, nova *api
}

// computeNode is one that Nova knows. A service may manage several.
type computeNode struct {
	Host     string `json:"host"`
	Hostname string `json:"hostname"`
	UUID     string `json:"uuid"`
	// Again: an earlier node has the same service.
	Again bool `json:"again,omitempty"`
}

// startCloud starts all three and lists them in the catalog. Placement has a provider for each node.
func startCloud(t testing.TB, nodes ...computeNode) *cloud {
	t.Helper()

	c := &cloud{dir: t.TempDir()}
	for _, dir := range []string{"keys", "policy.d", "nova/policy.d"} {
		if err := os.MkdirAll(filepath.Join(c.dir, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}

	c.keystone = c.startKeystone(t, longToken)

	auth := fmt.Sprintf(authConfig, c.keystone.URL, adminPassword)
	write(t, filepath.Join(c.dir, "placement.conf"), fmt.Sprintf(placementConfig, "keystone", filepath.Join(c.dir, "placement.db"))+auth)
	write(t, filepath.Join(c.dir, "policy.yaml"), "{}\n")
	copyFile(t, "../openstack/policy/placement.yaml", filepath.Join(c.dir, "policy.d/trustpool.yaml"))

	nova := filepath.Join(c.dir, "nova")
	toPlacement := "[placement]\nregion_name = RegionOne\nvalid_interfaces = internal\n" + fmt.Sprintf(serviceConfig, c.keystone.URL, adminPassword)
	write(t, filepath.Join(nova, "nova.conf"), fmt.Sprintf(computeConfig, nova)+auth+toPlacement)
	write(t, filepath.Join(nova, "policy.yaml"), "{}\n")
	copyFile(t, "../openstack/policy/nova.yaml", filepath.Join(nova, "policy.d/trustpool.yaml"))

	known, err := json.Marshal(nodes)
	if err != nil {
		t.Fatal(err)
	}

	var both errgroup.Group

	both.Go(func() (err error) {
		c.placement, err = start("placement", 1, "OS_PLACEMENT_CONFIG_DIR="+c.dir)
		return err
	})
	both.Go(func() (err error) {
		c.nova, err = start("nova", 2, "NOVA_CONFIG="+filepath.Join(nova, "nova.conf"), "COMPUTE_NODES="+string(known))
		return err
	})

	err = both.Wait()

	for _, started := range []*api{c.placement, c.nova} {
		if started != nil {
			t.Cleanup(func() {
				started.end()
				started.showFailure(t)
			})
		}
	}

	if err != nil {
		t.Fatal(err)
	}

	c.list(t, "placement", c.placement.URL)
	c.list(t, "compute", c.nova.URL+"/v2.1")

	for _, node := range nodes {
		must(t, http.StatusOK, http.MethodPost, c.placement.URL+"/resource_providers", c.admin(t), map[string]string{"name": node.Hostname, "uuid": node.UUID}, nil)
	}

	return c
}

// startKeystone starts a Keystone whose tokens last so many seconds; a further one has the same users, and the same keys.
func (c *cloud) startKeystone(t testing.TB, seconds int) *api {
	t.Helper()

	file := filepath.Join(c.dir, fmt.Sprintf("keystone%d.conf", seconds))
	write(t, file, fmt.Sprintf(keystoneConfig, seconds, c.dir))

	return serve(t, "keystone", 1, "OS_KEYSTONE_CONFIG_FILES="+file, "KEYSTONE_PASSWORD="+adminPassword)
}

// list puts an API into Keystone's catalog.
func (c *cloud) list(t testing.TB, kind, url string) {
	t.Helper()

	var made struct {
		Service struct {
			ID string `json:"id"`
		} `json:"service"`
	}

	must(t, http.StatusCreated, http.MethodPost, c.keystone.URL+"/v3/services", c.admin(t), map[string]any{"service": map[string]string{"type": kind, "name": kind}}, &made)

	endpoint := map[string]string{"service_id": made.Service.ID, "interface": "internal", "region_id": "RegionOne", "url": url}
	must(t, http.StatusCreated, http.MethodPost, c.keystone.URL+"/v3/endpoints", c.admin(t), map[string]any{"endpoint": endpoint}, nil)
}

// admin is a token of the administrator's.
func (c *cloud) admin(t testing.TB) http.Header {
	t.Helper()

	return asUser(c.token(t, "admin", adminPassword, "admin"))
}

// asUser is how whoever has a token speaks to Placement and Nova.
func asUser(token string) http.Header {
	return http.Header{"X-Auth-Token": {token}, "X-Openstack-Nova-Api-Version": {novaVersion}}
}

// token gets a user a token for a project.
func (c *cloud) token(t testing.TB, user, password, project string) string {
	t.Helper()

	domain := map[string]string{"id": "default"}
	body := map[string]any{"auth": map[string]any{
		"identity": map[string]any{"methods": []string{"password"}, "password": map[string]any{"user": map[string]any{"name": user, "domain": domain, "password": password}}},
		"scope":    map[string]any{"project": map[string]any{"name": project, "domain": domain}},
	}}

	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}

	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.keystone.URL+"/v3/auth/tokens", strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}

	req.Header.Set("Content-Type", "application/json")

	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}

	defer func() { _ = answer.Body.Close() }()

	if answer.StatusCode != http.StatusCreated {
		t.Fatalf("a token for %s: status %d", user, answer.StatusCode)
	}

	return answer.Header.Get("X-Subject-Token")
}

// copyFile copies a file of the project's to where a service reads it.
func copyFile(t testing.TB, from, to string) {
	t.Helper()

	content, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}

	write(t, to, string(content))
}
