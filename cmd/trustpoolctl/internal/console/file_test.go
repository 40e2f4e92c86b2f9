package console

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestWriteFileReplacesOnlyWithForce(t *testing.T) {
	t.Parallel()

	dir := t.TempDir()
	path := filepath.Join(dir, "known-good.json")
	if err := WriteFile(path, []byte("first"), false); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(path, []byte("second"), false); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v, want that the file exists", err)
	}
	wantFile(t, path, "first")
	if err := WriteFile(path, []byte("third"), true); err != nil {
		t.Error(err)
	}
	wantFile(t, path, "third")

	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}

func wantFile(t *testing.T, path, want string) {
	t.Helper()

	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("the file holds %q, want %q", got, want)
	}
}
