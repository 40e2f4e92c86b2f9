package publish_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/trustpool/trustpool/server/publish"
)

// cloudsYAML is a clouds.yaml with one more line.
func cloudsYAML(more string) string {
	return `clouds:
  trustpool:
    ` + more + `
    auth: {auth_url: "http://keystone.invalid:5000/v3", username: trustpool, password: x, user_domain_name: Default, project_name: trustpool, project_domain_name: Default}
`
}

func openPlacement(t *testing.T, f *publish.PlacementFile, clouds string) (publish.Sink, error) {
	t.Helper()

	return f.Open(publish.Env{
		Logger: slog.New(slog.DiscardHandler), Marks: f.MarkNames(), ReadFile: func(string) ([]byte, error) { return []byte(clouds), nil }, Conflict: func() {},
	})
}

func TestCredentialsThatCannotBeUsedAreRefusedAtTheStart(t *testing.T) {
	t.Parallel()

	for name, c := range map[string]struct{ clouds, want string }{
		"no such cloud":            {"clouds: {}\n", `cloud "trustpool" not found`},
		"no YAML":                  {"{", "reading /etc/trustpool-server/clouds.yaml"},
		"certificates not checked": {cloudsYAML("verify: false"), "remove verify"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			if _, err := openPlacement(t, placementFile(), c.clouds); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Open() = %v, want %q", err, c.want)
			}
		})
	}
}

func TestPasswordIsNotSentInTheClear(t *testing.T) {
	t.Parallel()

	sink, err := openPlacement(t, placementFile(), cloudsYAML("region_name: RegionOne"))
	if err != nil {
		t.Fatal(err)
	}

	if _, err := sink.Read(t.Context()); err == nil || !strings.Contains(err.Error(), "http://keystone.invalid:5000 is not encrypted") {
		t.Errorf("Read() = %v", err)
	}
}

func TestTokenIsNotSentInTheClear(t *testing.T) {
	t.Parallel()

	f := placementFile()
	f.Placement = publish.PlacementConfig{AllowNoAuthentication: true, Endpoint: "http://placement.invalid:8778", Timeout: time.Second}

	sink, err := openPlacement(t, f, "")
	if err != nil {
		t.Fatal(err)
	}

	if _, err := sink.Read(t.Context()); err == nil || !strings.Contains(err.Error(), "http://placement.invalid:8778 is not encrypted") {
		t.Errorf("Read() = %v", err)
	}

	if err := sink.Write(t.Context(), "compute1", publish.State{}); err == nil || !strings.Contains(err.Error(), "never reached") {
		t.Errorf("Write() = %v", err)
	}
}
