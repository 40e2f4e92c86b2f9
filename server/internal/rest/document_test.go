package rest_test

import (
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trustpool/trustpool/server/internal/access"
)

var update = flag.Bool("update", false, "write docs/openapi.json")

func TestTheDocumentInTheDocsIsTheOneThatIsServed(t *testing.T) {
	t.Parallel()
	s := emptySite(t)
	served := s.ask(t, s.tokens[access.Reader], http.MethodGet, "/v1/openapi.json", "")
	if served.status != http.StatusOK || served.header.Get("Content-Type") != "application/openapi+json" {
		t.Fatal(served)
	}
	file := filepath.Join("..", "..", "..", "docs", "openapi.json")
	if *update {
		if err := os.WriteFile(file, []byte(served.body), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(kept), served.body); diff != "" {
		t.Errorf("docs/openapi.json is not current: go test ./server/internal/rest -run Document -update\n%s", diff)
	}
}
