package logs

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
)

// ErrChanged says that a log is no longer the one that was hashed: ask the Store for its snapshots again.
var ErrChanged = errors.New("the log changed while it was read")

// LogReader gives the bytes of one log. One goroutine uses it at a time.
type LogReader interface {
	// ReadAt reads as io.ReaderAt does. An error that wraps ErrChanged takes the place of bytes that are not the log's.
	//
	// A file may be changed under a reader. This shows at once, unless who changed it hid it; then it shows to who reads from offset 0 on without gaps, at the
	// last byte: the digest of what was read is not the log's.
	io.ReaderAt
	io.Closer
	// Size is the number of the log's bytes.
	Size() int64
}

// inMemory reads a log that is kept.
type inMemory struct{ *bytes.Reader }

// Close implements io.Closer.
func (inMemory) Close() error { return nil }

// inFile reads a log that is not.
type inFile struct {
	handle handle
	entry  entry
	// hash has seen the log's first hashed bytes.
	hash   hash.Hash
	hashed int64
}

// reader opens the entry's bytes.
func (e entry) reader() (LogReader, error) {
	if e.Raw != nil {
		return inMemory{bytes.NewReader(e.Raw)}, nil
	}

	h, err := e.place.open()
	if err != nil {
		return nil, err
	}

	r := &inFile{handle: h, entry: e, hash: sha256.New()}
	if err := r.unchanged(); err != nil {
		return nil, errors.Join(err, h.Close())
	}

	return r, nil
}

// Size implements LogReader.
func (r *inFile) Size() int64 { return r.entry.Size }

// Close implements io.Closer.
func (r *inFile) Close() error { return r.handle.Close() }

// ReadAt implements LogReader.
func (r *inFile) ReadAt(p []byte, off int64) (int, error) {
	size := r.entry.Size
	if off < 0 || off > size {
		return 0, fmt.Errorf("reading a log at %d: it has %d bytes", off, size)
	}

	want := int(min(int64(len(p)), size-off))

	n, err := r.handle.ReadAt(p[:want], r.entry.place.offset+off)
	if n < want && (err == nil || errors.Is(err, io.EOF)) {
		err = fmt.Errorf("it is shorter now: %w", ErrChanged)
	}

	if n < want {
		return 0, fmt.Errorf("reading a log at %d: %w", off, err)
	}

	if err := errors.Join(r.unchanged(), r.verify(p[:want], off)); err != nil {
		return 0, fmt.Errorf("reading a log at %d: %w", off, err)
	}

	if want < len(p) {
		return want, io.EOF
	}

	return want, nil
}

// unchanged looks whether the file is still the one that was hashed.
func (r *inFile) unchanged() error {
	now, err := identityOf(r.handle)
	if err != nil {
		return err
	}

	if now != r.entry.identity {
		return ErrChanged
	}

	return nil
}

// verify hashes what comes in order, and compares at the end.
func (r *inFile) verify(p []byte, off int64) error {
	if off != r.hashed || len(p) == 0 {
		return nil
	}

	r.hash.Write(p)
	r.hashed += int64(len(p))

	if r.hashed == r.entry.Size && [sha256.Size]byte(r.hash.Sum(nil)) != r.entry.SHA256 {
		return ErrChanged
	}

	return nil
}
