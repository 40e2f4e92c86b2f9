package tpm

import (
	"bytes"
	"context"
	"crypto/rand"
	"flag"
	"io"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// endurance makes the test below as long as it is meant to be: twenty seconds without the race detector, a minute with it. make endurance sets it.
var endurance = flag.Bool("endurance", false, "quote and enrol as often as a node does in weeks")

// open lets an owner close its way to the TPM without ending the node.
type open struct{ transport.TPM }

func (open) Close() error { return nil }

// TestManyQuotesAndEnrolmentsLeaveNothingBehind runs on a watched TPM: at its end nothing more is loaded or persistent than before, no dictionary-attack counter moved, and no
// command was authorised with a value that could lock anything.
func TestManyQuotesAndEnrolmentsLeaveNothingBehind(t *testing.T) {
	t.Parallel()

	quotes, enrolments := 500, 50
	if *endurance {
		quotes, enrolments = 10_000, 1_000
	}

	tpm := watched(t, nil)

	// The AK's own handle is the one that stays: it is there before the watch counts again.
	ready := make(chan State, 16)
	owner := New(Options{
		Open:       func() (transport.TPMCloser, error) { return open{tpm}, nil },
		Algorithm:  ECDSAP256,
		Handle:     DefaultHandle,
		RecordFile: filepath.Join(t.TempDir(), "ak.json"),
		Queue:      4,
		Logger:     slog.New(slog.NewTextHandler(io.Discard, nil)),
		OnState:    func(s State) { ready <- s },
	})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)

	go func() { done <- owner.Run(ctx) }()

	state := <-ready
	if state.Err != nil {
		t.Fatal(state.Err)
	}

	go func() {
		for range ready { // credentials activated are states, too
		}
	}()

	nonce := bytes.Repeat([]byte{1}, 32)
	request := Request{ExtraData: nonce, Selections: []Selection{Select(tpm2.TPMAlgSHA256, 17, 18, 19)}}

	for range quotes {
		if _, err := owner.Quote(ctx, request); err != nil {
			t.Fatal(err)
		}
	}

	for range enrolments {
		identity, err := owner.Identity(ctx, nonce)
		if err != nil {
			t.Fatal(err)
		}

		enrol(t, owner, identity)
	}

	stop()

	if err := <-done; err != nil {
		t.Error(err)
	}

	if err := (keys{tpm: tpm}).remove(state.AK.Record); err != nil {
		t.Error(err)
	}
}

// enrol has a credential opened that was made for the ECC EK and the AK.
func enrol(t *testing.T, owner *TPM, identity *Identity) {
	t.Helper()

	ek := identity.EKs[len(identity.EKs)-1]
	ak := identity.AKs[0].AK

	public, err := tpm2.Unmarshal[tpm2.TPMTPublic](ek.Public)
	if err != nil {
		t.Fatal(err)
	}

	encapsulation, err := tpm2.ImportEncapsulationKey(public)
	if err != nil {
		t.Fatal(err)
	}

	want := []byte("a secret of the enroller")

	blob, secret, err := tpm2.CreateCredential(rand.Reader, encapsulation, ak.Name(), want)
	if err != nil {
		t.Fatal(err)
	}

	if got, err := owner.Activate(t.Context(), ek.Public, ak.Name(), blob, secret); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("got %q, %v", got, err)
	}
}
