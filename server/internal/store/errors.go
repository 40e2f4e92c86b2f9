package store

import (
	"errors"
	"fmt"
)

// The errors on which callers branch. Their text may be shown to whoever has the role that the call takes.
var (
	// ErrNotFound: there is no such thing.
	ErrNotFound = errors.New("there is none of this name")
	// ErrConflict: it was changed since the caller looked, or is in a state that does not allow this.
	ErrConflict = errors.New("conflict")
	// ErrChanged: it was changed since the caller looked. errors.Is(err, ErrConflict) holds, too.
	ErrChanged = fmt.Errorf("%w: it was changed in the meantime", ErrConflict)
	// ErrExists: there is one of this name already.
	ErrExists = errors.New("there is one of this name already")
	// ErrAltered: the admin log is not as it was written.
	ErrAltered = errors.New("altered")
	// ErrUnavailable: the database is away, or this program may not work on it now. It may be there again in a moment.
	ErrUnavailable = errors.New("the database can't be used now")
	// ErrInvalid: what was to be written is wrong in itself.
	ErrInvalid = errors.New("invalid")
)

// TakenError says that a name belongs to another node. errors.Is(err, ErrExists) holds.
type TakenError struct {
	// Name is what was asked for, Owner the node that has it.
	Name, Owner string
}

// Error says it.
func (e *TakenError) Error() string {
	return fmt.Sprintf("the name %s belongs to the node %s: nothing was changed, and an alarm was raised", e.Name, e.Owner)
}

// Unwrap gives ErrExists.
func (e *TakenError) Unwrap() error { return ErrExists }

// conflictf is an ErrConflict with a sentence.
func conflictf(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrConflict, fmt.Sprintf(format, args...))
}

// changed is an ErrChanged that tells both revisions.
func changed(what string, there, meant int64) error {
	return fmt.Errorf("%w: the %s has the revision %d, not %d", ErrChanged, what, there, meant)
}

// invalid is an ErrInvalid with what is wrong; nil if nothing is.
func invalid(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrInvalid, err)
}
