package logs

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
)

// snapshotDir is a snapshot that may be served.
type snapshotDir struct {
	path     string
	manifest Manifest
	bounds   bounds
}

// readCollected reads the snapshot of this boot. Nil: there is none, for the reason in the hint.
func (s *Store) readCollected(b bounds) (*snapshotDir, hint) {
	path := s.options.Collected
	if path == "" || s.options.Root == "" {
		return nil, hint{}
	}

	d, err := openDirectory(path)
	if err != nil {
		return nil, collectHint(path, err)
	}
	defer func() { _ = d.Close() }() // read only: nothing to lose

	m, err := d.readManifest()
	if err != nil {
		return nil, collectHint(path, err)
	}

	if id := normalBootID(s.options.BootID); id == "" || id != normalBootID(m.BootID) {
		return nil, hint{"snapshot of another boot: run \"trustpool-agent collect\" as root", true}
	}

	return &snapshotDir{path, m, b}, hint{}
}

func collectHint(path string, err error) hint {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return hint{"no snapshot in " + path + ": run \"trustpool-agent collect\" as root", false}
	case errors.Is(err, fs.ErrPermission):
		return hint{"the snapshot in " + path + " may not be read: add the agent's user to the directory's group, then run \"trustpool-agent collect\" as root", true}
	default:
		return hint{"the snapshot in " + path + " is not served: " + plain(err.Error()) + ": run \"trustpool-agent collect\" as root", true}
	}
}

// entries are those of one source: the log of its name, and those whose names begin with it.
func (c *snapshotDir) entries(name string) []entry {
	var entries []entry

	for _, l := range c.manifest.Logs {
		if l.Source == name || strings.HasPrefix(l.Source, name+"-") {
			entries = append(entries, c.entry(l))
		}
	}

	if len(entries) == 0 {
		entries = []entry{{Snapshot: Snapshot{Source: name, Detail: "the snapshot has no such log"}}}
	}

	return entries
}

// entry reads a log of the snapshot and holds it against what the manifest says.
func (c *snapshotDir) entry(l ManifestLog) entry {
	e := entry{Snapshot: Snapshot{Source: l.Source, State: l.State, Detail: l.Detail}}
	if l.File == "" {
		return e
	}

	path := filepath.Join(c.path, l.File)
	e.place = place{path: path, limit: l.Size, denied: fileDenied(path), open: func() (handle, error) { return c.open(l.File) }}

	if err := e.load(l, c.bounds.keep); err != nil {
		return entry{Snapshot: Snapshot{Source: l.Source, State: Malformed, Detail: fmt.Sprintf(
			"the snapshot is damaged, or being replaced: %v; if this stays, run \"trustpool-agent collect\" as root", err)}}
	}

	return e
}

func (c *snapshotDir) open(name string) (handle, error) {
	d, err := openDirectory(c.path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = d.Close() }() // read only: nothing to lose

	return d.open(name)
}

// load hashes the file without holding more than a chunk of a large one.
func (e *entry) load(l ManifestLog, keep int64) error {
	h, err := e.place.open()
	if err != nil {
		return err
	}
	defer func() { _ = h.Close() }() // read only: nothing to lose

	if e.identity, err = identityOf(h); err != nil {
		return err
	}

	if e.identity.size != l.Size {
		return fmt.Errorf("%s has %d bytes, and %d were written", l.File, e.identity.size, l.Size)
	}

	want, err := l.sum()
	if err != nil {
		return err
	}

	hash := sha256.New()

	if l.Size <= keep {
		e.Raw, err = readUpTo(io.NewSectionReader(h, 0, l.Size), l.Size, l.Size)
		hash.Write(e.Raw)
	} else {
		_, err = copyTo(hash, io.NewSectionReader(h, 0, l.Size))
	}

	if err != nil {
		return err
	}

	if hash.Sum(e.SHA256[:0]); e.SHA256 != want {
		return fmt.Errorf("%s is not what was written", l.File)
	}

	e.Format, _ = parseFormat(l.Format)
	e.Size = l.Size

	return nil
}

// Collected returns the manifest of the snapshot that a Store would serve. Its error says why there is none, and what to do.
func Collected(o Options) (Manifest, error) {
	snapshot, why := (&Store{options: o}).readCollected(bounds{})
	if snapshot == nil {
		return Manifest{}, errors.New(why.text)
	}

	return snapshot.manifest, nil
}
