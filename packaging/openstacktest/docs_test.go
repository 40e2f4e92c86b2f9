//go:build openstack

package openstacktest_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// documented returns an indented block of docs/openstack.md: the one that has this line.
func documented(t testing.TB, line string) string {
	t.Helper()

	page, err := os.ReadFile("../../docs/openstack.md")
	if err != nil {
		t.Fatal(err)
	}

	for paragraph := range strings.SplitSeq(string(page), "\n\n") {
		if strings.Contains(paragraph, "    "+line) {
			return strings.ReplaceAll("\n"+paragraph, "\n    ", "\n")
		}
	}

	t.Fatalf("docs/openstack.md has no block with the line %q", line)

	return ""
}

// shell runs commands as a person would paste them, and returns what they say. OS_ variables are what the openstack command takes.
func shell(t testing.TB, commands string, env ...string) string {
	t.Helper()

	cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", commands)
	cmd.Env = append(os.Environ(), env...)

	said, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s\n%v\n%s", commands, err, said)
	}

	return string(said)
}
