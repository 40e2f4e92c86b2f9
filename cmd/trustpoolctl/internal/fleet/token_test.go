package fleet

import (
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/server/api"
)

// tokenServer makes one token, for whoever asks. Before it answers, it calls meanwhile.
func tokenServer(t *testing.T, meanwhile func()) *api.Client {
	t.Helper()

	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		meanwhile()
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write([]byte(`{"name":"nova","role":"reader","token":"told-this-once"}`)) // a client that is gone fails the test
	}))
	t.Cleanup(server.Close)

	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	client, err := api.NewClient(api.Config{URL: server.URL, Token: "admin", RootCAs: roots})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func TestATokenThatCantBePlacedIsKept(t *testing.T) {
	t.Parallel()

	for name, test := range map[string]struct {
		force bool
		take  func(path string) error
	}{
		"somebody took the name":                  {false, func(path string) error { return os.WriteFile(path, []byte("another's"), 0o600) }},
		"somebody made a folder where --force is": {true, func(path string) error { return os.Mkdir(path, 0o700) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			file := console.File{Path: filepath.Join(t.TempDir(), "nova.token"), Force: test.force}
			server := tokenServer(t, func() {
				if err := test.take(file.Path); err != nil {
					t.Error(err)
				}
			})
			var stdout, stderr strings.Builder
			err := asker{out: console.NewOutput(&stdout, &stderr)}.addTokenFile(t.Context(), server, api.TokenSpec{Name: "nova", Role: "reader"}, file)
			if err == nil {
				t.Fatal("the token was written over what somebody put there")
			}

			drafts, globErr := filepath.Glob(filepath.Join(filepath.Dir(file.Path), ".nova.token.*"))
			if globErr != nil || len(drafts) != 1 {
				t.Fatalf("the token is lost: %v, %v; told: %v", drafts, globErr, err)
			}
			if got, err := os.ReadFile(drafts[0]); err != nil || string(got) != "told-this-once\n" {
				t.Errorf("the draft holds %q, %v", got, err)
			}
			if info, err := os.Stat(drafts[0]); err != nil || info.Mode() != 0o600 {
				t.Errorf("%v (%v), want that only the owner may read it", info.Mode(), err)
			}
			if !strings.Contains(err.Error(), "it is in "+drafts[0]) || !strings.Contains(console.Hint(err), "Move that") {
				t.Errorf("got %v, hint %q, want where it is and what to do", err, console.Hint(err))
			}
		})
	}
}
