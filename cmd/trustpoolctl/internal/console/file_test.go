package console

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAFileIsReplacedOnlyWithForce(t *testing.T) {
	t.Parallel()

	dir := t.TempDir()
	file := File{Path: filepath.Join(dir, "known-good.json")}
	if err := file.Write([]byte("first")); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{"check": file.Check(), "write": file.Write([]byte("second"))} {
		wantExists(t, name, err, file.Path)
	}
	wantFile(t, file.Path, "first")

	file.Force = true
	if err := file.Check(); err != nil {
		t.Error(err)
	}
	if err := file.Write([]byte("third")); err != nil {
		t.Error(err)
	}
	wantFile(t, file.Path, "third")
	wantAlone(t, dir)
}

func TestWhatCameThereMeanwhileStays(t *testing.T) {
	t.Parallel()

	dir := t.TempDir()
	file := File{Path: filepath.Join(dir, "token")}
	draft, err := file.Draft()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file.Path, []byte("another's"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantExists(t, "place", draft.Place([]byte("ours")), file.Path)
	if err := draft.Discard(); err != nil {
		t.Error(err)
	}
	wantFile(t, file.Path, "another's")
	wantAlone(t, dir)
}

func TestADraftIsReadByItsOwnerAlone(t *testing.T) {
	t.Parallel()

	file := File{Path: filepath.Join(t.TempDir(), "token"), Force: true}
	if err := os.WriteFile(file.Path, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	draft, err := file.Draft()
	if err != nil {
		t.Fatal(err)
	}
	wantFile(t, file.Path, "old")
	if err := draft.Place([]byte("new")); err != nil {
		t.Fatal(err)
	}
	if err := draft.Discard(); err != nil {
		t.Fatal(err)
	}
	wantFile(t, file.Path, "new")
	if info, err := os.Stat(file.Path); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v (%v), want that only the owner may read it", info.Mode(), err)
	}
}

func TestWhatIsNoFileIsNeverReplaced(t *testing.T) {
	t.Parallel()

	for _, path := range []string{t.TempDir(), "/dev/null"} {
		file := File{Path: path, Force: true}
		if err := file.Write(nil); err == nil || !strings.Contains(err.Error(), path+" exists, and is no file that could be replaced") {
			t.Errorf("%s: got %v", path, err)
		}
	}
}

func TestAFolderThatIsNotThereIsTold(t *testing.T) {
	t.Parallel()

	file := File{Path: filepath.Join(t.TempDir(), "nowhere", "x")}
	if err := file.Write(nil); err == nil || err.Error() != "writing "+file.Path+": no such file or directory" {
		t.Errorf("got %v", err)
	}
}

func wantExists(t *testing.T, step string, err error, path string) {
	t.Helper()

	if err == nil || err.Error() != path+" exists" || !strings.Contains(Hint(err), "--force") {
		t.Errorf("%s: got %v, hint %q, want that the file exists and what to do", step, err, Hint(err))
	}
}

// wantAlone looks whether one file is all that there is.
func wantAlone(t *testing.T, dir string) {
	t.Helper()

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
