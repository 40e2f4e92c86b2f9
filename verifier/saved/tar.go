package saved

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/trustpool/trustpool/verifier"
)

// WriteTar writes the folder that Write would make as a tar (POSIX.1-2001), as a folder of that name in which all files have that time. An error leaves a tar without an end.
func WriteTar(w io.Writer, name string, ev verifier.Evidence, at time.Time) error {
	files, err := encode(ev)
	if err != nil {
		return fmt.Errorf("saving evidence: %w", err)
	}
	if err := writeTar(w, name, files, at); err != nil {
		return fmt.Errorf("saving evidence as a tar: %w", err)
	}
	return nil
}

func writeTar(w io.Writer, name string, files []File, at time.Time) error {
	out := tar.NewWriter(w)
	folder := tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: dirMode, ModTime: at, Format: tar.FormatPAX}
	if err := out.WriteHeader(&folder); err != nil {
		return err
	}
	for _, f := range files {
		header := tar.Header{Typeflag: tar.TypeReg, Name: name + "/" + f.Name, Mode: fileMode, Size: int64(len(f.Data)), ModTime: at, Format: tar.FormatPAX}
		if err := out.WriteHeader(&header); err != nil {
			return err
		}
		if _, err := out.Write(f.Data); err != nil {
			return err
		}
	}
	return out.Close()
}

// ExtractTar makes the folder dir out of a tar of WriteTar, as Write would: it must not exist or be empty, and appears whole or not at all. Names are taken without what is before the last
// slash, so that nothing is made beside dir. The files are not judged: Read does that.
func ExtractTar(dir string, r io.Reader) error {
	files, err := readTar(tar.NewReader(r))
	if err != nil {
		return fmt.Errorf("unpacking evidence: %w", err)
	}
	whole, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("unpacking evidence in %s: %w", dir, err)
	}
	if err := place(whole, files); err != nil {
		return fmt.Errorf("unpacking evidence in %s: %w", dir, err)
	}
	return nil
}

func readTar(in *tar.Reader) ([]File, error) {
	var files []File
	for {
		header, err := in.Next()
		if errors.Is(err, io.EOF) {
			return files, checkTar(files)
		}
		if err != nil {
			return nil, err
		}
		name := path.Base(header.Name)
		switch {
		case header.Typeflag == tar.TypeDir:
			continue
		case header.Typeflag != tar.TypeReg || strings.Trim(name, ".") == "" || strings.ContainsFunc(name, func(r rune) bool { return !isNameRune(r) }) || isTaken(files, name):
			return nil, fmt.Errorf("%.64q does not belong into evidence", header.Name)
		case len(files) >= maxFiles || header.Size > maxFile:
			return nil, fmt.Errorf("%.64q is one file too many, or too large", header.Name)
		}
		data, err := io.ReadAll(io.LimitReader(in, maxFile))
		if err != nil {
			return nil, err
		}
		files = append(files, File{name, data})
	}
}

// checkTar: a tar without the index is none of WriteTar.
func checkTar(files []File) error {
	if !isTaken(files, FileIndex) {
		return ErrNoIndex
	}
	return nil
}
