package trust

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/trustpool/trustpool/verifier"
)

// SetState is how far a set has come.
type SetState string

// The states, which follow each other.
const (
	// Draft: somebody wrote it down. It decides nothing.
	Draft SetState = "draft"
	// InForce: an administrator approved it.
	InForce SetState = "active"
	// Retired: it decides nothing any more, and never again.
	Retired SetState = "retired"
)

// Set is a set of known-good values for one part.
type Set struct {
	// Name is unique for ever: a change of an approved set is a new one.
	Name        string
	Description string
	Part        Part
	// Pools are those in which it counts. None: it counts nowhere.
	Pools []string
	// Node is the name of the node that it is for, if Part is HostSpecific; else empty.
	Node string
	// KnownGood are its values: for each PCR allowed values, or the slots that its events have to fill. It pins no AK.
	KnownGood verifier.KnownGood
	// Source says where the values are from, such as "captured from node1.example".
	Source string

	State SetState
	// ValidFrom and ValidUntil bound the time in which it counts; zero: no bound.
	ValidFrom, ValidUntil time.Time

	Author     string
	CreatedAt  time.Time
	ApprovedBy string
	ApprovedAt time.Time
	RetiredBy  string
	RetiredAt  time.Time
	// Revision counts the changes.
	Revision int64
}

// Counts tells whether the set decides on a node of a pool at that time.
func (s *Set) Counts(pool string, node *Node, at time.Time) bool {
	switch {
	case s.State != InForce || !slices.Contains(s.Pools, pool) || len(s.KnownGood.PCRs) == 0:
		return false
	case !s.ValidFrom.IsZero() && at.Before(s.ValidFrom), !s.ValidUntil.IsZero() && !at.Before(s.ValidUntil):
		return false
	case s.Part == HostSpecific:
		return s.Node == node.Name
	default:
		return true
	}
}

// Check tells all that is wrong with a set, each on a line of its own. It does not look at who changed it and when.
func (s *Set) Check() error {
	_, err := ParseWord(s.Name)
	errs := []error{err, checkText("description", s.Description), checkText("source", s.Source)}
	if !slices.Contains(Parts(), s.Part) {
		errs = append(errs, fmt.Errorf("part: %.32q is none: write %s, %s or %s", string(s.Part), Platform, Hypervisor, HostSpecific))
	}
	if (s.Part == HostSpecific) != (s.Node != "") {
		errs = append(errs, fmt.Errorf("node: goes with the part %s, and only with it", HostSpecific))
	}
	if _, err := ParseName(s.Node); s.Node != "" && err != nil {
		errs = append(errs, fmt.Errorf("node: %w", err))
	}
	for _, pool := range s.Pools {
		if _, err := ParseWord(pool); err != nil {
			errs = append(errs, fmt.Errorf("pools: %w", err))
		}
	}
	if !s.ValidFrom.IsZero() && !s.ValidUntil.IsZero() && !s.ValidFrom.Before(s.ValidUntil) {
		errs = append(errs, errors.New("valid_until: is not after valid_from"))
	}
	if !s.ValidUntil.IsZero() && s.ValidUntil.UnixMilli() <= 0 { // the first moment of 1970 is stored as no time: such a set would count forever
		errs = append(errs, errors.New("valid_until: is not after the beginning of 1970, so that the set would never count: leave it out if it has no end"))
	}
	return errors.Join(append(errs, s.checkKnownGood())...)
}

func (s *Set) checkKnownGood() error {
	switch {
	case len(s.KnownGood.AKs) > 0:
		return errors.New("known_good: pins AKs, which enrolment does here: leave the list ak empty")
	case len(s.KnownGood.PCRs) == 0:
		return errors.New("known_good: has no PCR, so that nothing would be known good")
	}
	raw, err := s.KnownGood.Marshal()
	if err == nil {
		_, err = verifier.ParseKnownGood(raw)
	}
	if err != nil {
		return fmt.Errorf("known_good: %w", err)
	}
	return nil
}
