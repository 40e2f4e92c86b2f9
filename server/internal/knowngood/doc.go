// Package knowngood is what an attestation server does with known-good sets beyond keeping them: it learns drafts from what a node answered (Capture), takes in and gives out sets of other formats
// (Import, Export), compares (Compare), and judges beforehand whom a change would condemn or pardon (DryRun).
//
// What an operator does with files, without a server, is in verifier/knowngood: there are the formats, the comparison, and the digests that are computed before a boot.
package knowngood

import (
	"github.com/trustpool/trustpool/server/internal/store"
)

// Tools work on one database.
type Tools struct {
	store *store.Store
	// turn lets one dry run work at a time.
	turn chan struct{}
}

// New returns Tools.
func New(s *store.Store) *Tools { return &Tools{store: s, turn: make(chan struct{}, 1)} }
