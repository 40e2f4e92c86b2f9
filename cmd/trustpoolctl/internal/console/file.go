package console

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
)

// File is one that a command writes where its caller says. Whatever is there stays, unless the caller adds --force: then a file is replaced, or what a link to one is to, and nothing else. The zero File has no path.
type File struct {
	Path  string
	Force bool
	flag  string
}

// Register adds the flag that names the file, and --force.
func (f *File) Register(cmd *cobra.Command, flag, usage string) {
	f.flag = flag
	cmd.Flags().StringVar(&f.Path, flag, "", usage)
	cmd.Flags().BoolVar(&f.Force, "force", false, "replace the file that --"+flag+" names, if there is one")
}

// Check fails early: nobody need be asked for what can't be written. It is wrong usage if there is no path. Write looks again.
func (f *File) Check() error {
	_, err := f.place()
	return err
}

// CheckOptional is Check for a file that may be left out. Without one it is wrong usage to replace it.
func (f *File) CheckOptional() error {
	switch {
	case f.Path != "":
		return f.Check()
	case f.Force:
		return Usagef("--force replaces a file, and none is named: write --%s FILE, or leave it out", f.flag)
	}
	return nil
}

// place is where a file goes, and who may read what is there.
type place struct {
	path string
	mode fs.FileMode // permissions that the file may have at most
}

func (f *File) place() (place, error) {
	if f.Path == "" {
		return place{}, Usagef("--%s is missing: name the file to write", f.flag)
	}
	path, there, err := f.follow()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return place{f.Path, fs.ModePerm}, nil
	case err != nil:
		return place{}, err
	case !there.Mode().IsRegular():
		return place{}, WithHint(fmt.Errorf("%s exists, and is no file that could be replaced", f.Path), "Name another file.")
	case !f.Force:
		return place{}, f.exists()
	}
	return place{path, there.Mode().Perm()}, nil
}

// follow returns what is at the path. If that is a link, it is what it is to that is replaced, and the link stays: path is of that.
func (f *File) follow() (path string, there fs.FileInfo, err error) {
	there, err = os.Lstat(f.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil, err
	}
	if err != nil {
		return "", nil, f.failed(err)
	}
	if there.Mode()&fs.ModeSymlink == 0 {
		return f.Path, there, nil
	}
	if there, err = os.Stat(f.Path); err == nil && there.Mode().IsRegular() {
		path, err = filepath.EvalSymlinks(f.Path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil, WithHint(fmt.Errorf("%s is a link to what is not there", f.Path), "Name the file itself, or remove the link.")
	}
	if err != nil {
		return "", nil, f.failed(err)
	}
	return path, there, nil
}

// Write puts data at the path as a whole or not at all, also across a loss of power. Everybody may read it, but for what is replaced: nobody may who could not read that.
func (f *File) Write(data []byte) error {
	draft, err := f.Draft()
	if err != nil {
		return err
	}
	err = draft.file.Chmod(0o644 & draft.place.mode)
	if err == nil {
		err = draft.Place(data)
	}
	return errors.Join(err, draft.Discard())
}

// Draft makes an empty file beside the path, which only its owner may read, for what must not be lost for want of a place. It fails as Check does.
func (f *File) Draft() (*Draft, error) {
	at, err := f.place()
	if err != nil {
		return nil, err
	}
	file, err := os.CreateTemp(filepath.Dir(at.path), "."+filepath.Base(at.path)+".*")
	if err != nil {
		return nil, f.failed(err)
	}
	draft := &Draft{file: file, target: f, place: at, disk: disk{link: os.Link, rename: os.Rename, sync: syncDir}}
	if at.mode&0o600 != 0o600 {
		if err := file.Chmod(0o600 & at.mode); err != nil {
			return nil, errors.Join(f.failed(err), draft.Discard())
		}
	}
	return draft, nil
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
