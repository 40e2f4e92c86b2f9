package console

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestALinkIsReplacedByNothing(t *testing.T) {
	t.Parallel()

	folder := t.TempDir()
	for name, test := range map[string]struct{ target, want string }{
		"to a device": {"/dev/null", "exists, and is no file that could be replaced"},
		"to a folder": {folder, "exists, and is no file that could be replaced"},
		"to nothing":  {filepath.Join(folder, "nothing"), "is a link to what is not there"},
	} {
		for _, force := range []bool{false, true} {
			file := File{Path: filepath.Join(t.TempDir(), "link"), Force: force}
			link(t, test.target, file.Path)
			for step, err := range map[string]error{"check": file.Check(), "write": file.Write([]byte("new"))} {
				if err == nil || !strings.Contains(err.Error(), file.Path+" "+test.want) || Hint(err) == "" {
					t.Errorf("%s, %s, force=%t: got %v, hint %q", name, step, force, err, Hint(err))
				}
			}
			if got, err := os.Readlink(file.Path); err != nil || got != test.target {
				t.Errorf("%s, force=%t: the link is to %q, %v", name, force, got, err)
			}
		}
	}
}

func TestWhatALinkIsToIsReplaced(t *testing.T) {
	t.Parallel()

	dir := t.TempDir()
	target := filepath.Join(dir, "known-good.json")
	if err := os.WriteFile(target, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	file := File{Path: filepath.Join(t.TempDir(), "link")}
	link(t, target, file.Path)
	wantExists(t, "write", file.Write([]byte("new")), file.Path)
	wantFile(t, target, "old")

	file.Force = true
	if err := file.Write([]byte("new")); err != nil {
		t.Error(err)
	}
	if got, err := os.Readlink(file.Path); err != nil || got != target {
		t.Errorf("the link is to %q, %v", got, err)
	}
	wantFile(t, target, "new")
	wantAlone(t, dir)
	wantAlone(t, filepath.Dir(file.Path))
}

func TestAFileThatIsReplacedIsReadByNobodyWhoCouldNotReadIt(t *testing.T) {
	t.Parallel()

	for before, want := range map[fs.FileMode]fs.FileMode{0o600: 0o600, 0o640: 0o640, 0o400: 0o400, 0o644: 0o644, 0o666: 0o644, 0o755: 0o644} {
		file := File{Path: filepath.Join(t.TempDir(), "known-good.json"), Force: true}
		if err := os.WriteFile(file.Path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file.Path, before); err != nil {
			t.Fatal(err)
		}
		if err := file.Write([]byte("new")); err != nil {
			t.Error(err)
		}
		if info, err := os.Stat(file.Path); err != nil || info.Mode() != want {
			t.Errorf("%v became %v (%v), want %v", before, info.Mode(), err, want)
		}
	}
}

func link(t *testing.T, target, path string) {
	t.Helper()

	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}
