package txt

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Memory is the host's physical memory, as /dev/mem gives it.
type Memory struct {
	file *os.File
	// pread is file.ReadAt, unless a test has another.
	pread func(p []byte, off int64) (int, error)
}

// OpenMemory opens /dev/mem, or a file that stands for it. The error says as fs.ErrNotExist and fs.ErrPermission do why it can't.
func OpenMemory(path string) (*Memory, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}

	return &Memory{file: file, pread: file.ReadAt}, nil
}

// ReadAt implements io.ReaderAt; off is a physical address.
//
// read(2) gives EFAULT for what lies above the kernel's direct mapping, as the registers and the heap do on hosts with less than 4 GiB of RAM; such
// pages can be mapped all the same. Nothing but the pages of p is ever mapped.
func (m *Memory) ReadAt(p []byte, off int64) (int, error) {
	n, err := m.pread(p, off)
	if !errors.Is(err, unix.EFAULT) {
		return n, err
	}

	return m.mapped(p, off)
}

func (m *Memory) mapped(p []byte, off int64) (n int, err error) {
	if off < 0 || len(p) == 0 {
		return 0, fmt.Errorf("mapping %d bytes at %#x: out of range", len(p), off)
	}

	skip := off % int64(os.Getpagesize())

	pages, err := unix.Mmap(int(m.file.Fd()), off-skip, int(skip)+len(p), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return 0, fmt.Errorf("mapping %d bytes at %#x: %w", len(p), off, err)
	}

	n = copy(p, pages[skip:])

	return n, unix.Munmap(pages)
}

// Stat tells which file this is.
func (m *Memory) Stat() (fs.FileInfo, error) { return m.file.Stat() }

// Close closes the file.
func (m *Memory) Close() error { return m.file.Close() }
