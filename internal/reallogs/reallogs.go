// Package reallogs finds event logs that were captured on real machines, for tests. The captures are not part of the project: TRUSTPOOL_REAL_LOGS names the
// folder that holds them, which CI has to set. Elsewhere a test without them is skipped.
package reallogs

import (
	"os"
	"path/filepath"
	"testing"
)

// Dir is the folder of the captures. Without one the test is skipped, and with CI=true it fails.
func Dir(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("TRUSTPOOL_REAL_LOGS")
	if dir != "" {
		return dir
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("TRUSTPOOL_REAL_LOGS is not set: it names the folder of logs captured on real machines")
	}
	t.Skip("TRUSTPOOL_REAL_LOGS is not set: not judged by logs of real machines")
	return ""
}

// Read reads one capture, such as txt/secl_txt-logs.bin, as it was captured: with padding, if it has some.
func Read(t testing.TB, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(Dir(t), filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
