package console

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// noLinks is the answer of a file system without hard links, such as vfat.
func noLinks(from, to string) error {
	return &os.LinkError{Op: "link", Old: from, New: to, Err: syscall.EPERM}
}

func TestAFileSystemWithoutHardLinksHoldsADraft(t *testing.T) {
	t.Parallel()

	dir, file, draft := newDraft(t, false)
	draft.disk.link = noLinks
	if err := draft.Place([]byte("ours")); err != nil {
		t.Error(err)
	}
	if at, placed := draft.Holds(); at != file.Path || !placed {
		t.Errorf("it is in %q, placed=%t", at, placed)
	}
	discard(t, draft)
	wantFile(t, file.Path, "ours")
	wantAlone(t, dir)
}

func TestWhatCameThereMeanwhileStaysWithoutHardLinks(t *testing.T) {
	t.Parallel()

	dir, file, draft := newDraft(t, false)
	draft.disk.link = noLinks
	if err := os.WriteFile(file.Path, []byte("another's"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantExists(t, "place", draft.Place([]byte("ours")), file.Path)
	wantKept(t, draft, "ours")
	discard(t, draft)
	wantFile(t, file.Path, "another's")
	wantAlone(t, dir)
}

func TestADraftThatCantBePlacedIsKept(t *testing.T) {
	t.Parallel()

	dir, _, draft := newDraft(t, false)
	draft.disk.link, draft.disk.rename = noLinks, noLinks
	if err := draft.Place([]byte("ours")); !errors.Is(err, syscall.EPERM) {
		t.Errorf("got %v", err)
	}
	if err := draft.Keep(); err != nil {
		t.Error(err)
	}
	wantKept(t, draft, "ours")
	wantAlone(t, dir) // the name that was taken for it is free again
}

func TestAFileThatMayNotOutlastALossOfPowerIsThere(t *testing.T) {
	t.Parallel()

	for _, force := range []bool{false, true} {
		dir, file, draft := newDraft(t, force)
		draft.disk.sync = func(string) error { return syscall.EIO }
		if err := draft.Place([]byte("ours")); !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), file.Path+" is written, but") {
			t.Errorf("got %v", err)
		}
		if at, placed := draft.Holds(); at != file.Path || !placed {
			t.Errorf("it is in %q, placed=%t", at, placed)
		}
		discard(t, draft)
		wantFile(t, file.Path, "ours")
		wantAlone(t, dir)
	}
}

func TestADraftThatCouldNotBeWrittenHoldsNothing(t *testing.T) {
	t.Parallel()

	_, _, draft := newDraft(t, false)
	if err := draft.file.Close(); err != nil {
		t.Fatal(err)
	}
	err := draft.Place([]byte("ours"))
	if at, placed := draft.Holds(); err == nil || at != "" || placed {
		t.Errorf("got %v, and it is in %q, placed=%t", err, at, placed)
	}
}

// newDraft makes a draft of a file in a folder of its own.
func newDraft(t *testing.T, force bool) (dir string, file *File, draft *Draft) {
	t.Helper()

	dir = t.TempDir()
	file = &File{Path: filepath.Join(dir, "token"), Force: force}
	draft, err := file.Draft()
	if err != nil {
		t.Fatal(err)
	}
	return dir, file, draft
}

// wantKept looks whether the draft holds it, for its owner alone.
func wantKept(t *testing.T, draft *Draft, want string) {
	t.Helper()

	at, placed := draft.Holds()
	if placed {
		t.Error("it is told that the file is there")
	}
	wantFile(t, at, want)
	if info, err := os.Stat(at); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v (%v), want that only the owner may read it", info.Mode(), err)
	}
}

func discard(t *testing.T, draft *Draft) {
	t.Helper()

	if err := draft.Discard(); err != nil {
		t.Error(err)
	}
}
