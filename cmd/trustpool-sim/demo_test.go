package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestTheDemonstration goes the way that make demo shows: the server and its tools as they are built for users, on the nodes of this command.
func TestTheDemonstration(t *testing.T) {
	t.Parallel()

	bin := t.TempDir()

	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "./cmd/trustpool-server", "./cmd/trustpool-sim", "./cmd/trustpoolctl")
	build.Dir = filepath.Join("..", "..")

	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}

	demo := exec.CommandContext(t.Context(), filepath.Join(build.Dir, ".ci", "demo-server"))
	demo.Env = append(os.Environ(), "BUILD="+bin, "TMPDIR="+t.TempDir())

	out, err := demo.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}

	for _, want := range []string{"node5.sim.example", "UNTRUSTED node3.sim.example: pcr_mismatch", "PCR 17, event "} {
		if !strings.Contains(string(out), want) {
			t.Errorf("it does not show %q:\n%s", want, out)
		}
	}
}
