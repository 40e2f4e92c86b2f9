package logs

import (
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/trustpool/trustpool/verifier/eventlog"
)

// Bounds on logs, in bytes.
const (
	// MaxSize is the largest log that is served.
	MaxSize = 16 << 20
	// MaxInMemory is the largest log whose bytes a Store keeps in memory.
	MaxInMemory = 64 << 10
	// maxParsed is the largest log that a Store parses; Collect parses all that is served.
	maxParsed = 1 << 20
)

// State says what became of reading a log.
type State uint8

// The answers that a source gives. They are never mixed up: "not permitted" is no proof of "absent".
const (
	Absent       State = iota // this host has none
	NotPermitted              // it is there, or may be there, but can't be read
	Empty                     // it is there and holds no event
	Malformed                 // it does not parse; its bytes are served all the same, if there are any
	Available                 // read, and it parses
)

func stateNames() []string {
	return []string{"absent", "not-permitted", "empty", "malformed", "available"}
}

// String returns the state as manifests and people write it, e.g. "not-permitted".
func (s State) String() string {
	if names := stateNames(); int(s) < len(names) {
		return names[s]
	}

	return fmt.Sprintf("state(%d)", uint8(s))
}

// MarshalText implements encoding.TextMarshaler.
func (s State) MarshalText() ([]byte, error) {
	return []byte(s.String()), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *State) UnmarshalText(text []byte) error {
	i := slices.Index(stateNames(), string(text))
	if i < 0 {
		return fmt.Errorf("unknown state %q", text)
	}

	*s = State(i) // #nosec G115 -- one of five

	return nil
}

// Snapshot is a log as it was when it was read.
type Snapshot struct {
	// Source is what callers call the log, e.g. "txt".
	Source string
	State  State
	// Detail says for people why State is not Available and what to do. It may warn of an Available log, too.
	Detail string
	// Format is FormatUnknown unless State is Available.
	Format eventlog.Format
	// Size is the number of the log's bytes, SHA256 their digest. Both are zero if there are no bytes to serve.
	Size   int64
	SHA256 [sha256.Size]byte
	// Raw is the bytes, or nil if there are more than MaxInMemory: Store.Open has them.
	Raw []byte
}
