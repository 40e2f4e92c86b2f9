package secretfile_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trustpool/trustpool/server/internal/secretfile"
)

func TestASecretThatEverybodyMayReadIsRefused(t *testing.T) {
	t.Parallel()
	for mode, isRefused := range map[os.FileMode]bool{0o600: false, 0o640: false, 0o400: false, 0o644: true, 0o604: true, 0o602: true} {
		path := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if err := secretfile.Check(path); (err != nil) != isRefused || isRefused && !strings.Contains(err.Error(), "chmod o= "+path) {
			t.Errorf("%04o: %v", mode, err)
		}
	}
	for _, path := range []string{"credential:none", filepath.Join(t.TempDir(), "none")} {
		if err := secretfile.Check(path); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}
