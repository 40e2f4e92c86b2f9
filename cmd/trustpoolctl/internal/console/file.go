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
	return &Draft{file: file, place: f, disk: disk{link: os.Link, rename: os.Rename, sync: syncDir}}, nil
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
