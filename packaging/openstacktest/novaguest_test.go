//go:build openstack

package openstacktest_test

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	// plain and trusted are the flavors of guests that ask for nothing, and of those that ask for a trusted host.
	plain, trusted = "plain", "trusted"
	// image and otherImage are two that Nova's test fixture for Glance knows.
	image, otherImage = "155d900f-4e14-4e4c-a73d-069cbf4541e6", "a2459075-d96c-40d5-893e-577ff92e721c"
	// guestLimit is how long Nova may take to do something with a guest.
	guestLimit = 3 * time.Minute
)

// furnish makes the trait, and then the two flavors, in the order that docs/openstack.md gives.
func (n *nova) furnish(t testing.TB) {
	t.Helper()

	if status, text := request(t, http.MethodPut, n.placement.URL+"/traits/"+trait, asAdmin, nil); status != http.StatusCreated && status != http.StatusNoContent {
		t.Fatalf("creating the trait: status %d: %s", status, text)
	}

	n.addFlavor(t, plain, nil)
	n.addFlavor(t, trusted, map[string]string{"trait:" + trait: "required"})
}

// addFlavor makes a small flavor with these properties.
func (n *nova) addFlavor(t testing.TB, name string, properties map[string]string) {
	t.Helper()

	flavor := map[string]any{"id": name, "name": name, "vcpus": 1, "ram": 64, "disk": 1}
	n.call(t, http.StatusOK, http.MethodPost, "/flavors", map[string]any{"flavor": flavor}, nil)

	if properties != nil {
		n.call(t, http.StatusOK, http.MethodPost, "/flavors/"+name+"/os-extra_specs", map[string]any{"extra_specs": properties}, nil)
	}
}

// guest is what Nova says of one.
type guest struct {
	ID      string `json:"id"`
	Status  string `json:"status"`
	Host    string `json:"OS-EXT-SRV-ATTR:host"`
	Task    string `json:"OS-EXT-STS:task_state"`
	Created string `json:"created"`
	Fault   struct {
		Message string `json:"message"`
	} `json:"fault"`
}

// String is what a test says of it.
func (g guest) String() string {
	return fmt.Sprintf("%s on %q %s", g.Status, g.Host, g.Fault.Message)
}

// nowhere tells whether Nova found no host for it.
func (g guest) nowhere() bool {
	return g.Status == "ERROR" && g.Host == "" && strings.HasPrefix(g.Fault.Message, "No valid host was found.")
}

// wishes are what a request for a guest may say besides.
type wishes map[string]any

// boot asks for a guest and waits until it runs, or Nova has given up.
func (n *nova) boot(t testing.TB, flavor string, more ...wishes) guest {
	t.Helper()

	server := map[string]any{"name": "guest", "flavorRef": flavor, "imageRef": image, "networks": "none"}
	for _, w := range more {
		for key, value := range w {
			server[key] = value
		}
	}

	var made struct {
		Server guest `json:"server"`
	}

	n.call(t, http.StatusAccepted, http.MethodPost, "/servers", map[string]any{"server": server}, &made)

	return n.as("admin").settled(t, made.Server.ID) // only administrators are told the host
}

// waitFor waits until a guest has a status.
func (n *nova) waitFor(t testing.TB, id, status string) guest {
	t.Helper()

	var g guest

	eventually(t, guestLimit, func() bool {
		g = n.guest(t, id)

		return g.Status == status
	}, func() string { return fmt.Sprintf("guest %s does not become %s, it is %s", id, status, g) })

	return g
}

// settled waits until Nova does nothing with a guest any more.
func (n *nova) settled(t testing.TB, id string) guest {
	t.Helper()

	var g guest

	eventually(t, guestLimit, func() bool {
		g = n.guest(t, id)

		return g.Status != "BUILD" && g.Task == ""
	}, func() string { return fmt.Sprintf("guest %s does not settle: %s, %s", id, g, g.Task) })

	return g
}

// guest is what Nova says of it now.
func (n *nova) guest(t testing.TB, id string) guest {
	t.Helper()

	var got struct {
		Server guest `json:"server"`
	}

	n.call(t, http.StatusOK, http.MethodGet, "/servers/"+id, nil, &got)

	return got.Server
}

// act does something with a guest, which Nova has to take on, and waits until it is done.
func (n *nova) act(t testing.TB, id string, action map[string]any) guest {
	t.Helper()
	n.call(t, http.StatusAccepted, http.MethodPost, "/servers/"+id+"/action", action, nil)

	return n.settled(t, id)
}

// remove takes a guest away, and waits until it is gone.
func (n *nova) remove(t testing.TB, id string) {
	t.Helper()
	n.call(t, http.StatusNoContent, http.MethodDelete, "/servers/"+id, nil, nil)
	eventually(t, guestLimit, func() bool {
		status, _ := request(t, http.MethodGet, n.URL+"/servers/"+id, n.header(), nil)

		return status == http.StatusNotFound
	}, func() string { return "guest " + id + " does not go" })
}

// landsOn boots a guest, which has to run on one of these hosts, and returns it.
func (n *nova) landsOn(t testing.TB, flavor string, hosts []string, more ...wishes) guest {
	t.Helper()

	g := n.boot(t, flavor, more...)
	if g.Status != "ACTIVE" || !slices.Contains(hosts, g.Host) {
		t.Fatalf("a %s guest is %s, not on one of %v", flavor, g, hosts)
	}

	return g
}

// landsNowhere boots a guest for which Nova has to find no host.
func (n *nova) landsNowhere(t testing.TB, flavor string, more ...wishes) {
	t.Helper()

	g := n.boot(t, flavor, more...)
	if !g.nowhere() {
		t.Fatalf("a %s guest is %s, and should have found no host", flavor, g)
	}

	n.remove(t, g.ID)
}

// eventually waits until something is so.
func eventually(t testing.TB, limit time.Duration, so func() bool, otherwise func() string) {
	t.Helper()

	deadline, ticker := time.After(limit), time.NewTicker(50*time.Millisecond)
	defer ticker.Stop()

	for !so() {
		select {
		case <-deadline:
			t.Fatal(otherwise())
		case <-ticker.C:
		}
	}
}

// tailOf is the end of a log.
func tailOf(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}

	return string(text[max(0, len(text)-outputLimit):])
}
