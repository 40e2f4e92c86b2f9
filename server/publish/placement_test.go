package publish_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
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

func TestPlacementReadRefusesWhatIsNoListOfProviders(t *testing.T) {
	t.Parallel()

	for name, c := range map[string]struct {
		status     int
		body, want string
	}{
		"an empty list":     {200, `{"resource_providers":[]}`, ""},
		"an empty object":   {200, `{}`, "no list of them"},
		"null":              {200, `null`, "no list of them"},
		"null for the list": {200, `{"resource_providers":null}`, "no list of them"},
		"a choice":          {300, `{"versions":[{"id":"v1.0"}]}`, "no list of them"},
		"nothing":           {204, ``, "listing resource providers: EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPut { // a trait
					w.WriteHeader(http.StatusCreated)
					return
				}

				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(c.status)
				_, _ = w.Write([]byte(c.body))
			}))
			t.Cleanup(server.Close)

			f := placementFile()
			f.Placement = publish.PlacementConfig{AllowNoAuthentication: true, Endpoint: server.URL, Timeout: time.Minute}

			sink, err := openPlacement(t, f, "")
			if err != nil {
				t.Fatal(err)
			}

			states, err := sink.Read(t.Context())
			if c.want == "" && (err != nil || len(states) != 0) || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v, error %v, want %q", states, err, c.want)
			}
		})
	}
}
