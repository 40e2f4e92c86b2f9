package tpm

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"time"

	"github.com/google/go-tpm/tpm2"
)

// TLSHandleOffset is how far above the first AK's handle the TLS key sits by default, beyond all generations of AKs.
const TLSHandleOffset = 0x200

// ErrTLSKey says that the TLS key can't be used: none was asked for, it could not be set up, or it is another one than the caller wants.
var ErrTLSKey = errors.New("TLS key in the TPM not usable")

// TLSKey is the private key of the server's certificate.
type TLSKey struct {
	// Public is its TPMT_PUBLIC, Key the same as a key.
	Public []byte
	Key    *ecdsa.PublicKey
	// Transient says that it could not be kept at its persistent handle; Why says why.
	Transient bool
	Why       string

	name   []byte
	handle tpm2.TPMHandle
}

// tlsTemplate returns the public template of the TLS key, a primary key as the AK: it needs no file and comes back after TPM2_Clear. It is not restricted, because TLS has
// digests signed that the TPM did not make, so no verifier can take it for an AK. Its scheme is fixed to the only one that TLS 1.3 has for P-256 (RFC 8446, 4.2.3:
// ecdsa_secp256r1_sha256), so that it signs nothing in another way.
func tlsTemplate() tpm2.TPMTPublic {
	public := tpm2.TPMTPublic{
		NameAlg: tpm2.TPMAlgSHA256,
		ObjectAttributes: tpm2.TPMAObject{
			FixedTPM:            true,
			FixedParent:         true,
			SensitiveDataOrigin: true,
			UserWithAuth:        true,
			NoDA:                true, // a wrong authorisation by anybody can't lock the TPM
			SignEncrypt:         true,
		},
	}
	setECDSA(&public, tpm2.TPMECCNistP256, tpm2.TPMAlgSHA256, padded([]byte("trustpool TLS key"), 32))

	return public
}

// ensureTLS makes sure that the TLS key, and nothing else, is at its handle. name is the one on record, empty if there is none: with it, the usual case costs one command
// and derives nothing.
func (k keys) ensureTLS(handle tpm2.TPMHandle, name []byte) (key *TLSKey, err error) {
	occupant, err := k.publicAt(handle)
	if err != nil {
		return nil, err
	}

	if occupant != nil && len(name) > 0 && bytes.Equal(occupant.Name.Buffer, name) {
		return describeTLS(occupant.OutPublic, name, handle)
	}

	err = k.withTemplate(tlsTemplate(), func(primary *tpm2.CreatePrimaryResponse) (bool, error) {
		if key, err = describeTLS(primary.OutPublic, primary.Name.Buffer, handle); err != nil {
			return false, err
		}

		if occupant != nil {
			if !bytes.Equal(occupant.Name.Buffer, primary.Name.Buffer) {
				return false, fmt.Errorf("%w at 0x%08x, where the TLS key should be", errOccupied, uint32(handle))
			}

			return false, nil
		}

		key.Why, err = k.persist(primary, handle)
		if err == nil && key.Why != "" {
			key.handle, key.Transient = primary.ObjectHandle, true
		}

		return key.Transient, err
	})
	if err != nil {
		return nil, err
	}

	return key, nil
}

// errOccupied says that somebody else's object is there, which is never overwritten.
var errOccupied = errors.New("another object sits")

func describeTLS(outPublic tpm2.TPM2BPublic, name []byte, handle tpm2.TPMHandle) (*TLSKey, error) {
	public, err := outPublic.Contents()
	if err != nil {
		return nil, fmt.Errorf("reading the TLS key's public area: %w", err)
	}

	key, err := tpm2.Pub(*public)
	if err != nil {
		return nil, fmt.Errorf("reading the TLS key's public area: %w", err)
	}

	ecc, ok := key.(*ecdsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("reading the TLS key's public area: it is a %T", key)
	}

	return &TLSKey{Public: outPublic.Bytes(), Key: ecc, name: name, handle: handle}, nil
}

