package logs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// directory is an open snapshot directory. All goes through its descriptor and by plain names: no symbolic link is followed, neither at the directory nor in it.
type directory struct {
	*os.File
}

func openDirectory(path string) (directory, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) {
		err = fmt.Errorf("%s is not a directory (or a symbolic link, which is not followed): %w", path, err)
	}

	return directory{file}, err
}

// open opens a regular file for reading.
func (d directory) open(name string) (*os.File, error) {
	file, err := d.openat(name, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}

	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", name)
	}

	if err != nil {
		return nil, errors.Join(err, file.Close())
	}

	return file, nil
}

// openat opens a name in the directory. EINTR can't come from opening a regular file.
func (d directory) openat(name string, flags int, mode uint32) (*os.File, error) {
	fd, err := unix.Openat(int(d.Fd()), name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode)
	if err != nil {
		return nil, &fs.PathError{Op: "openat", Path: d.Name() + "/" + name, Err: err}
	}

	return os.NewFile(uintptr(fd), d.Name()+"/"+name), nil // #nosec G115 -- a descriptor
}

// readManifest reads the manifest, as it may be replaced at any time.
func (d directory) readManifest() (Manifest, error) {
	file, err := d.open(manifestFile)
	if err != nil {
		return Manifest{}, err
	}
	defer func() { _ = file.Close() }() // read only: nothing to lose

	text, err := io.ReadAll(io.LimitReader(file, maxManifest+1))
	if err != nil {
		return Manifest{}, err
	}

	return ParseManifest(text)
}

// tempPrefix begins the names of files that are being written.
const tempPrefix = ".new-"

// write puts a file into place: whole, or not at all. Its group is gid, unless that is negative.
func (d directory) write(name string, content []byte, gid int) (err error) {
	temp := tempPrefix + name
	if err := d.remove(temp); err != nil {
		return err
	}

	file, err := d.openat(temp, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o400)
	if err != nil {
		return err
	}

	defer func() {
		if err != nil {
			err = errors.Join(err, d.remove(temp))
		}
	}()

	_, err = file.Write(content)
	err = errors.Join(err, share(file, gid, 0o440), file.Sync())

	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}

	return unix.Renameat(int(d.Fd()), temp, int(d.Fd()), name)
}

// share lets a group read.
func share(file *os.File, gid int, mode fs.FileMode) error {
	if gid >= 0 {
		if err := file.Chown(-1, gid); err != nil {
			return err
		}
	}

	return file.Chmod(mode)
}

// remove removes a file, if it is there.
func (d directory) remove(name string) error {
	if err := unix.Unlinkat(int(d.Fd()), name, 0); err != nil && !errors.Is(err, unix.ENOENT) {
		return &fs.PathError{Op: "unlinkat", Path: d.Name() + "/" + name, Err: err}
	}

	return nil
}
