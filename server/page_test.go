package server_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/trustpool/trustpool/server"
)

// browse asks as a browser does that goes somewhere, and returns the answer's status, kind and body.
func (s *site) browse(t *testing.T, path, token string) (status int, kind, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/html,*/*;q=0.8")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := s.http.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, response.Header.Get("Content-Type"), string(raw)
}

func TestAStrangersBrowserIsShownTheSameFormOnAllPathsOfTheServer(t *testing.T) {
	t.Parallel()
	s := newSite(t, lasting())
	_, _, first := s.browse(t, "/", "")
	for _, path := range []string{"/page/", "/page/nodes/node1.example", "/v1/hosts/node1.example", "/v1/nothing", "/healthz", "/AttestationService/resources/PollHosts", "/nothing", "/v1/events"} {
		status, kind, body := s.browse(t, path, "")
		if status != http.StatusUnauthorized || !strings.HasPrefix(kind, "text/html") || body != first {
			t.Errorf("%s: %d %s %s", path, status, kind, body)
		}
	}
}

func TestThePageLeadsFromTheRoot(t *testing.T) {
	t.Parallel()
	s := newSite(t, lasting())
	if status, _, body := s.browse(t, "/", s.token); status != http.StatusOK || !strings.Contains(body, "What needs attention") && !strings.Contains(body, "Nothing needs attention") {
		t.Errorf("%d %s", status, body)
	}
}

func TestAPageThatIsSwitchedOffIsNotThere(t *testing.T) {
	t.Parallel()
	s := newSite(t, lasting(), func(c *server.Config) { c.Page.Enabled = false })
	for _, path := range []string{"/", "/page/", "/page/sign-in", "/page/static/style.css"} {
		if status, kind, _ := s.browse(t, path, s.token); status != http.StatusNotFound || kind != "application/problem+json" {
			t.Errorf("%s for a caller: %d %s", path, status, kind)
		}
		if status, kind, _ := s.browse(t, path, ""); status != http.StatusUnauthorized || kind != "application/problem+json" {
			t.Errorf("%s for a stranger: %d %s", path, status, kind)
		}
	}
}
