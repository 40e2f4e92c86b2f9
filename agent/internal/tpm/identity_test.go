package tpm_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/trustpool/trustpool/agent/internal/tpm"
	"github.com/trustpool/trustpool/tpmsim"
)

// host is a node whose agent is started and ended again and again.
type host struct {
	t      *testing.T
	node   *tpmsim.Node
	record string
	auths  tpm.Auths

	owner  *tpm.TPM
	states chan tpm.State
	stop   func()
}

func newHost(t *testing.T) *host {
	t.Helper()

	return &host{t: t, node: start(t), record: filepath.Join(t.TempDir(), "ak.json")}
}

// boot starts the agent's owner of the TPM and returns its first state.
func (h *host) boot() tpm.State {
	h.t.Helper()
	h.states = make(chan tpm.State, 1000)
	h.owner = tpm.New(tpm.Options{
		Open:       func() (transport.TPMCloser, error) { return closable{h.node}, nil },
		Algorithm:  tpm.ECDSAP256,
		Handle:     tpm.DefaultHandle,
		Auths:      h.auths,
		RecordFile: h.record,
		Queue:      16,
		Logger:     slog.New(slog.NewTextHandler(io.Discard, nil)),
		OnState:    func(s tpm.State) { h.states <- s },
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)

	go func() { done <- h.owner.Run(ctx) }()

	h.stop = func() {
		cancel()

		if err := <-done; err != nil {
			h.t.Errorf("Run: %v", err)
		}
	}

	return <-h.states
}

// name starts the owner, asks for the AK by a quote, and ends it.
func (h *host) name() []byte {
	h.t.Helper()

	state := h.boot()
	defer h.stop()

	if state.Err != nil {
		h.t.Fatalf("cannot quote: %v", state.Err)
	}

	return mustQuote(h.t, h.owner, selection).AK.Name()
}

func (h *host) loseRecord() {
	if err := os.Remove(h.record); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) clear() {
	h.t.Helper()

	if _, err := (tpm2.Clear{AuthHandle: tpm2.TPMRHPlatform}).Execute(h.node); err != nil {
		h.t.Fatal(err)
	}
}

// rotate rotates to the end and returns the new Name.
func (h *host) rotate() []byte {
	h.t.Helper()
	h.boot()
	defer h.stop()

	ak, err := h.owner.Rotate(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}

	if err := h.owner.Commit(h.t.Context(), ak.Name()); err != nil {
		h.t.Fatal(err)
	}

	return ak.Name()
}

func (h *host) wantName(what string, want []byte) {
	h.t.Helper()

	if got := h.name(); !bytes.Equal(got, want) {
		h.t.Errorf("%s: the AK is %x, want %x", what, got, want)
	}
}

func TestTheAKOutlivesRestartRebootClearAndLossOfTheRecord(t *testing.T) {
	t.Parallel()

	h := newHost(t)
	first := h.name()
	h.wantName("restart", first)

	if err := h.node.Reboot(t.Context(), tpmsim.Trusted); err != nil {
		t.Fatal(err)
	}

	h.wantName("reboot", first)
	h.clear()
	h.wantName("clear", first)
	h.loseRecord()
	h.wantName("record lost", first)
}

func TestARotatedAKOutlivesClearAndLossOfTheRecordOneAtATime(t *testing.T) {
	t.Parallel()

	h := newHost(t)
	first := h.name()
	second := h.rotate()

	if bytes.Equal(first, second) {
		t.Fatal("rotation gave the same key")
	}

	h.wantName("rotation", second)
	h.clear()
	h.wantName("rotation, clear", second)
	h.loseRecord()
	h.wantName("rotation, clear, record lost", second)
	h.clear()
	h.wantName("rotation, clear, record lost, clear", second)

	third := h.rotate()
	h.loseRecord()
	h.wantName("rotation, record lost", third)
	h.clear()
	h.wantName("rotation, record lost, clear", third)

	// Both at once leave nothing that tells of the rotations: the node is as new.
	h.loseRecord()
	h.clear()
	h.wantName("record lost and clear at once", first)
}

func TestBothAKsQuoteUntilTheRotationEnds(t *testing.T) {
	t.Parallel()

	h := newHost(t)
	h.boot()
	defer func() { h.stop() }()

	old := mustQuote(t, h.owner, selection).AK.Name()

	pending, err := h.owner.Rotate(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	again, err := h.owner.Rotate(t.Context())
	if err != nil || !bytes.Equal(again.Name(), pending.Name()) {
		t.Errorf("a second rotation gave %x, %v", again.Name(), err)
	}

	quoteBy := func(name []byte) error {
		quote, err := h.owner.Quote(t.Context(), tpm.Request{ExtraData: nonce, Selections: selection, AKName: name})
		if err == nil && !bytes.Equal(quote.AK.Name(), name) {
			t.Errorf("%x signed in place of %x", quote.AK.Name(), name)
		}

		if err == nil {
			err = quote.Hold(nonce)
		}

		return err
	}

	if err := errors.Join(quoteBy(old), quoteBy(pending.Name())); err != nil {
		t.Error(err)
	}

	// A restart in the middle changes nothing.
	h.stop()
	h.boot()

	if err := errors.Join(quoteBy(old), quoteBy(pending.Name())); err != nil {
		t.Error(err)
	}

	for range 2 { // asking twice does no harm
		if err := h.owner.Commit(t.Context(), pending.Name()); err != nil {
			t.Error(err)
		}
	}

	if err := quoteBy(old); !errors.Is(err, tpm.ErrUnknownAK) {
		t.Errorf("the old AK still quotes: %v", err)
	}

	if got := handlesFrom(t, h.node, tpm.DefaultHandle); len(got) != 1 || got[0] != tpm.DefaultHandle+1 {
		t.Errorf("persistent handles are %x", got)
	}
}

func TestAnEndorsementHierarchySwitchedOffAndOn(t *testing.T) {
	t.Parallel()

	h := newHost(t)
	first := h.name()
	setEndorsement(t, h.node, false)

	if state := h.boot(); !errors.Is(state.Err, tpm.ErrHierarchyDisabled) {
		t.Errorf("got %v, want ErrHierarchyDisabled", state.Err)
	}

	setEndorsement(t, h.node, true)

	if state := <-h.states; state.Err != nil {
		t.Errorf("after it was switched on: %v", state.Err)
	}

	h.stop()
	h.wantName("switched on", first)
}

func TestAnotherEndorsementSeedStopsQuotesUntilAnOperatorActs(t *testing.T) {
	t.Parallel()

	h := newHost(t)
	first := h.name()
	changeEPS(t, h.node)

	state := h.boot()
	defer h.stop()

	if !errors.Is(state.Err, tpm.ErrReplaced) || state.Event != tpm.EventReplaced {
		t.Fatalf("got %v, event %d, want ErrReplaced", state.Err, state.Event)
	}

	if _, err := h.owner.Quote(t.Context(), tpm.Request{ExtraData: nonce, Selections: selection}); !errors.Is(err, tpm.ErrReplaced) {
		t.Errorf("a quote gives %v, want ErrReplaced", err)
	}

	ak, err := h.owner.Reprovision(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	if bytes.Equal(ak.Name(), first) {
		t.Error("the AK is the old one")
	}

	mustQuote(t, h.owner, selection)
}

func TestQuotesGoOnWhenTheOwnerSetAnAuthorisation(t *testing.T) {
	t.Parallel()

	h := newHost(t)
	setAuth(t, h.node, tpm2.TPMRHOwner, "owner's secret")

	if state := h.boot(); state.Err != nil || !state.AK.Transient || state.AK.Why == "" {
		t.Errorf("err %v, AK %+v, want a transient one", state.Err, state.AK)
	}

	name := mustQuote(t, h.owner, selection).AK.Name()
	h.stop()

	if got := handlesFrom(t, h.node, 0x80000000); len(got) > 0 {
		t.Errorf("still loaded: %x", got)
	}

	h.auths.Owner = []byte("owner's secret")

	if state := h.boot(); state.Err != nil || state.AK.Transient {
		t.Errorf("with the value: err %v, AK %+v", state.Err, state.AK)
	}

	h.stop()
	h.wantName("with the value", name)
}

func TestAnEndorsementAuthorisationIsNeededOnlyToDerive(t *testing.T) {
	t.Parallel()

	h := newHost(t)
	name := h.name()
	setAuth(t, h.node, tpm2.TPMRHEndorsement, "endorsement's secret")
	h.wantName("the AK is at its handle", name)
	evict(t, h.node, tpm.DefaultHandle)

	state := h.boot()
	h.stop()

	if !errors.Is(state.Err, tpm.ErrAuthRequired) {
		t.Errorf("got %v, want ErrAuthRequired", state.Err)
	}

	h.auths.Endorsement = []byte("endorsement's secret")
	h.wantName("with the value", name)
}

func TestADamagedRecordIsNeverTakenForANewHost(t *testing.T) {
	t.Parallel()

	h := newHost(t)
	name := h.name()

	if err := os.WriteFile(h.record, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}

	if state := h.boot(); !errors.Is(state.Err, tpm.ErrRecord) {
		t.Errorf("got %v, want ErrRecord", state.Err)
	}

	if ak, err := h.owner.Reprovision(t.Context()); err != nil || !bytes.Equal(ak.Name(), name) {
		t.Errorf("reprovisioning gave %v, %v", ak, err)
	}

	h.stop()
	h.wantName("reprovisioned", name)
}

func TestARecordThatCannotBeWrittenStopsARotationAndNoQuote(t *testing.T) {
	t.Parallel()

	h := newHost(t)
	h.record = filepath.Join(t.TempDir(), "gone", "ak.json")
	h.boot()
	defer h.stop()
	mustQuote(t, h.owner, selection)

	if _, err := h.owner.Rotate(t.Context()); !errors.Is(err, tpm.ErrUnrecorded) {
		t.Errorf("a rotation that no record tells of: got %v, want ErrUnrecorded", err)
	}

	mustQuote(t, h.owner, selection)
}

func TestTheAKMovesWhenTheOperatorNamesAnotherHandle(t *testing.T) {
	t.Parallel()

	h := newHost(t)
	name := h.name()
	evict(t, h.node, tpm.DefaultHandle)
	persistForeign(t, h.node, tpm.DefaultHandle)

	state := h.boot()
	h.stop()

	if !errors.Is(state.Err, tpm.ErrHandleTaken) {
		t.Fatalf("got %v, want ErrHandleTaken", state.Err)
	}

	owner, states := own(t, h.node, func(o *tpm.Options) { o.RecordFile, o.Handle = h.record, tpm.DefaultHandle+0x1000 })
	ready(t, states)

	if got := mustQuote(t, owner, selection).AK.Name(); !bytes.Equal(got, name) {
		t.Errorf("the AK is %x, want %x", got, name)
	}
}
