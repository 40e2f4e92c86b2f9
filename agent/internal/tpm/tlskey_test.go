package tpm_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"github.com/trustpool/trustpool/agent/internal/tpm"
)

const tlsHandle = tpm.DefaultHandle + tpm.TLSHandleOffset

// withTLS asks for a TLS key.
func withTLS(o *tpm.Options) { o.TLSHandle = tlsHandle }

// mustSignTLS has the TLS key sign, and checks what it signed.
func mustSignTLS(t *testing.T, owner *tpm.TPM, key *ecdsa.PublicKey) {
	t.Helper()

	digest := sha256.Sum256([]byte("a transcript"))

	signature, err := owner.SignTLS(t.Context(), key, digest[:])
	if err != nil {
		t.Fatal(err)
	}

	if !ecdsa.VerifyASN1(key, digest[:], signature) {
		t.Error("the signature is not good")
	}
}

func TestTheTLSKeyIsNeverAnAK(t *testing.T) {
	t.Parallel()

	node := start(t)
	_, states := own(t, node, withTLS)
	state := ready(t, states)

	public, err := tpm2.Unmarshal[tpm2.TPMTPublic](state.TLS.Public)
	if err != nil {
		t.Fatal(err)
	}

	want := tpm2.TPMAObject{FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true, UserWithAuth: true, NoDA: true, SignEncrypt: true}
	if public.ObjectAttributes != want {
		t.Errorf("attributes are %+v, want %+v", public.ObjectAttributes, want)
	}

	if string(nameAt(t, node, tlsHandle)) == string(state.AK.Name()) {
		t.Error("the two keys are one")
	}
}

func TestTheTLSKeyStays(t *testing.T) {
	t.Parallel()

	node, record := start(t), filepath.Join(t.TempDir(), "ak.json")
	device := &faults{TPM: node}
	withRecord := func(o *tpm.Options) {
		withTLS(o)
		o.RecordFile = record
	}

	owner, states := own(t, device, withRecord)
	first := ready(t, states)
	mustSignTLS(t, owner, first.TLS.Key)
	device.take()

	owner, states = own(t, device, withRecord)
	second := ready(t, states)

	if slices.Contains(device.take(), tpm2.TPMCCCreatePrimary) {
		t.Error("a key that is on record and at its handle was derived again")
	}

	if !second.TLS.Key.Equal(first.TLS.Key) {
		t.Error("the key is another one")
	}

	// As after TPM2_Clear.
	evict(t, node, tlsHandle)
	mustSignTLS(t, owner, first.TLS.Key)
	device.take()
	mustSignTLS(t, owner, first.TLS.Key)

	if commands := device.take(); !slices.Equal(commands, []tpm2.TPMCC{tpm2.TPMCCSign}) {
		t.Errorf("a signature costs %v", commands)
	}
}

func TestNobodysObjectIsOverwrittenByTheTLSKey(t *testing.T) {
	t.Parallel()

	node := start(t)
	foreign := persistForeign(t, node, tlsHandle)
	owner, states := own(t, node, withTLS)
	state := ready(t, states)
	mustQuote(t, owner, selection)

	if state.TLS != nil || state.TLSErr == nil {
		t.Errorf("the TLS key is %v, error %v", state.TLS, state.TLSErr)
	}

	if string(nameAt(t, node, tlsHandle)) != string(foreign) {
		t.Error("the object was overwritten")
	}

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}

	if _, err := owner.SignTLS(t.Context(), &key.PublicKey, make([]byte, 32)); !errors.Is(err, tpm.ErrTLSKey) {
		t.Errorf("got %v", err)
	}
}

func TestATLSKeyWhoseHandleIsFreedIsSetUpByItself(t *testing.T) {
	t.Parallel()

	node, record := start(t), filepath.Join(t.TempDir(), "ak.json")
	persistForeign(t, node, tlsHandle)

	var logged atomic.Int32

	owner, states := own(t, node, func(o *tpm.Options) {
		withTLS(o)
		o.RecordFile = record
		o.Logger = slog.New(slog.NewTextHandler(writer(func(line []byte) {
			if bytes.Contains(line, []byte("can't be used")) {
				logged.Add(1)
			}
		}), nil))
	})

	if state := ready(t, states); state.TLSErr == nil {
		t.Fatal("somebody else's object was taken")
	}

	evict(t, node, tlsHandle) // as an operator does

	state := ready(t, states)
	if state.TLS == nil || state.TLSErr != nil {
		t.Fatalf("the TLS key is %v, error %v", state.TLS, state.TLSErr)
	}

	mustSignTLS(t, owner, state.TLS.Key)
	mustQuote(t, owner, selection)

	if got := logged.Load(); got != 1 {
		t.Errorf("it was told %d times", got)
	}

	if kept, err := os.ReadFile(record); err != nil || !bytes.Contains(kept, []byte("tls")) {
		t.Errorf("the record is %s, %v", kept, err)
	}
}

// writer is a log that a test looks at line by line.
type writer func([]byte)

func (w writer) Write(line []byte) (int, error) {
	w(line)

	return len(line), nil
}

