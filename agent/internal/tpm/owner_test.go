package tpm_test

import (
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"sync"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/trustpool/trustpool/agent/internal/tpm"
	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/tpmsim/tpmsimtest"
)

// faults is a way to a TPM that counts commands and lets a test step in.
type faults struct {
	transport.TPM

	mu       sync.Mutex
	commands []tpm2.TPMCC
	// before may answer in place of the TPM, or do something before it does; guarded by mu.
	before func(code tpm2.TPMCC) (response []byte, err error)
}

func (f *faults) Send(command []byte) ([]byte, error) {
	code := tpm2.TPMCC(binary.BigEndian.Uint32(command[6:]))

	f.mu.Lock()
	f.commands = append(f.commands, code)
	before := f.before
	f.mu.Unlock()

	if before != nil {
		if response, err := before(code); response != nil || err != nil {
			return response, err
		}
	}

	return f.TPM.Send(command)
}

func (f *faults) Close() error { return nil }

// on sets what happens before a command.
func (f *faults) on(before func(tpm2.TPMCC) ([]byte, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()

	f.before = before
}

// take returns the commands since the last call.
func (f *faults) take() []tpm2.TPMCC {
	f.mu.Lock()
	defer f.mu.Unlock()

	commands := f.commands
	f.commands = nil

	return commands
}

// responseCode is a response that has nothing but a code.
func responseCode(code tpm2.TPMRC) []byte {
	return binary.BigEndian.AppendUint32([]byte{0x80, 0x01, 0, 0, 0, 10}, uint32(code))
}

// own starts an owner of the node's TPM and waits until it can quote, or can't.
func own(t *testing.T, device transport.TPM, change func(*tpm.Options)) (*tpm.TPM, <-chan tpm.State) {
	t.Helper()

	states := make(chan tpm.State, 100)
	options := tpm.Options{
		Open:      func() (transport.TPMCloser, error) { return closable{device}, nil },
		Algorithm: tpm.ECDSAP256,
		Handle:    tpm.DefaultHandle,
		Queue:     16,
		Logger:    slog.New(slog.NewTextHandler(io.Discard, nil)),
		OnState:   func(s tpm.State) { states <- s },
	}

	if change != nil {
		change(&options)
	}

	owner := tpm.New(options)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)

	go func() { done <- owner.Run(ctx) }()

	t.Cleanup(func() {
		cancel()

		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})

	return owner, states
}

type closable struct{ transport.TPM }

func (closable) Close() error { return nil }

// ready waits for a state and fails unless quotes can be made.
func ready(t *testing.T, states <-chan tpm.State) tpm.State {
	t.Helper()

	state := <-states
	if state.Err != nil {
		t.Fatalf("cannot quote: %v", state.Err)
	}

	return state
}

func start(t *testing.T) *tpmsim.Node {
	t.Helper()

	return tpmsimtest.Start(t, tpmsim.Options{})
}

func mustQuote(t *testing.T, owner *tpm.TPM, selections []tpm.Selection) *tpm.Quote {
	t.Helper()

	quote, err := owner.Quote(t.Context(), tpm.Request{ExtraData: nonce, Selections: selections})
	if err != nil {
		t.Fatal(err)
	}

	if err := quote.Hold(nonce); err != nil {
		t.Errorf("a quote that was given does not hold: %v", err)
	}

	return quote
}
