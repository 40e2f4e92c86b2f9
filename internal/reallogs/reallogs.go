// Package reallogs finds event logs that were captured on real machines, for tests. The captures are not part of the project: TRUSTPOOL_REAL_LOGS names the
// folder that holds them, which CI has to set. Elsewhere a test without them is skipped, and a fuzz function goes without them.
package reallogs

import (
	"os"
	"path/filepath"
	"testing"
)

// variable names the folder of the captures.
const variable = "TRUSTPOOL_REAL_LOGS"

// Dir is the folder of the captures. Without one the test is skipped, and with CI=true it fails.
func Dir(t testing.TB) string {
	t.Helper()
	dir := known(t)
	if dir == "" {
		t.Skip(variable + " is not set: not judged by logs of real machines")
	}
	return dir
}

// known is the folder of the captures; empty without one, and with CI=true the test fails.
func known(t testing.TB) string {
	t.Helper()
	dir := os.Getenv(variable)
	if dir == "" && os.Getenv("CI") == "true" {
		t.Fatal(variable + " is not set: it names the folder of logs captured on real machines")
	}
	return dir
}

// Read reads one capture, such as txt/secl_txt-logs.bin, as it was captured: with padding, if it has some.
func Read(t testing.TB, name string) []byte {
	t.Helper()
	return read(t, filepath.Join(Dir(t), filepath.FromSlash(name)))
}

// Files reads all captures of a folder, such as txt, as seeds of a fuzz function: without TRUSTPOOL_REAL_LOGS there are none, but with CI=true the test fails. It fails on a folder without files, too.
func Files(t testing.TB, folder string) [][]byte {
	t.Helper()
	dir := known(t)
	if dir == "" {
		return nil
	}
	entries, err := os.ReadDir(filepath.Join(dir, filepath.FromSlash(folder)))
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) == 0 {
		t.Fatalf("the folder %s of %s is empty: it holds logs captured on real machines", folder, variable)
	}
	all := make([][]byte, len(entries))
	for i, entry := range entries {
		all[i] = read(t, filepath.Join(dir, filepath.FromSlash(folder), entry.Name()))
	}
	return all
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
