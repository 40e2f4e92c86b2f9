// Package logs finds and reads a node's event logs. It hands on their bytes as they are, trimmed at their real end, and parses only to tell whether they
// can be parsed.
package logs

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"

	"github.com/trustpool/trustpool/verifier/eventlog"
)

// MaxSize is the largest log that is read, in bytes.
const MaxSize = 16 << 20

// State says what became of reading a log.
type State uint8

// The answers that a source gives. They are never mixed up: "not permitted" is no proof of "absent".
const (
	Absent       State = iota // this host has none
	NotPermitted              // it is there, but may not be read
	Empty                     // it is there and holds no event
	Malformed                 // it does not parse; Raw holds it all the same
	Available                 // read, and it parses
)

// Source is one place where a log may be.
type Source struct {
	// Name is what callers call it, e.g. "txt".
	Name string
	// Path is the file. Its size may be told as 0, as securityfs does.
	Path string
}

// Snapshot is a log as it was when it was read.
type Snapshot struct {
	Source string
	State  State
	// Format, Raw and SHA256 are set if State is Available or Malformed; Format is unknown for Malformed.
	Format eventlog.Format
	Raw    []byte
	SHA256 [sha256.Size]byte
	// Detail says for people why State is not Available.
	Detail string
}

// Store reads each source when it is first asked for and keeps what is complete: boot logs do not change before the next boot.
type Store struct {
	sources []Source

	mu   sync.Mutex
	kept map[string]Snapshot
}

// NewStore returns a store of these sources.
func NewStore(sources []Source) *Store {
	return &Store{sources: sources, kept: make(map[string]Snapshot, len(sources))}
}

// Sources returns the names of the sources, in the order of Snapshots.
func (s *Store) Sources() []string {
	names := make([]string, 0, len(s.sources))
	for _, source := range s.sources {
		names = append(names, source.Name)
	}

	return names
}

// Snapshots returns one snapshot a source. The caller does not write to their Raw.
func (s *Store) Snapshots() []Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()

	snapshots := make([]Snapshot, 0, len(s.sources))

	for _, source := range s.sources {
		snapshot, ok := s.kept[source.Name]
		if !ok {
			snapshot = Read(source)
		}

		if snapshot.State == Available {
			s.kept[source.Name] = snapshot
		}

		snapshots = append(snapshots, snapshot)
	}

	return snapshots
}

// Read reads one source.
func Read(source Source) Snapshot {
	raw, err := readAll(source.Path)

	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Snapshot{Source: source.Name, State: Absent, Detail: "no log at " + source.Path}
	case errors.Is(err, fs.ErrPermission):
		return Snapshot{Source: source.Name, State: NotPermitted, Detail: "the agent may not read " + source.Path}
	case err != nil:
		return Snapshot{Source: source.Name, State: Malformed, Detail: err.Error()}
	case len(raw) == 0:
		return Snapshot{Source: source.Name, State: Empty, Detail: source.Path + " is empty"}
	}

	return parse(source.Name, raw)
}

// parse trims a log at its end and looks whether it parses.
func parse(name string, raw []byte) Snapshot {
	whole := Snapshot{Source: name, State: Malformed, Raw: raw, SHA256: sha256.Sum256(raw)}

	end, err := eventlog.Trim(raw)
	if err != nil {
		whole.Detail = err.Error()

		return whole
	}

	log, err := eventlog.Parse(raw[:end])
	if err != nil {
		whole.Detail = err.Error()

		return whole
	}

	return Snapshot{Source: name, State: Available, Format: log.Format, Raw: raw[:end], SHA256: sha256.Sum256(raw[:end])}
}

// readAll reads to the end of the file: securityfs tells a size of 0.
func readAll(path string) ([]byte, error) {
	file, err := os.Open(path) // #nosec G304 -- the operator's config names the log
	if err != nil {
		return nil, err
	}
	defer file.Close() // read only: nothing to lose

	raw, err := io.ReadAll(io.LimitReader(file, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("reading a log: %w", err)
	}

	if len(raw) > MaxSize {
		return nil, fmt.Errorf("%s has more than %d bytes", path, MaxSize)
	}

	return raw, nil
}