// authorized is the key as a command takes it; its authorisation value is empty.
func (k *TLSKey) authorized() tpm2.AuthHandle {
	return tpm2.AuthHandle{Handle: k.handle, Name: tpm2.TPM2BName{Buffer: k.name}, Auth: tpm2.PasswordAuth(nil)}
}

// setUpTLS sets up the TLS key, if there is to be one. Without it quotes can still be made, for those who come by the unix socket: so only what ends by itself is an error, a TPM
// that is gone or busy. The rest is tried again in a while.
func (t *TPM) setUpTLS(record *Record) error {
	t.session.tlsErr = nil

	if t.options.TLSHandle == 0 {
		return nil
	}

	t.tryTLS(record)

	switch err := t.session.tlsErr; {
	case errors.Is(named(err), ErrAbsent), errors.Is(named(err), ErrBusy):
		return err
	case err != nil:
		t.failTLS(t.State().TLSErr)

		select {
		case t.tlsFailed <- struct{}{}:
		default: // it is being tried
		}
	}

	return nil
}

// tryTLS makes the session's TLS key, or the reason why there is none, and notes it in the record.
func (t *TPM) tryTLS(record *Record) {
	s := t.session

	if s.tls, s.tlsErr = t.keys().ensureTLS(t.options.TLSHandle, record.TLSKey); s.tlsErr != nil {
		return
	}

	record.TLSKey = s.tls.name

	if s.tls.Transient {
		t.options.Logger.Warn("the TLS key is not kept in the TPM: each quote costs more", "error", s.tls.Why)
	}
}

// failTLS says once what is wrong; known is what was said already. It tells whether that was something else.
func (t *TPM) failTLS(known error) (news bool) {
	err := t.session.tlsErr
	if known != nil && known.Error() == err.Error() {
		return false
	}

	t.options.Logger.Error("the TLS key in the TPM can't be used, which is tried again: until then nobody new can come in by TLS", "error", err)

	return true
}

// lastTLSRetry is the longest pause before the TLS key is tried again. Each time may cost the TPM the derivation of a key.
const lastTLSRetry = time.Minute

// keepTryingTLS sets up a TLS key that could not be, after growing pauses, until ctx ends. What is in the way may be an object at its handle that an operator removes, or a TPM
// that has no memory left for now.
func (t *TPM) keepTryingTLS(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.tlsFailed:
		}

		for wait, done := firstRetry, false; !done; wait = min(2*wait, lastTLSRetry) {
			select {
			case <-ctx.Done():
				return
			case <-time.After(wait):
			}

			done = t.retryTLS(ctx)
		}
	}
}

// retryTLS tries once more. It tells whether that was the last time: the key is there, or a new set-up will come, which tries by itself.
func (t *TPM) retryTLS(ctx context.Context) (done bool) {
	if err := t.enterOwn(ctx, ClassOther); err != nil {
		return true
	}
	defer t.release(false)

	s := t.session
	if s == nil || s.tlsErr == nil || t.State().Err != nil {
		return true
	}

	record, err := t.recall()
	if err != nil {
		return false
	}

	known := s.tlsErr
	t.tryTLS(&record)

	switch {
	case s.tlsErr == nil:
		t.options.Logger.Info("the TLS key in the TPM can be used now")
		t.remember(record)
		t.publish(EventNone)

		return true
	case s.line.broken:
		_ = t.lose(s.tlsErr) // it was logged

		return true
	case t.failTLS(known):
		t.publish(EventNone)
	}

	return false
}

// tlsKey returns the TLS key, or why there is none.
func (s *tpmSession) tlsKey() (*TLSKey, error) {
	switch {
	case s.tlsErr != nil:
		return nil, fmt.Errorf("%w: %w", ErrTLSKey, s.tlsErr)
	case s.tls == nil:
		return nil, fmt.Errorf("%w: none was asked for", ErrTLSKey)
	default:
		return s.tls, nil
	}
}