func TestATLSKeyIsTriedAgainAfterItsSetUpWasDoneAnew(t *testing.T) {
	t.Parallel()

	node := start(t)
	owner, states := own(t, node, withTLS)
	key := ready(t, states).TLS.Key

	evict(t, node, tlsHandle)
	persistForeign(t, node, tlsHandle)

	if _, err := owner.SignTLS(t.Context(), key, make([]byte, 32)); !errors.Is(err, tpm.ErrTLSKey) {
		t.Fatalf("got %v", err)
	}

	if state := ready(t, states); state.TLSErr == nil {
		t.Fatal("somebody else's object was taken")
	}

	evict(t, node, tlsHandle)

	if state := ready(t, states); state.TLS == nil || !state.TLS.Key.Equal(key) {
		t.Errorf("the TLS key is %v, error %v", state.TLS, state.TLSErr)
	}

	mustSignTLS(t, owner, key)
}

func TestAnotherKeyAtTheTLSKeysHandleSignsNothing(t *testing.T) {
	t.Parallel()

	node := start(t)
	owner, states := own(t, node, withTLS)
	state := ready(t, states)

	evict(t, node, tlsHandle)
	persistForeign(t, node, tlsHandle)

	if signature, err := owner.SignTLS(t.Context(), state.TLS.Key, make([]byte, 32)); !errors.Is(err, tpm.ErrTLSKey) {
		t.Errorf("got %x, %v", signature, err)
	}

	mustQuote(t, owner, selection)
}

func TestATLSKeyThatCouldNotBeMadeAtFirstIsMadeLater(t *testing.T) {
	t.Parallel()

	device, evictions := &faults{TPM: start(t)}, 0
	device.on(func(code tpm2.TPMCC) ([]byte, error) {
		if code == tpm2.TPMCCEvictControl {
			evictions++
		}

		if code == tpm2.TPMCCEvictControl && evictions == 2 { // the AK's was the first
			return nil, errors.New("cut off")
		}

		return nil, nil
	})

	owner, states := own(t, device, withTLS)
	if state := <-states; !errors.Is(state.Err, tpm.ErrAbsent) {
		t.Fatalf("error %v", state.Err)
	}

	mustSignTLS(t, owner, ready(t, states).TLS.Key)
}

func TestTheTLSKeySignsForItsOwnCertificateOnly(t *testing.T) {
	t.Parallel()

	owner, states := own(t, start(t), withTLS)
	ready(t, states)

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}

	if _, err := owner.SignTLS(t.Context(), &key.PublicKey, make([]byte, 32)); !errors.Is(err, tpm.ErrTLSKey) {
		t.Errorf("got %v", err)
	}
}

func TestATLSKeyThatCanNotBeKeptStaysLoaded(t *testing.T) {
	t.Parallel()

	node := start(t)
	setAuth(t, node, tpm2.TPMRHOwner, "secret")

	t.Run("in use", func(t *testing.T) {
		owner, states := own(t, node, withTLS)
		state := ready(t, states)

		if !state.TLS.Transient || state.TLS.Why == "" {
			t.Errorf("transient %v because %q", state.TLS.Transient, state.TLS.Why)
		}

		mustSignTLS(t, owner, state.TLS.Key)
	})

	if left := handlesFrom(t, node, 0x80000000); len(left) > 0 {
		t.Errorf("still loaded: %x", left)
	}
}

// TestQuotesGoFirstWhateverKnocks fills the handshakes' door while the TPM is busy. A queue that has room for one still has it for a quote, which is next.
func TestQuotesGoFirstWhateverKnocks(t *testing.T) {
	t.Parallel()

	const knocking, room = 40, 32

	device := &faults{TPM: start(t)}
	owner, states := own(t, device, func(o *tpm.Options) {
		withTLS(o)
		o.Queue = 1
	})
	key := ready(t, states).TLS.Key

	working, goOn := make(chan struct{}), make(chan struct{})
	device.on(func(tpm2.TPMCC) ([]byte, error) {
		close(working)
		<-goOn

		return nil, nil
	})

	handshakes := make(chan error, knocking)
	knock := func() {
		_, err := owner.SignTLS(context.Background(), key, make([]byte, 32))
		handshakes <- err
	}

	go knock()
	<-working
	device.on(nil)
	device.take()

	for range knocking - 1 {
		go knock()
	}

	for range knocking - room {
		if err := <-handshakes; !errors.Is(err, tpm.ErrQueueFull) {
			t.Errorf("a handshake too many got %v", err)
		}
	}

	quoted := make(chan error)
	go func() {
		_, err := owner.Quote(context.Background(), tpm.Request{ExtraData: nonce, Selections: selection})
		quoted <- err
	}()

	// Once the queue is full, the quote waits: nobody else but this probe, which never does, may be in it.
	expired, cancel := context.WithCancel(t.Context())
	cancel()

	for full := false; !full; {
		select {
		case err := <-quoted:
			if !errors.Is(err, tpm.ErrQueueFull) {
				t.Fatalf("the quote got %v", err)
			}

			go func() { // the probe was in its place
				_, err := owner.Quote(context.Background(), tpm.Request{ExtraData: nonce, Selections: selection})
				quoted <- err
			}()
		default:
			_, err := owner.Quote(expired, tpm.Request{ExtraData: nonce, Selections: selection})
			full = errors.Is(err, tpm.ErrQueueFull)
		}
	}

	close(goOn)

	if err := <-quoted; err != nil {
		t.Fatal(err)
	}

	for range room {
		if err := <-handshakes; err != nil && !errors.Is(err, tpm.ErrQueueFull) {
			t.Error(err)
		}
	}

	if commands := device.take(); commands[0] != tpm2.TPMCCQuote {
		t.Errorf("the quote had to wait for %v", commands)
	}
}
