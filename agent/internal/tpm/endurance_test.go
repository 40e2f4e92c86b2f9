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

	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/tpmsim/tpmsimtest"
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

	owner, state, stop := owned(t, tpm)
	nonce := bytes.Repeat([]byte{1}, 32)
	request := Request{ExtraData: nonce, Selections: []Selection{Select(tpm2.TPMAlgSHA256, 17, 18, 19)}}

	for range quotes {
		quote, err := owner.Quote(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}

		if err := quote.Hold(nonce); err != nil {
			t.Fatal(err)
		}
	}

	for range enrolments {
		identity, err := owner.Identity(t.Context(), nonce, nil)
		if err != nil {
			t.Fatal(err)
		}

		enrol(t, owner, identity)
	}

	stop()

	// The AK's own handle is the one that stays: it was not there before the watch.
	if err := (keys{tpm: tpm}).remove(state.AK.Record); err != nil {
		t.Error(err)
	}
}

// owned starts an owner of the TPM that can quote; stop ends it.
func owned(t *testing.T, tpm transport.TPM) (owner *TPM, state State, stop func()) {
	t.Helper()

	states := make(chan State, 1)
	owner = New(Options{
		Open:       func() (transport.TPMCloser, error) { return open{tpm}, nil },
		Algorithm:  ECDSAP256,
		Handle:     DefaultHandle,
		RecordFile: filepath.Join(t.TempDir(), "ak.json"),
		Queue:      4,
		Logger:     slog.New(slog.NewTextHandler(io.Discard, nil)),
		OnState: func(s State) {
			select {
			case states <- s:
			default: // only the first one is waited for
			}
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)

	go func() { done <- owner.Run(ctx) }()

	if state = <-states; state.Err != nil {
		t.Fatal(state.Err)
	}

	return owner, state, func() {
		cancel()

		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestACredentialIsOpenedAfterTPM2Clear(t *testing.T) {
	t.Parallel()

	node := tpmsimtest.Start(t, tpmsim.Options{})

	owner, _, stop := owned(t, node)
	defer stop()

	identity, err := owner.Identity(t.Context(), bytes.Repeat([]byte{1}, 32), nil)
	if err != nil {
		t.Fatal(err)
	}

	if err := node.Clear(t.Context()); err != nil {
		t.Fatal(err)
	}

	enrol(t, owner, identity)

	if !owner.State().AK.Record.Enrolled {
		t.Error("it is not noted that the AK was enrolled")
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
