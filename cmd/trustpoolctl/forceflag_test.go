package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
)

// TestForceWithoutAFileIsWrongUsage, and not left out in silence: whoever wrote it expects that a file is replaced.
func TestForceWithoutAFileIsWrongUsage(t *testing.T) {
	t.Parallel()

	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("t\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	server := []string{"--server", "https://127.0.0.1:1", "--token-file", token} // nobody is asked
	for name, test := range map[string]struct {
		args []string
		flag string
	}{
		"token add":        {append([]string{"token", "add", "nova", "--role", "reader"}, server...), "--out"},
		"knowngood export": {append([]string{"knowngood", "export", "xen"}, server...), "--out"},
		"node evidence":    {append([]string{"node", "evidence", "n1", "--out", filepath.Join(t.TempDir(), "new")}, server...), "--record"},
		"enroll --csr":     {[]string{"enroll", "--address", "unix:///nowhere", "--name", "n1", "--first-use", "--csr"}, "--out"},
		"evidence export":  {[]string{"evidence", "export", "somewhere", "--format", "cmw-json", "--out", "-"}, "--out"},
		"eventlog export":  {[]string{"eventlog", "export", "somewhere", "--format", "tcg", "--out", "-"}, "--out"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr strings.Builder
			code := run(t.Context(), append(test.args, "--force"), &stdout, &stderr)
			if code != console.ExitUsage || !strings.Contains(stderr.String(), "--force replaces a file, and none is named: write "+test.flag+" FILE, or leave it out") {
				t.Errorf("exit code %d, stderr %q", code, &stderr)
			}
		})
	}
}

func TestTheHelpSaysWhichFileForceReplaces(t *testing.T) {
	t.Parallel()

	for command, flag := range map[string]string{
		"token add": "out", "knowngood export": "out", "knowngood precompute": "out", "node evidence": "record",
		"enroll": "out", "learn": "out", "evidence export": "out", "eventlog export": "out",
	} {
		var stdout, stderr strings.Builder
		code := run(t.Context(), append(strings.Fields(command), "--help"), &stdout, &stderr)
		if want := "replace the file that --" + flag + " names, if there is one"; code != console.ExitOK || !strings.Contains(stdout.String(), want) {
			t.Errorf("%s: exit code %d, want %q in\n%s", command, code, want, &stdout)
		}
	}
}
