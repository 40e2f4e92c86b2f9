package tpm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
)

// Rotate makes the next AK beside the one in use and returns it; if a rotation is pending already, its AK. Quotes are signed by the old AK until Commit, unless they name the
// new one.
//
// The key is kept at its handle before the record tells of it, so a crash between the two leaves one good AK and, beside it, one that the next Rotate
// finds again.
func (t *TPM) Rotate(ctx context.Context) (*AK, error) {
	var pending *AK

	err := t.use(ctx, ClassOther, func(s *tpmSession) (err error) {
		record := t.record.clone()

		if s.pending == nil && record.Pending != nil { // it could not be set up when the TPM was opened
			s.pending, _, err = t.keys().ensure(*record.Pending)
		}

		if pending = s.pending; pending != nil || err != nil {
			return err
		}

		next, err := t.keys().next(t.options.Algorithm, t.options.Handle, record.AK.Generation+1)
		if err != nil {
			return err
		}

		if pending, _, err = t.keys().ensure(*next); err != nil {
			return err
		}

		next.Kept = !pending.Transient
		pending.Record.Kept = next.Kept
		record.Pending = next

		if err := t.commit(record); err != nil {
			return errors.Join(err, t.unload(pending))
		}

		s.pending = pending
		s.publish(EventRotation)

		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("rotating the AK: %w", err)
	}

	return pending, nil
}

// unload flushes an AK that is loaded.
func (t *TPM) unload(ak *AK) error {
	if !ak.Transient {
		return nil
	}

	return t.keys().flush(ak.handle)
}

// Commit lets the pending AK take over, and removes the old one from its handle. Asking for the AK that is in use already does nothing.
func (t *TPM) Commit(ctx context.Context, name []byte) error {
	err := t.use(ctx, ClassOther, func(s *tpmSession) error {
		if s.pending == nil || !bytes.Equal(s.pending.Name(), name) {
			_, err := s.akNamed(name)

			return err
		}

		record := t.record.clone()
		record.AK, record.Pending, record.Retired = record.Pending, nil, record.AK

		if err := t.commit(record); err != nil {
			return err
		}

		old := s.ak
		s.ak, s.pending = s.pending, nil
		s.publish(EventRotation)

		return t.retire(old)
	})
	if err != nil {
		return fmt.Errorf("committing the AK: %w", err)
	}

	return nil
}

// retire removes an AK that is no longer used. The record tells of it until that is done, so that a crash does not leave it behind.
func (t *TPM) retire(old *AK) error {
	remove := func() error { return t.keys().remove(old.Record) }
	if old.Transient {
		remove = func() error { return t.keys().flush(old.handle) }
	}

	if err := remove(); err != nil {
		t.options.Logger.Warn("the retired AK stays at its handle for now", "error", err)

		return nil
	}

	record := t.record.clone()
	record.Retired = nil

	return t.commit(record)
}

// commit makes a record the one in force, if it can be written: what follows relies on it after a crash.
func (t *TPM) commit(record Record) error {
	if err := writeRecord(t.options.RecordFile, record); err != nil {
		return err
	}

	t.record = &record

	return nil
}

// Reprovision forgets the record and takes the AK that this TPM has, as on a new host. It is for an operator who knows why the AK on record is gone.
func (t *TPM) Reprovision(ctx context.Context) (*AK, error) {
	if err := t.enter(ctx, ClassOther); err != nil {
		return nil, fmt.Errorf("reprovisioning: %w", err)
	}
	defer t.release(false)

	if t.session == nil {
		return nil, fmt.Errorf("reprovisioning: %w", t.State().Err)
	}

	if err := t.forget(); err != nil {
		return nil, fmt.Errorf("reprovisioning: %w", err)
	}

	if err := t.setUp(); err != nil {
		return nil, fmt.Errorf("reprovisioning: %w", t.lose(err))
	}

	return t.session.ak, nil
}

// forget removes the record, and what is loaded of its keys.
func (t *TPM) forget() error {
	if err := t.flushLoaded(); err != nil {
		return err
	}

	if t.options.RecordFile != "" {
		if err := os.Remove(t.options.RecordFile); err != nil && !os.IsNotExist(err) {
			return err
		}
	}

	t.session.ak, t.session.pending, t.session.tls, t.record = nil, nil, nil, nil

	return nil
}
