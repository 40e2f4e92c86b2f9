package verifier_test

import (
	"bytes"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/trustpool/trustpool/"

// deps lists what the packages that match bring along, at any depth, without their tests; nothing if no package matches.
func deps(t *testing.T, pattern string) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", pattern)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list -deps %s: %v\n%s", pattern, err, stderr.Bytes())
	}
	return strings.Fields(string(out))
}

func TestTheVerifierImportsNeitherTheAgentNorGRPC(t *testing.T) {
	t.Parallel()
	for _, pattern := range []string{module + "verifier", module + "verifier/eventlog", module + "verifier/eventlog/cel", module + "verifier/saved", module + "verifier/knowngood", module + "verifier/cmw"} {
		found := deps(t, pattern)
		if len(found) == 0 {
			t.Errorf("%s does not exist", pattern)
		}
		for _, path := range found {
			for _, forbidden := range []string{
				module + "agent", module + "cmd", module + "proto", module + "tpmsim", module + "server", "google.golang.org/grpc", "google.golang.org/protobuf",
				"github.com/transparency-dev",
			} {
				if path == forbidden || strings.HasPrefix(path, forbidden+"/") {
					t.Errorf("%s brings along %s", pattern, path)
				}
			}
		}
	}
}

// TestWhoImportsTheVerifierGetsLittleElse holds what the library brings into a program that judges evidence.
func TestWhoImportsTheVerifierGetsLittleElse(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"verifier", "verifier/eventlog", "verifier/eventlog/cel", "verifier/saved", "verifier/knowngood", "verifier/cmw"} {
		out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", module+path).Output()
		if err != nil {
			t.Fatal(err)
		}
		allowed := []string{strings.TrimSuffix(module, "/"), "github.com/google/go-tpm", "github.com/google/go-attestation", "golang.org/x/sys"}
		if path == "verifier/cmw" { // only who imports it inherits CBOR
			allowed = append(allowed, "github.com/fxamacker/cbor/v2", "github.com/x448/float16")
		}
		for _, brought := range strings.Fields(string(out)) {
			if !slices.Contains(allowed, brought) {
				t.Errorf("%s brings along %s", path, brought)
			}
		}
	}
}

func TestTheAgentNeverJudges(t *testing.T) {
	t.Parallel()
	for _, path := range deps(t, module+"agent/...") {
		if strings.HasPrefix(path, module+"verifier") && path != module+"verifier/eventlog" {
			t.Errorf("the agent brings along %s", path)
		}
	}
}
