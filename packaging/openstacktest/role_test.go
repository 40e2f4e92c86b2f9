//go:build openstack

package openstacktest_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trustpool/trustpool/server/publish"
)

// TestCloudBehindKeystone is one test, because Keystone takes long to start. Its steps build on each other.
func TestCloudBehindKeystone(t *testing.T) {
	t.Parallel()

	c := startCloud(t,
		computeNode{Host: "c1", Hostname: "compute1", UUID: uuidOf("compute1")},
		computeNode{Host: "c2", Hostname: "compute2", UUID: uuidOf("compute2")},
		computeNode{Host: "ironic", Hostname: "bare1", UUID: uuidOf("bare1")},
		computeNode{Host: "ironic", Hostname: "bare2", UUID: uuidOf("bare2"), Again: true},
	)

	password := c.addPublisher(t)

	for _, step := range []struct {
		name string
		run  func(t *testing.T, c *cloud, password string)
	}{
		{"traits are published with the shipped role", publishWithRole},
		{"the role can do nothing else", roleCanDoNothingElse},
		{"a wrong password is told", wrongPassword},
		{"a user without the role is told so", withoutRole},
		{"a token that ends is renewed", tokenEnds},
		{"an application credential does as well", applicationCredential},
		{"a changed password is read again", passwordChanges},
		{"untrusted hosts get no new guests", barUntrusted},
		{"Nova's failure does not keep traits from being taken away", withoutNova},
		{"a compute service that is gone hides no failure", serviceGone},
		{"the documented flavor and aggregate", flavorAndAggregate},
	} {
		t.Run(step.name, func(t *testing.T) { step.run(t, c, password) })
	}
}

// addPublisher creates the role and its user by the documented commands, and returns the user's password.
func (c *cloud) addPublisher(t *testing.T) string {
	t.Helper()

	said := shell(t, documented(t, "openstack role create trustpool_publisher")+"\necho; echo \"password: $PASSWORD\"", c.adminEnv()...)

	_, password, found := strings.Cut(said, "password: ")
	if !found {
		t.Fatalf("the commands said %s", said)
	}

	return strings.TrimSpace(password)
}

// adminEnv is what an administrator's openrc file sets.
func (c *cloud) adminEnv() []string {
	return []string{
		"OS_AUTH_URL=" + c.keystone.URL + "/v3", "OS_USERNAME=admin", "OS_PASSWORD=" + adminPassword, "OS_PROJECT_NAME=admin", "OS_USER_DOMAIN_ID=default",
		"OS_PROJECT_DOMAIN_ID=default", "OS_IDENTITY_API_VERSION=3", "OS_INTERFACE=internal", "OS_REGION_NAME=RegionOne", "OS_CLOUD=",
	}
}

// configure returns the configuration of a publisher with the shipped clouds.yaml, filled in.
func (c *cloud) configure(t testing.TB, authURL, password string) *publish.PlacementFile {
	t.Helper()

	sample, err := os.ReadFile("../openstack/clouds.yaml")
	if err != nil {
		t.Fatal(err)
	}

	filled := strings.NewReplacer("https://keystone.example:5000", authURL, "PASSWORD", password).Replace(string(sample))
	path := filepath.Join(t.TempDir(), "clouds.yaml")
	write(t, path, filled)

	f := publish.DefaultPlacementFile()
	f.Placement.CloudsFile = path
	f.Placement.Cloud = "trustpool"
	f.Placement.Timeout = siteLimit

	return f
}

func publishWithRole(t *testing.T, c *cloud, password string) {
	s := openSink(t, c.configure(t, c.keystone.URL, password))

	if got := s.read(t); len(got) != 4 {
		t.Fatalf("read %v, want 4 hosts", got)
	}

	s.write(t, "compute1", trait)

	if diff := cmp.Diff(publish.State{Marks: []string{trait}}, s.read(t)["compute1"]); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}

	s.write(t, "compute1")
}

