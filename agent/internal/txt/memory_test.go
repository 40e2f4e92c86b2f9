package txt

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestMemoryThatCannotBeReadIsMapped(t *testing.T) {
	t.Parallel()

	content := bytes.Repeat([]byte("0123456789abcde\n"), 3*os.Getpagesize()/16)
	path := filepath.Join(t.TempDir(), "mem")

	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}

	m, err := OpenMemory(path)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()

	page := int64(os.Getpagesize())

	for _, denied := range []bool{false, true} {
		if denied {
			m.pread = func([]byte, int64) (int, error) { return 0, &fs.PathError{Op: "read", Err: unix.EFAULT} }
		}

		for _, at := range []struct{ off, n int64 }{{0, 1}, {page - 1, 2}, {page, page}, {5, 2*page + 7}, {3*page - 8, 8}} {
			got := make([]byte, at.n)
			if n, err := m.ReadAt(got, at.off); n != len(got) || err != nil {
				t.Fatalf("%d bytes at %d: %d read, %v", at.n, at.off, n, err)
			}

			if !bytes.Equal(got, content[at.off:at.off+at.n]) {
				t.Errorf("%d bytes at %d are others", at.n, at.off)
			}
		}
	}

	if _, err := m.ReadAt(make([]byte, 1), -1); err == nil {
		t.Error("a negative address was mapped")
	}
}

func TestOnlyABadAddressIsMapped(t *testing.T) {
	t.Parallel()

	path := filepath.Join(t.TempDir(), "mem")
	if err := os.WriteFile(path, []byte("memory"), 0o600); err != nil {
		t.Fatal(err)
	}

	m, err := OpenMemory(path)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()

	m.pread = func([]byte, int64) (int, error) { return 0, unix.EPERM }
	if _, err := m.ReadAt(make([]byte, 1), 0); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("error %v: what the kernel refuses to read must not be mapped", err)
	}
}

func TestNoMemoryDeviceIsToldAsSuch(t *testing.T) {
	t.Parallel()

	if _, err := OpenMemory(filepath.Join(t.TempDir(), "mem")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}
