package console

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
)

// File is one that a command writes where its caller says. Whatever is there stays, unless the caller adds --force. The zero File has no path.
type File struct {
	Path  string
	Force bool
	flag  string
}

// Register adds the flag that names the file, and --force.
func (f *File) Register(cmd *cobra.Command, flag, usage string) {
	f.flag = flag
	cmd.Flags().StringVar(&f.Path, flag, "", usage)
	cmd.Flags().BoolVar(&f.Force, "force", false, "replace the file if there is one")
}

// Check fails early: nobody need be asked for what can't be written. It is wrong usage if there is no path. Write looks again.
func (f *File) Check() error {
	if f.Path == "" {
		return Usagef("--%s is missing: name the file to write", f.flag)
	}
	info, err := os.Lstat(f.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return f.failed(err)
	case info.Mode()&(fs.ModeType&^fs.ModeSymlink) != 0:
		return WithHint(fmt.Errorf("%s exists, and is no file that could be replaced", f.Path), "Name another file.")
	case f.Force:
		return nil
	}
	return f.exists()
}

// Write puts data at the path as a whole or not at all, also across a loss of power. Everybody may read it.
func (f *File) Write(data []byte) error {
	draft, err := f.Draft()
	if err != nil {
		return err
	}
	err = draft.file.Chmod(0o644)
	if err == nil {
		err = draft.Place(data)
	}
	return errors.Join(err, draft.Discard())
}

// Draft makes an empty file beside the path, which only its owner may read, for what must not be lost for want of a place. It fails as Check does.
func (f *File) Draft() (*Draft, error) {
	if err := f.Check(); err != nil {
		return nil, err
	}
	file, err := os.CreateTemp(filepath.Dir(f.Path), "."+filepath.Base(f.Path)+".*")
	if err != nil {
		return nil, f.failed(err)
	}
	return &Draft{file: file, place: f}, nil
}

// failed says what went wrong, without the names that only this package knows.
func (f *File) failed(err error) error {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		err = path.Err
	}
	if link, ok := errors.AsType[*os.LinkError](err); ok {
		err = link.Err
	}
	return fmt.Errorf("writing %s: %w", f.Path, err)
}

func (f *File) exists() error {
	return WithHint(fmt.Errorf("%s exists", f.Path), "Name another file, or replace it with --force.")
}

// Draft becomes the file that a command writes. Whoever has made one discards it, also after it was placed.
type Draft struct {
	file  *os.File
	place *File
}

// Place writes data, and gives the draft its name as a whole. What has come to be there meanwhile stays, unless --force was given.
func (d *Draft) Place(data []byte) error {
	_, err := d.file.Write(data)
	if err = errors.Join(err, d.file.Sync()); err != nil {
		return d.place.failed(err)
	}
	name := os.Link // fails if there is something at the path
	if d.place.Force {
		name = os.Rename
	}
	switch err := name(d.file.Name(), d.place.Path); {
	case errors.Is(err, fs.ErrExist):
		return d.place.exists()
	case err != nil:
		return d.place.failed(err)
	}
	return syncDir(filepath.Dir(d.place.Path))
}

// Discard leaves nothing but what was placed.
func (d *Draft) Discard() error {
	err := os.Remove(d.file.Name())
	if errors.Is(err, fs.ErrNotExist) { // it was renamed
		err = nil
	}
	if err = errors.Join(err, d.file.Close()); err != nil {
		return d.place.failed(err)
	}
	return nil
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