func roleCanDoNothingElse(t *testing.T, c *cloud, password string) {
	as := asUser(c.token(t, "trustpool", password, "trustpool"))
	provider := "/resource_providers/" + uuidOf("compute1")

	for _, r := range []struct{ method, url string }{
		{http.MethodPost, c.placement.URL + "/resource_providers"},
		{http.MethodPut, c.placement.URL + provider},
		{http.MethodDelete, c.placement.URL + provider},
		{http.MethodGet, c.placement.URL + provider},
		{http.MethodGet, c.placement.URL + provider + "/inventories"},
		{http.MethodPut, c.placement.URL + provider + "/inventories"},
		{http.MethodPut, c.placement.URL + provider + "/aggregates"},
		{http.MethodDelete, c.placement.URL + provider + "/traits"},
		{http.MethodDelete, c.placement.URL + "/traits/" + trait},
		{http.MethodGet, c.placement.URL + "/allocation_candidates?resources=VCPU:1"},
		{http.MethodPut, c.placement.URL + "/allocations/" + uuidOf("guest")},
		{http.MethodPost, c.placement.URL + "/reshaper"},
		{http.MethodGet, c.nova.URL + "/v2.1/servers/detail?all_tenants=1"},
		{http.MethodGet, c.nova.URL + "/v2.1/os-aggregates"},
		{http.MethodDelete, c.nova.URL + "/v2.1/os-services/" + uuidOf("service")},
		{http.MethodDelete, c.nova.URL + "/v2.1/flavors/1"},
		{http.MethodGet, c.keystone.URL + "/v3/users"},
		{http.MethodPost, c.keystone.URL + "/v3/users"},
	} {
		var body any
		if r.method == http.MethodPut || r.method == http.MethodPost {
			body = map[string]any{}
		}

		if status, said := request(t, r.method, r.url, as, body); status != http.StatusForbidden {
			t.Errorf("%s %s: status %d, want 403: %s", r.method, r.url, status, said)
		}
	}
}

func wrongPassword(t *testing.T, c *cloud, _ string) {
	_, err := openSink(t, c.configure(t, c.keystone.URL, "wrong")).Read(t.Context())
	if err == nil || !strings.Contains(err.Error(), "check the user and the secret in clouds_file") {
		t.Errorf("Read() = %v", err)
	}
}

func withoutRole(t *testing.T, c *cloud, _ string) {
	project, reader := c.find(t, "projects", "trustpool"), c.find(t, "roles", "reader")

	var made struct {
		User identified `json:"user"`
	}

	must(t, http.StatusCreated, http.MethodPost, c.keystone.URL+"/v3/users", c.admin(t), map[string]any{"user": map[string]string{"name": "nobody", "password": "nobody"}}, &made)
	must(t, http.StatusNoContent, http.MethodPut, c.keystone.URL+"/v3/projects/"+project+"/users/"+made.User.ID+"/roles/"+reader, c.admin(t), nil, nil)

	f := c.configure(t, c.keystone.URL, "nobody")
	rename(t, f, "nobody")

	_, err := openSink(t, f).Read(t.Context())
	if err == nil || !strings.Contains(err.Error(), "give the user the role") {
		t.Errorf("Read() = %v", err)
	}
}

// rename has a configuration's clouds.yaml name another user.
func rename(t testing.TB, f *publish.PlacementFile, name string) {
	t.Helper()

	content, err := os.ReadFile(f.Placement.CloudsFile)
	if err != nil {
		t.Fatal(err)
	}

	write(t, f.Placement.CloudsFile, strings.ReplaceAll(string(content), "username: trustpool", "username: "+name))
}

// tokenEnds waits for the end of a token that Keystone gave out after the sink's.
func tokenEnds(t *testing.T, c *cloud, password string) {
	short := &cloud{keystone: c.startKeystone(t, shortToken)}
	s := openSink(t, c.configure(t, short.keystone.URL, password))
	failed := func() string { return "no token lasts for as long as a request takes" }

	eventually(t, siteLimit, func() bool {
		_, err := s.Read(t.Context())

		return err == nil
	}, failed)

	later := asUser(short.token(t, "trustpool", password, "trustpool"))

	for {
		if status, _ := request(t, http.MethodGet, c.placement.URL+"/resource_providers", later, nil); status == http.StatusUnauthorized {
			break
		}
	}

	// Only reading begins anew. Writing goes on with what there is, and has to have the token renewed.
	for _, marks := range [][]string{{trait}, nil} {
		eventually(t, siteLimit, func() bool { return s.Write(t.Context(), "compute2", publish.State{Marks: marks}) == nil }, failed)
	}
}

