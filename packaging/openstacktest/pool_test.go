//go:build openstack

package openstacktest_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// placementConfig is Placement's own configuration, with the way that callers are known and a database.
const placementConfig = `[api]
auth_strategy = %s
[placement_database]
connection = sqlite:///%s
sync_on_startup = true
sqlite_synchronous = false
[placement]
randomize_allocation_candidates = false
`

// placements are Placements without Keystone that no test uses just now, all empty. To empty one takes a tenth of the time that it takes to start one.
var placements struct {
	sync.Mutex

	idle []*api
	dirs []string
}

func TestMain(m *testing.M) {
	code := m.Run()

	for _, p := range placements.idle {
		p.end()
	}

	for _, dir := range placements.dirs {
		_ = os.RemoveAll(dir)
	}

	os.Exit(code)
}

// startPlacement gives the test an empty Placement of its own. It takes whoever says to be "admin" (the token) for an administrator; the header X-Roles names other roles.
func startPlacement(t testing.TB) *api {
	t.Helper()

	p := idlePlacement()

	if p == nil {
		dir, err := os.MkdirTemp("", "openstacktest")
		if err != nil {
			t.Fatal(err)
		}

		write(t, filepath.Join(dir, "placement.conf"), fmt.Sprintf(placementConfig, "noauth2", filepath.Join(dir, "placement.db")))

		if p, err = start("placement", 1, "OS_PLACEMENT_CONFIG_DIR="+dir); err != nil {
			t.Fatal(err)
		}

		placements.Lock()
		placements.dirs = append(placements.dirs, dir)
		placements.Unlock()
	}

	t.Cleanup(func() {
		p.showFailure(t)

		if !emptied(p) {
			p.end()

			return
		}

		placements.Lock()
		placements.idle = append(placements.idle, p)
		placements.Unlock()
	})

	return p
}

// idlePlacement returns one that no test uses, nil if there is none.
func idlePlacement() *api {
	placements.Lock()
	defer placements.Unlock()

	last := len(placements.idle) - 1
	if last < 0 {
		return nil
	}

	p := placements.idle[last]
	placements.idle = placements.idle[:last]

	return p
}

// emptied deletes what a test can have left in a Placement, and says whether nothing is left. A provider with providers inside, or with guests, is one that Placement keeps; the first kind goes once
// the others are gone.
func emptied(p *api) bool {
	for range 3 { // as deep as providers are nested here
		var left struct {
			Providers []provider `json:"resource_providers"`
		}

		if ask(http.MethodGet, p.URL+"/resource_providers", &left) != nil {
			return false
		}

		if len(left.Providers) == 0 {
			return emptiedTraits(p)
		}

		for _, one := range left.Providers {
			_ = ask(http.MethodDelete, p.URL+"/resource_providers/"+one.UUID, nil) // seen by the next list
		}
	}

	return false
}

func emptiedTraits(p *api) bool {
	var left struct {
		Traits []string `json:"traits"`
	}

	if ask(http.MethodGet, p.URL+"/traits?name=startswith:CUSTOM_", &left) != nil {
		return false
	}

	for _, one := range left.Traits {
		if !strings.HasPrefix(one, "CUSTOM_") || ask(http.MethodDelete, p.URL+"/traits/"+one, nil) != nil {
			return false
		}
	}

	return true
}
