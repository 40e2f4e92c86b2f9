package tpm_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"github.com/trustpool/trustpool/agent/internal/tpm"
)

// loaded fails if anything transient is loaded.
func (h *host) wantNothingLoaded(what string) {
	h.t.Helper()

	if got := handlesFrom(h.t, h.node, 0x80000000); len(got) > 0 {
		h.t.Errorf("%s: still loaded: %x", what, got)
	}
}

func TestAHostWithoutRecordWhoseHierarchyIsOffIsToldSo(t *testing.T) {
	t.Parallel()

	h := newHost(t)
	h.name()
	h.loseRecord()
	setEndorsement(t, h.node, false)

	state := h.boot()
	h.stop()

	if !errors.Is(state.Err, tpm.ErrHierarchyDisabled) {
		t.Errorf("got %v, want ErrHierarchyDisabled", state.Err)
	}
}

func TestAFailedReprovisionIsMadeUpFor(t *testing.T) {
	t.Parallel()

	h := newHost(t)
	name := h.name()
	h.boot()
	defer h.stop()

	evict(t, h.node, tpm.DefaultHandle)
	setEndorsement(t, h.node, false)

	for range 3 { // more often than Run comes round
		if _, err := h.owner.Reprovision(t.Context()); !errors.Is(err, tpm.ErrHierarchyDisabled) {
			t.Fatalf("got %v, want ErrHierarchyDisabled", err)
		}
	}

	setEndorsement(t, h.node, true)

	for state := range h.states {
		if state.Err == nil {
			break
		}
	}

	if got := mustQuote(t, h.owner, selection).AK.Name(); !bytes.Equal(got, name) {
		t.Errorf("the AK is %x, want %x", got, name)
	}
}

func TestARotationThatCannotBeRecordedLeavesNothingLoaded(t *testing.T) {
	t.Parallel()

	h := newHost(t)
	h.record = filepath.Join(t.TempDir(), "gone", "ak.json")
	setAuth(t, h.node, tpm2.TPMRHOwner, "owner's secret") // so that AKs stay loaded
	h.boot()

	for range 5 { // a TPM holds three
		if _, err := h.owner.Rotate(t.Context()); !errors.Is(err, os.ErrNotExist) {
			t.Fatalf("got %v, want that the record can't be written", err)
		}
	}

	mustQuote(t, h.owner, selection)
	h.stop()
	h.wantNothingLoaded("after the end")
}

func TestATroubledPendingAKDoesNotStopTheGoodOne(t *testing.T) {
	t.Parallel()

	h := newHost(t)
	name := h.name()
	h.boot()

	pending, err := h.owner.Rotate(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	h.stop()
	evict(t, h.node, tpm.DefaultHandle+1)
	persistForeign(t, h.node, tpm.DefaultHandle+1)

	if state := h.boot(); state.Err != nil {
		t.Fatalf("cannot quote: %v", state.Err)
	}

	if got := mustQuote(t, h.owner, selection).AK.Name(); !bytes.Equal(got, name) {
		t.Errorf("the AK is %x, want %x", got, name)
	}

	if _, err := h.owner.Rotate(t.Context()); !errors.Is(err, tpm.ErrHandleTaken) {
		t.Errorf("a rotation gives %v, want ErrHandleTaken", err)
	}

	// Once the handle is free, the rotation goes on where it was.
	evict(t, h.node, tpm.DefaultHandle+1)

	again, err := h.owner.Rotate(t.Context())
	if err != nil || !bytes.Equal(again.Name(), pending.Name()) {
		t.Errorf("got %v, %v", again, err)
	}

	h.stop()
}

func TestAnUncommittedAKIsNotTakenWhenTheRecordIsLost(t *testing.T) {
	t.Parallel()

	h := newHost(t)
	name := h.name()
	h.boot()

	if _, err := h.owner.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}

	if ak, err := h.owner.Reprovision(t.Context()); err != nil || !bytes.Equal(ak.Name(), name) {
		t.Errorf("reprovisioning took %v, %v", ak, err)
	}

	h.stop()
	h.loseRecord()
	h.wantName("record lost", name)
}

func TestAnAKOfAnotherAlgorithmIsFoundWithoutRecord(t *testing.T) {
	t.Parallel()

	h := newHost(t)
	name := h.name()
	h.loseRecord()

	owner, states := own(t, h.node, func(o *tpm.Options) { o.Algorithm = tpm.ECDSAP384 })
	ready(t, states)

	if got := mustQuote(t, owner, selection).AK.Name(); !bytes.Equal(got, name) {
		t.Errorf("the AK is %x, want %x", got, name)
	}
}

func TestARetiredAKIsRemovedWhenThatBecomesPossible(t *testing.T) {
	t.Parallel()

	h := newHost(t)
	h.name()
	setAuth(t, h.node, tpm2.TPMRHOwner, "owner's secret")
	h.rotate()

	for range 2 {
		h.name()
	}

	if got := handlesFrom(t, h.node, tpm.DefaultHandle); len(got) != 1 || got[0] != tpm.DefaultHandle {
		t.Fatalf("without the owner's value: persistent handles %x", got)
	}

	h.auths.Owner = []byte("owner's secret")
	h.name()

	if got := handlesFrom(t, h.node, tpm.DefaultHandle); len(got) != 1 || got[0] != tpm.DefaultHandle+1 {
		t.Errorf("with it: persistent handles %x", got)
	}
}

func TestAnAKThatIsKeptAtLastIsNoClearedTPM(t *testing.T) {
	t.Parallel()

	h := newHost(t)
	setAuth(t, h.node, tpm2.TPMRHOwner, "owner's secret")
	h.name()
	h.auths.Owner = []byte("owner's secret")

	state := h.boot()
	h.stop()

	if state.Err != nil || state.Event != tpm.EventNone || state.AK.Transient {
		t.Errorf("got %v, event %d", state.Err, state.Event)
	}

	h.clear()
	setAuth(t, h.node, tpm2.TPMRHOwner, "owner's secret") // clearing removed it

	state = h.boot()
	h.stop()

	if state.Event != tpm.EventCleared {
		t.Errorf("after TPM2_Clear: event %d", state.Event)
	}
}

func TestATPMThatReadsNothingForEverIsRefused(t *testing.T) {
	t.Parallel()

	device := &faults{TPM: start(t)}
	owner, states := own(t, device, nil)
	ready(t, states)

	// An empty selection, and one digest.
	response := []byte{0x80, 0x01, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 32}
	response = append(response, make([]byte, 32)...)
	binary.BigEndian.PutUint32(response[2:], uint32(len(response)))

	device.on(func(code tpm2.TPMCC) ([]byte, error) {
		if code == tpm2.TPMCCPCRRead {
			return response, nil
		}

		return nil, nil
	})

	if _, err := owner.Quote(t.Context(), tpm.Request{ExtraData: nonce, Selections: selection}); err == nil {
		t.Error("a quote came of it")
	}

	device.on(nil)
	mustQuote(t, owner, selection)
}
