package logs

import (
	"crypto/sha256"
	"slices"
	"sync"
	"time"
)

// retryEvery is how often a Store looks again for what it has not got. Callers who ask all the time cost nothing in between.
const retryEvery = 5 * time.Second

// Options say where a Store finds logs.
type Options struct {
	// Root stands for "/": the host's own logs are looked for below it. Empty: the host's own logs and its snapshot are left alone.
	Root string
	// Collected is the snapshot directory. Empty: there is none.
	Collected string
	// BootID is this boot's id, with or without dashes: a snapshot with another one is not served. Empty: none is.
	BootID string
	// Files are logs that the operator names. Names are unique.
	Files []File
	// Now gives the time. Nil: time.Now.
	Now func() time.Time
}

// Store has the logs of one boot. What was read completely is kept, since boot logs do not change before the next boot; for the rest it looks again every few
// seconds, when asked. Its methods may be called by several goroutines.
type Store struct {
	options Options
	shelves []*shelf

	mu     sync.Mutex
	host   Host
	looked time.Time
}

// shelf holds what one source gave.
type shelf struct {
	source      source
	isHost      bool
	entries     []entry
	isCollected bool // the entries are from the snapshot
	done        bool // nothing better can come in this boot
}

// New returns a store. It reads nothing yet.
func New(o Options) *Store {
	if o.Now == nil {
		o.Now = time.Now
	}

	s := &Store{options: o}

	if o.Root != "" {
		for _, own := range hostSources(o.Root) {
			s.shelves = append(s.shelves, &shelf{source: own, isHost: true})
		}
	}

	for _, file := range o.Files {
		i := slices.IndexFunc(s.shelves, func(p *shelf) bool { return p.source.name() == file.Name })
		if i < 0 {
			s.shelves = append(s.shelves, &shelf{})
			i = len(s.shelves) - 1
		}

		*s.shelves[i] = shelf{source: file}
	}

	return s
}

// Sources returns the names of the sources, in the order of Snapshots.
func (s *Store) Sources() []string {
	snapshots := s.Snapshots()

	names := make([]string, 0, len(snapshots))
	for _, snapshot := range snapshots {
		names = append(names, snapshot.Source)
	}

	return names
}

// Snapshots returns one snapshot a source. The caller does not write to their Raw.
func (s *Store) Snapshots() []Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.refresh()

	var snapshots []Snapshot

	for _, p := range s.shelves {
		for _, e := range p.entries {
			// One log of the heap's may have another's name as well: the file that the operator named goes before.
			if !p.isHost || !s.isFile(e.Source) {
				snapshots = append(snapshots, e.Snapshot)
			}
		}
	}

	return snapshots
}

func (s *Store) isFile(name string) bool {
	return slices.ContainsFunc(s.options.Files, func(f File) bool { return f.Name == name })
}

// Host returns what is known of the host beside its logs.
func (s *Store) Host() Host {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.refresh()

	return s.host
}

// Open opens the log with this digest; the caller closes it. It returns false if there is none, or if it is no longer what it was: Snapshots then
// tells what there is now.
func (s *Store) Open(sum [sha256.Size]byte) (LogReader, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()

	for _, p := range s.shelves {
		i := slices.IndexFunc(p.entries, func(e entry) bool { return e.Size > 0 && e.SHA256 == sum })
		if i < 0 {
			continue
		}

		if r, err := p.entries[i].reader(); err == nil {
			return r, true
		}

		// Gone or changed: read all of this source anew, and at once.
		p.done, p.entries, s.looked = false, nil, time.Time{}
	}

	return nil, false
}

// refresh looks for what is not there yet.
func (s *Store) refresh() {
	now := s.options.Now()
	if !s.looked.IsZero() && now.Sub(s.looked) < retryEvery {
		return
	}

	s.looked = now

	if !slices.ContainsFunc(s.shelves, func(p *shelf) bool { return !p.done }) {
		return
	}

	b := bounds{parse: maxParsed, keep: MaxInMemory}
	collected, hint := s.readCollected(b)

	for _, p := range s.shelves {
		if !p.done {
			p.refresh(collected, hint, b)
		}
	}

	s.refreshHost(collected)
}

// refresh asks the snapshot, else the source itself.
func (p *shelf) refresh(collected *snapshotDir, h hint, b bounds) {
	isCollected := p.isHost && collected != nil
	if isCollected == p.isCollected && p.isUnchanged() {
		return
	}

	p.isCollected = isCollected

	if isCollected {
		p.entries = collected.entries(p.source.name())
	} else {
		p.entries = p.source.read(b)
	}

	for i := range p.entries {
		e := &p.entries[i]
		p.done = p.done || e.State == Available

		if p.isHost && !isCollected && e.State != Available {
			e.Detail = h.about(e.State, e.Detail)
		}
	}
}

// isUnchanged tells whether all the bytes are from files that are still the same, so that reading them again would give the same answer.
func (p *shelf) isUnchanged() bool {
	return len(p.entries) > 0 && !slices.ContainsFunc(p.entries, func(e entry) bool {
		if !e.identity.regular {
			return true
		}

		h, err := e.place.open()
		if err != nil {
			return true
		}
		defer func() { _ = h.Close() }() // read only: nothing to lose

		now, err := identityOf(h)

		return err != nil || now != e.identity
	})
}

func (s *Store) refreshHost(collected *snapshotDir) {
	switch {
	case s.options.Root == "":
	case collected != nil:
		s.host = collected.manifest.host()
	case s.host.Registers == nil && s.host.UUID == "":
		s.host = readHost(s.options.Root)
	}
}

// hint says why no snapshot is served, and what to do.
type hint struct {
	text string
	// isFault: there is something wrong, and not just no snapshot.
	isFault bool
}

func (h hint) about(state State, detail string) string {
	if h.text == "" || !h.isFault && state != NotPermitted {
		return detail
	}

	return h.text + "; " + detail
}
