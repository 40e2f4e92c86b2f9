package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	commit = "0123456789abcdef0123456789abcdef01234567"
	digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

func sums(t *testing.T, text string) string {
	t.Helper()

	path := filepath.Join(t.TempDir(), "SHA256SUMS")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}

	return path
}

func TestTheStatementIsAboutEachFile(t *testing.T) {
	t.Parallel()

	path := sums(t, digest+"  ./a.deb\n"+digest+"  b.rpm\n")

	var first, second bytes.Buffer
	for _, out := range []*bytes.Buffer{&first, &second} {
		if err := run([]string{"--version", "1.2.0", "--commit", commit, "--archs", "arm64", "--builder", "https://example.org/ci", path}, out); err != nil {
			t.Fatal(err)
		}
	}

	if first.String() != second.String() {
		t.Error("the same input gives other bytes")
	}

	var statement struct {
		Type          string `json:"_type"`
		PredicateType string
		Subject       []struct {
			Name   string
			Digest map[string]string
		}
		Predicate struct {
			BuildDefinition struct {
				ExternalParameters   map[string]string
				ResolvedDependencies []struct{ URI string }
			}
			RunDetails struct{ Builder struct{ ID string } }
		}
	}
	if err := json.Unmarshal(first.Bytes(), &statement); err != nil {
		t.Fatal(err)
	}

	p := statement.Predicate
	if statement.Type != "https://in-toto.io/Statement/v1" || statement.PredicateType != "https://slsa.dev/provenance/v1" || len(statement.Subject) != 2 ||
		statement.Subject[0].Name != "a.deb" || statement.Subject[1].Digest["sha256"] != digest ||
		p.BuildDefinition.ExternalParameters["ARCHS"] != "arm64" || p.BuildDefinition.ExternalParameters["version"] != "1.2.0" ||
		!strings.HasSuffix(p.BuildDefinition.ResolvedDependencies[0].URI, "@"+commit) || p.RunDetails.Builder.ID != "https://example.org/ci" {
		t.Errorf("%s", first.Bytes())
	}
}

func TestWhatIsNoListOfFilesIsRefused(t *testing.T) {
	t.Parallel()

	good := digest + "  a.deb\n"
	for name, args := range map[string][]string{
		"an empty list":    {"--version", "1", "--archs", "amd64", "--commit", commit, "--builder", "b", sums(t, "")},
		"another list":     {"--version", "1", "--archs", "amd64", "--commit", commit, "--builder", "b", sums(t, "a.deb\n")},
		"no architecture":  {"--version", "1", "--commit", commit, "--builder", "b", sums(t, good)},
		"no commit":        {"--version", "1", "--archs", "amd64", "--builder", "b", sums(t, good)},
		"a short commit":   {"--version", "1", "--archs", "amd64", "--commit", "0123", "--builder", "b", sums(t, good)},
		"no builder":       {"--version", "1", "--archs", "amd64", "--commit", commit, sums(t, good)},
		"no file at all":   {"--version", "1", "--archs", "amd64", "--commit", commit, "--builder", "b"},
		"a file not there": {"--version", "1", "--archs", "amd64", "--commit", commit, "--builder", "b", "/nowhere"},
	} {
		var out bytes.Buffer
		if err := run(args, &out); err == nil || out.Len() > 0 {
			t.Errorf("%s: %v, %s", name, err, out.Bytes())
		}
	}
}
