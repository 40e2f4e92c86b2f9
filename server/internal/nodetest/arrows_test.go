package nodetest_test

import (
	"os/exec"
	"strings"
	"testing"
)

// TestNoBinaryHasNodesWithoutATPM: a key in software that says what a TPM would is for tests and benchmarks, and so is a database of their own.
func TestNoBinaryHasNodesWithoutATPM(t *testing.T) {
	t.Parallel()

	const module = "github.com/trustpool/trustpool/"
	mains, err := exec.CommandContext(t.Context(), "go", "list", "-f", `{{if eq .Name "main"}}{{.ImportPath}}{{end}}`, module+"...").Output()
	if err != nil {
		t.Fatal(err)
	}
	binaries := strings.Fields(string(mains))
	if len(binaries) < 3 {
		t.Fatalf("only %v are programs", binaries)
	}
	for _, binary := range binaries {
		deps, err := exec.CommandContext(t.Context(), "go", "list", "-deps", binary).Output()
		if err != nil {
			t.Fatal(err)
		}
		for path := range strings.FieldsSeq(string(deps)) {
			if path == module+"server/internal/nodetest" || path == module+"server/internal/store/storetest" || path == module+"server/pgtest" {
				t.Errorf("%s brings along %s", binary, path)
			}
		}
	}
}
