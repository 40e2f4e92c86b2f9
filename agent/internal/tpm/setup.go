package tpm

import (
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
)

// setUp reads what the TPM says of itself and sets up the AKs on record. It never changes keys by itself: another TPM, or another endorsement seed, gives another
// key, and that is for an operator to decide.
func (t *TPM) setUp() (err error) {
	s := t.session

	// What an earlier set-up left loaded may be gone, as after TPM2_Clear; if so, flushing it fails, and nothing is lost.
	_ = t.flushLoaded()
	s.ak, s.pending, s.tls = nil, nil, nil

	defer func() {
		if err != nil {
			err = errors.Join(err, t.flushLoaded())
			s.ak, s.pending, s.tls = nil, nil, nil
		}
	}()

	properties, err := readProperties(s.line)
	if err != nil {
		return err
	}

	record, err := t.recall()
	if err != nil {
		return err
	}

	var event Event
	if s.ak, event, err = t.setUpAK(&record); err != nil {
		return err
	}

	t.setUpPending(&record)

	if err := t.setUpTLS(&record); err != nil {
		return fmt.Errorf("setting up the TLS key: %w", err)
	}

	if s.properties != nil {
		properties.MaxNonce = min(properties.MaxNonce, s.properties.MaxNonce)
	}

	t.remember(record)
	s.properties, s.stale, s.pcrs, s.prepared, s.eks = properties, false, make(map[pcrKey][]byte), nil, nil
	s.creations = make(map[string]*tpm2.CreatePrimaryResponse)
	t.publish(event)

	return nil
}

// setUpAK sets up the AK in use, at another handle if the operator named another one because the old one is taken, and finishes the end of a rotation.
func (t *TPM) setUpAK(record *Record) (*AK, Event, error) {
	wasKept := record.AK.Kept
	ak, restored, err := t.keys().ensure(*record.AK)

	if moved := t.options.Handle + tpm2.TPMHandle(record.AK.Generation); errors.Is(err, ErrHandleTaken) && moved != record.AK.Handle {
		record.AK.Handle, wasKept = moved, false
		ak, restored, err = t.keys().ensure(*record.AK)
	}

	if err != nil {
		return nil, EventNone, err
	}

	record.AK.Kept = !ak.Transient
	ak.Record.Kept = record.AK.Kept

	if record.Retired != nil {
		if err := t.keys().remove(*record.Retired); err != nil {
			t.options.Logger.Warn("the retired AK stays at its handle for now", "error", err)
		} else {
			record.Retired = nil
		}
	}

	if restored && wasKept {
		t.options.Logger.Warn("the AK was gone from its handle and the TPM gave the same one again: was it cleared?", "ak_name", hex.EncodeToString(ak.Name()))

		return ak, EventCleared, nil
	}

	return ak, EventNone, nil
}

// setUpPending sets up the AK that waits for the end of a rotation. Its troubles are no reason to stop quoting by the good one.
func (t *TPM) setUpPending(record *Record) {
	if record.Pending == nil {
		return
	}

	pending, _, err := t.keys().ensure(*record.Pending)
	if err != nil {
		t.options.Logger.Error("the pending AK can't be used", "error", err)

		return
	}

	t.session.pending = pending
}

// recall returns the record of this process, else of the file, else of what is found in the TPM. It is the caller's own copy.
func (t *TPM) recall() (Record, error) {
	if t.record != nil {
		return t.record.clone(), nil
	}

	record, err := readRecord(t.options.RecordFile)
	if err != nil {
		return Record{}, err
	}

	if record.AK != nil {
		t.record = &record

		return record.clone(), nil
	}

	return t.keys().find(t.options.Algorithm, t.options.Handle)
}

// remember makes a record the one in force. A record that can't be written costs nothing until the TPM is cleared as well, so quoting goes on.
func (t *TPM) remember(record Record) {
	if t.record != nil && t.record.equal(record) {
		return
	}

	if err := writeRecord(t.options.RecordFile, record); err != nil {
		t.options.Logger.Error("the AK's record is not kept", "error", err)
	}

	t.record = &record
}