// applicationCredential has the user make one by the documented command, and writes it into the shipped clouds.yaml as that says.
func applicationCredential(t *testing.T, c *cloud, password string) {
	f := c.configure(t, c.keystone.URL, password)
	asUser := strings.NewReplacer("/etc/trustpool-server/clouds.yaml", f.Placement.CloudsFile)
	command := asUser.Replace(strings.TrimSpace(documented(t, "OS_CLIENT_CONFIG_FILE=/etc/trustpool-server/clouds.yaml openstack --os-cloud trustpool application credential create")))

	var made struct{ ID, Secret string }
	if said := shell(t, command+" -f json"); json.Unmarshal([]byte(said), &made) != nil || made.Secret == "" {
		t.Fatalf("%s said %s", command, said)
	}

	content, err := os.ReadFile(f.Placement.CloudsFile)
	if err != nil {
		t.Fatal(err)
	}

	withPassword, instead, _ := strings.Cut(string(content), "    # Or, instead of")
	above, _, _ := strings.Cut(withPassword, "    auth:\n")
	_, instead, _ = strings.Cut(instead, "\n")
	filled := above + strings.NewReplacer("    # ", "    ", "https://keystone.example:5000", c.keystone.URL, " ID\n", " "+made.ID+"\n", " SECRET", " "+made.Secret).Replace(instead)
	write(t, f.Placement.CloudsFile, filled)

	s := openSink(t, f)
	s.read(t)
	s.write(t, "compute1", trait)
	s.write(t, "compute1")

	shell(t, asUser.Replace("OS_CLIENT_CONFIG_FILE=/etc/trustpool-server/clouds.yaml openstack --os-cloud trustpool token issue"))

	defer c.changePassword(t, password, "changed")()
	waitForRead(t, openSink(t, f))

	write(t, f.Placement.CloudsFile, strings.ReplaceAll(filled, made.Secret, "wrong"))

	if _, err := openSink(t, f).Read(t.Context()); err == nil || !strings.Contains(err.Error(), "check the user and the secret in clouds_file") {
		t.Errorf("Read() = %v with a wrong secret", err)
	}
}

func passwordChanges(t *testing.T, c *cloud, password string) {
	f := c.configure(t, c.keystone.URL, password)
	s := openSink(t, f)
	s.read(t)

	defer c.changePassword(t, password, "changed")()

	if _, err := s.Read(t.Context()); err == nil {
		t.Error("reading with the old password: no error, and changing it ends all tokens")
	}

	content, err := os.ReadFile(f.Placement.CloudsFile)
	if err != nil {
		t.Fatal(err)
	}

	write(t, f.Placement.CloudsFile, strings.ReplaceAll(string(content), password, "changed"))
	waitForRead(t, s)
}

// waitForRead reads until it can be done: a changed password also ends those tokens that Keystone gives out in the same second.
func waitForRead(t testing.TB, s sink) {
	t.Helper()

	var err error

	eventually(t, siteLimit, func() bool {
		_, err = s.Read(t.Context())

		return err == nil
	}, func() string { return err.Error() })
}

// identified is whatever Keystone names by an ID.
type identified struct {
	ID string `json:"id"`
}

// find returns the ID of what has that name in a collection of Keystone's.
func (c *cloud) find(t testing.TB, collection, name string) string {
	t.Helper()

	var got map[string]json.RawMessage

	must(t, http.StatusOK, http.MethodGet, c.keystone.URL+"/v3/"+collection+"?name="+name, c.admin(t), nil, &got)

	var found []identified
	if err := json.Unmarshal(got[collection], &found); err != nil || len(found) != 1 {
		t.Fatalf("%s %s: %v, %v", collection, name, found, err)
	}

	return found[0].ID
}

// changePassword gives the publisher's user another password, and returns what gives him the old one back.
func (c *cloud) changePassword(t testing.TB, from, to string) (back func()) {
	t.Helper()
	c.setPassword(t, to)

	return func() {
		c.setPassword(t, from)
		waitForRead(t, openSink(t, c.configure(t, c.keystone.URL, from)))
	}
}

// setPassword gives the publisher's user another password.
func (c *cloud) setPassword(t testing.TB, password string) {
	t.Helper()

	body := map[string]any{"user": map[string]string{"password": password}}
	must(t, http.StatusOK, http.MethodPatch, c.keystone.URL+"/v3/users/"+c.find(t, "users", "trustpool"), c.admin(t), body, nil)
}
