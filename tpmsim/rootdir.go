package tpmsim

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
)

// piece is a part of a file. Between pieces there is nothing but zeros.
type piece struct {
	offset  int64
	content []byte
}

// whole is a file of one piece.
func whole(content []byte) []piece { return []piece{{0, content}} }

// openRoot opens a directory that stands for a host's root. The real one is
// refused: too much depends on its files.
func openRoot(dir string) (*os.Root, error) {
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if absolute == "/" {
		return nil, errors.New("this host's own root is no place for a simulated one")
	}
	if err := os.MkdirAll(absolute, 0o700); err != nil {
		return nil, err
	}
	return os.OpenRoot(absolute)
}

// writePieces writes a file in the place of an older one.
func writePieces(root *os.Root, name string, pieces []piece) error {
	if err := root.MkdirAll(path.Dir(name), 0o700); err != nil {
		return err
	}
	if err := removeFile(root, name); err != nil {
		return err
	}
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	for _, p := range pieces {
		if _, err := f.WriteAt(p.content, p.offset); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	return f.Close()
}

// removeFile removes a file, if it is there, but not a device.
func removeFile(root *os.Root, name string) error {
	info, err := root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", filepath.Join(root.Name(), name))
	}
	return root.Remove(name)
}
