package main

import (
	"os/exec"
	"strings"
	"testing"
)

// TestNothingSimulatedIsInTheServer looks at what the command is linked from: a node without a TPM can't come from it.
func TestNothingSimulatedIsInTheServer(t *testing.T) {
	t.Parallel()

	const module = "github.com/trustpool/trustpool/"
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	linked := strings.Fields(string(out))
	if len(linked) < 100 {
		t.Fatalf("only %d packages found", len(linked))
	}
	needed := false
	for _, path := range linked {
		rest, ours := strings.CutPrefix(path, module)
		needed = needed || rest == "server/internal/challenge"
		if !ours {
			continue
		}
		for _, banned := range []string{"tpmsim", "agent", "server/internal/nodetest", "cmd/internal/bench", "cmd/internal/manual"} {
			if rest == banned || strings.HasPrefix(rest, banned+"/") {
				t.Errorf("%s is linked into trustpool-server", path)
			}
		}
	}
	if !needed {
		t.Errorf("the schedule is not linked, so this looked at something else: %d packages", len(linked))
	}
}
