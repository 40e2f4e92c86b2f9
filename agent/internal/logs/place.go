package logs

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/trustpool/trustpool/verifier/eventlog"
)

// chunk is how much is read at a time from a log that is not kept in memory, in bytes.
const chunk = 64 << 10

// handle is an open file, or open memory.
type handle interface {
	io.ReaderAt
	io.Closer
	Stat() (fs.FileInfo, error)
}

// place is where a log's bytes are.
type place struct {
	path string // for people
	open func() (handle, error)
	// offset is where the log begins, limit how many bytes it can have at most.
	offset, limit int64
	// denied words the error of a file that can't be opened or read.
	denied func(error) string
}

// identity tells whether a file is still the one it was. Files of the kernel's own file systems have a size and times that tell nothing; there it is the
// digest that tells.
type identity struct {
	device, inode uint64
	size          int64
	modified      syscall.Timespec
	regular       bool // a regular file that tells its size
}

func identityOf(h handle) (identity, error) {
	info, err := h.Stat()
	if err != nil {
		return identity{}, err
	}

	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return identity{}, errors.New("the system does not tell files apart")
	}

	return identity{
		device: stat.Dev, inode: stat.Ino, size: stat.Size, modified: stat.Mtim,
		regular: info.Mode().IsRegular() && info.Size() > 0,
	}, nil
}

// entry is a snapshot, and how to get at its bytes again.
type entry struct {
	Snapshot

	place    place
	identity identity
}

// bounds say how much of a log may be held in memory: for parsing, and for good.
type bounds struct {
	parse, keep int64
}

// openFile opens a log's file. A pipe or a device in its place neither blocks nor is read.
func openFile(path string) (handle, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}

	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}

	if err != nil {
		return nil, errors.Join(err, file.Close())
	}

	return file, nil
}

// read reads the log there. Whatever goes wrong is told in the snapshot.
func (p place) read(source string, b bounds) entry {
	e := entry{Snapshot: Snapshot{Source: source}, place: p}

	if err := p.fill(&e, b); err != nil {
		e.Snapshot = Snapshot{Source: source}
		e.State, e.Detail = p.outcome(err)
	}

	return e
}

// outcome puts an error into one of the answers.
func (p place) outcome(err error) (State, string) {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Absent, "no log at " + p.path
	case errors.Is(err, fs.ErrPermission):
		return NotPermitted, p.denied(err)
	default:
		return Malformed, fmt.Sprintf("can't be served: %v", err)
	}
}

func (p place) fill(e *entry, b bounds) error {
	h, err := p.open()
	if err != nil {
		return err
	}
	defer func() { _ = h.Close() }() // read only: nothing to lose

	if e.identity, err = identityOf(h); err != nil {
		return err
	}

	log := io.NewSectionReader(h, p.offset, min(p.limit, MaxSize+1))

	if err := e.readAll(log, b); err != nil {
		return fmt.Errorf("reading %s: %w", p.path, err)
	}

	now, err := identityOf(h)
	if err == nil && now != e.identity {
		err = fmt.Errorf("%w; name a copy that does not", ErrChanged)
	}

	return err
}

// readAll reads a log up to its end and hashes it on the way. It is parsed if it is within bounds.
func (e *entry) readAll(log *io.SectionReader, b bounds) error {
	expected := log.Size()
	if e.identity.regular {
		expected = min(expected, e.identity.size-e.place.offset)
	}

	var head []byte

	if !e.identity.regular || expected <= b.parse {
		var err error
		if head, err = readUpTo(log, min(expected, chunk), b.parse+1); err != nil {
			return err
		}

		if int64(len(head)) <= b.parse {
			e.parse(head, b.keep)

			return nil
		}
	}

	hash := sha256.New()
	hash.Write(head)

	n, err := copyTo(hash, log)
	if err != nil {
		return err
	}

	if e.Size = int64(len(head)) + n; e.Size > MaxSize {
		return fmt.Errorf("it has more than %d bytes, and no larger log is served", MaxSize)
	}

	hash.Sum(e.SHA256[:0])
	e.State = Malformed
	e.Detail = fmt.Sprintf("not parsed, because it has more than %d bytes; all %d are served", b.parse, e.Size)

	return nil
}

// parse trims a log at its end and looks whether it parses.
func (e *entry) parse(raw []byte, keep int64) {
	end, err := eventlog.Trim(raw)

	switch {
	case errors.Is(err, eventlog.ErrEmpty):
		e.State = Empty
		e.Detail = e.place.path + " holds no event"

		return
	case err != nil:
		e.State, e.Detail = Malformed, err.Error()
	default:
		log, err := eventlog.Parse(raw[:end])
		if err != nil {
			e.State, e.Detail = Malformed, err.Error()

			break
		}

		raw = raw[:end]
		e.State, e.Format = Available, log.Format
	}

	e.Size, e.SHA256 = int64(len(raw)), sha256.Sum256(raw)
	if e.Size <= keep {
		e.Raw = bytes.Clone(raw) // the log, and not its padding
	}
}

// readUpTo reads to the end, but no more than most bytes. It expects about as many as hint.
func readUpTo(r io.Reader, hint, most int64) ([]byte, error) {
	var b bytes.Buffer

	b.Grow(int(max(0, min(hint, most))) + bytes.MinRead)

	_, err := b.ReadFrom(io.LimitReader(r, most))

	return b.Bytes(), err
}

// copyTo hashes what is left of a log.
func copyTo(h hash.Hash, log io.Reader) (int64, error) {
	// Hide whatever else the reader can do: it would bring a buffer of its own.
	return io.CopyBuffer(h, struct{ io.Reader }{log}, make([]byte, chunk))
}
