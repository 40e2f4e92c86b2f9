package console

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Draft becomes the file that a command writes. Whoever has made one discards or keeps it, also after it was placed.
type Draft struct {
	file   *os.File
	target *File
	place  place
	disk   disk
	holds  string // see Holds
}

// disk is what makes a draft the file at its path, and may not be able to.
type disk struct {
	link, rename func(from, to string) error
	sync         func(dir string) error
}

// Place writes data, and gives the draft its name as a whole. What has come to be there meanwhile stays, unless --force was given. Where it fails, Holds says what became of data.
func (d *Draft) Place(data []byte) error {
	if _, err := d.file.Write(data); err != nil {
		return d.target.failed(err)
	}
	d.holds = d.file.Name()
	if err := d.file.Sync(); err != nil {
		return d.target.failed(err)
	}
	name := d.disk.nameNew
	if d.target.Force {
		name = d.disk.rename
	}
	switch err := name(d.file.Name(), d.place.path); {
	case errors.Is(err, fs.ErrExist):
		return d.target.exists()
	case err != nil:
		return d.target.failed(err)
	}
	d.holds = d.place.path
	if err := d.disk.sync(filepath.Dir(d.place.path)); err != nil {
		return fmt.Errorf("%s is written, but may not outlast a loss of power: %w", d.place.path, err)
	}
	return nil
}

// Holds is the path of what holds data since Place was called, and whether it is that of the file, as it may be also if Place failed, or that of the draft. Empty: nothing holds all of it.
func (d *Draft) Holds() (path string, placed bool) { return d.holds, d.holds == d.place.path }

// Discard leaves nothing but what was placed.
func (d *Draft) Discard() error {
	err := os.Remove(d.file.Name())
	if errors.Is(err, fs.ErrNotExist) { // it was renamed
		err = nil
	}
	if err = errors.Join(err, d.file.Close()); err != nil {
		return d.target.failed(err)
	}
	return nil
}

// Keep leaves the draft where Holds says that it is, for its owner alone.
func (d *Draft) Keep() error {
	if err := d.file.Close(); err != nil {
		return d.target.failed(err)
	}
	return nil
}

// nameNew gives a file a name that nothing has. Not every file system has the hard links that do so as a whole: there the name is taken first, and its file replaced then.
func (d disk) nameNew(from, to string) error {
	if err := d.link(from, to); err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	taken, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = taken.Close() }() // nothing was written
	if err := d.rename(from, to); err != nil {
		return errors.Join(err, removeSame(taken, to))
	}
	return nil
}

// removeSame removes what is at the path, if it is still the file.
func removeSame(file *os.File, path string) error {
	ours, err := file.Stat()
	if err != nil {
		return err
	}
	if there, err := os.Lstat(path); err == nil && os.SameFile(ours, there) {
		return os.Remove(path)
	}
	return nil // it is another's, or nobody's
}

// syncDir makes a new name in dir last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("syncing %s: %w", dir, err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("syncing %s: %w", dir, err)
	}
	return nil
}
