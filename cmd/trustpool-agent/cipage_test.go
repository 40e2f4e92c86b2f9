package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestTheLinesForCIWork runs what docs/ci.md tells people to put into their jobs.
func TestTheLinesForCIWork(t *testing.T) {
	t.Parallel()

	page, err := os.ReadFile("../../docs/ci.md")
	if err != nil {
		t.Fatal(err)
	}

	_, chapter, _ := strings.Cut(string(page), "## Ten lines\n")

	var lines []string

	for line := range strings.Lines(chapter) {
		if code, ok := strings.CutPrefix(line, "    "); ok {
			lines = append(lines, code)
		}
	}

	if len(lines) != 10 {
		t.Fatalf("they are %d", len(lines))
	}

	dir := t.TempDir()

	build := exec.CommandContext(t.Context(), "go", "build", "-o", dir, "./cmd/trustpool-agent", "./cmd/trustpoolctl")
	build.Dir = "../.."

	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}

	job := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", strings.Join(lines, ""))
	job.Dir = dir
	job.Env = append(os.Environ(), "PATH="+dir+string(filepath.ListSeparator)+os.Getenv("PATH"))

	out, err := job.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "TRUSTED ") || !strings.Contains(string(out), "REFUSED ") {
		t.Errorf("%v\n%s", err, out)
	}
}
