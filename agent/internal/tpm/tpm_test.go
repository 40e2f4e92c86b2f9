package tpm_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/trustpool/trustpool/agent/internal/tpm"
)

var (
	nonce     = []byte("0123456789abcdef0123456789abcdef")
	selection = []tpm.Selection{tpm.Select(tpm2.TPMAlgSHA256, 17, 18, 19)}
)

func TestQuoteCostsOneCommandWhilePCRsStandStill(t *testing.T) {
	t.Parallel()

	device := &faults{TPM: start(t)}
	owner, states := own(t, device, nil)
	ready(t, states)
	mustQuote(t, owner, selection)
	device.take()

	for range 3 {
		mustQuote(t, owner, selection)
	}

	want := []tpm2.TPMCC{tpm2.TPMCCQuote, tpm2.TPMCCQuote, tpm2.TPMCCQuote}
	if diff := cmp.Diff(want, device.take()); diff != "" {
		t.Errorf("commands (-want +got):\n%s", diff)
	}
}

func TestQuoteCostsTwoCommandsAfterAPCRMoved(t *testing.T) {
	t.Parallel()

	node := start(t)
	device := &faults{TPM: node}
	owner, states := own(t, device, nil)
	ready(t, states)

	selections := []tpm.Selection{tpm.Select(tpm2.TPMAlgSHA256, 16, 17)}
	before := mustQuote(t, owner, selections)
	extend(t, node, 16)
	device.take()

	after := mustQuote(t, owner, selections)

	if diff := cmp.Diff([]tpm2.TPMCC{tpm2.TPMCCQuote, tpm2.TPMCCPCRRead}, device.take()); diff != "" {
		t.Errorf("commands (-want +got):\n%s", diff)
	}

	if bytes.Equal(before.Banks[0].Values[0], after.Banks[0].Values[0]) {
		t.Error("the quote carries the old value of PCR 16")
	}
}

func TestQuoteGivesUpWhenPCRsKeepMoving(t *testing.T) {
	t.Parallel()

	node := start(t)
	device := &faults{TPM: node}
	owner, states := own(t, device, nil)
	ready(t, states)
	device.on(func(code tpm2.TPMCC) ([]byte, error) {
		if code == tpm2.TPMCCQuote || code == tpm2.TPMCCPCRRead {
			extend(t, node, 16)
		}

		return nil, nil
	})

	_, err := owner.Quote(t.Context(), tpm.Request{ExtraData: nonce, Selections: []tpm.Selection{tpm.Select(tpm2.TPMAlgSHA256, 16)}})
	if !errors.Is(err, tpm.ErrPCRRace) {
		t.Errorf("got %v, want ErrPCRRace", err)
	}

	device.on(nil)
	mustQuote(t, owner, selection)
}

func TestQuoteReadsMoreThanEightPCRsInSeveralBanks(t *testing.T) {
	t.Parallel()

	owner, states := own(t, start(t), nil)
	ready(t, states)

	all := make([]int, tpm.PCRs)
	for i := range all {
		all[i] = i
	}

	quote := mustQuote(t, owner, []tpm.Selection{tpm.Select(tpm2.TPMAlgSHA384, 17), tpm.Select(tpm2.TPMAlgSHA1, all...), tpm.Select(tpm2.TPMAlgSHA256, all...)})

	var got []int
	for _, bank := range quote.Banks {
		got = append(got, len(bank.Values), len(bank.Values[0]))
	}

	if diff := cmp.Diff([]int{1, 48, 24, 20, 24, 32}, got); diff != "" {
		t.Errorf("values and their sizes (-want +got):\n%s", diff)
	}
}

func TestEveryAlgorithmQuotes(t *testing.T) {
	t.Parallel()

	for _, alg := range tpm.KeyAlgorithms() {
		t.Run(string(alg), func(t *testing.T) {
			t.Parallel()

			owner, states := own(t, start(t), func(o *tpm.Options) { o.Algorithm = alg })
			ready(t, states)
			mustQuote(t, owner, selection)
		})
	}
}

func TestQuoteLeavesNothingLoaded(t *testing.T) {
	t.Parallel()

	node := start(t)
	owner, states := own(t, node, nil)
	ready(t, states)
	mustQuote(t, owner, selection)

	for _, first := range []tpm2.TPMHandle{0x80000000, 0x02000000, 0x03000000} { // transient objects, loaded and saved sessions
		if handles := handlesFrom(t, node, first); len(handles) > 0 {
			t.Errorf("still loaded: %x", handles)
		}
	}
}

func TestTheAKIsTheSameAfterTPM2Clear(t *testing.T) {
	t.Parallel()

	node := start(t)
	owner, states := own(t, node, nil)
	before := ready(t, states).AK.Name()

	if _, err := (tpm2.Clear{AuthHandle: tpm2.TPMRHPlatform}).Execute(node); err != nil {
		t.Fatal(err)
	}

	if got := mustQuote(t, owner, selection).AK.Name(); !bytes.Equal(got, before) {
		t.Errorf("AK is %x, was %x", got, before)
	}
}

func TestAForeignObjectAtTheHandleIsNotOverwritten(t *testing.T) {
	t.Parallel()

	node := start(t)
	foreign := persistForeign(t, node, tpm.DefaultHandle)
	_, states := own(t, node, nil)

	if state := <-states; !errors.Is(state.Err, tpm.ErrHandleTaken) {
		t.Errorf("got %v, want ErrHandleTaken", state.Err)
	}

	if got := nameAt(t, node, tpm.DefaultHandle); !bytes.Equal(got, foreign) {
		t.Error("the foreign object is gone")
	}
}

func TestAnotherKeyAtTheHandleDoesNotSignInTheAKsName(t *testing.T) {
	t.Parallel()

	node := start(t)
	owner, states := own(t, node, nil)
	ready(t, states)
	mustQuote(t, owner, selection)

	evict(t, node, tpm.DefaultHandle)
	persistForeign(t, node, tpm.DefaultHandle)

	for range 2 {
		if _, err := owner.Quote(t.Context(), tpm.Request{ExtraData: nonce, Selections: selection}); !errors.Is(err, tpm.ErrHandleTaken) {
			t.Errorf("got %v, want ErrHandleTaken", err)
		}
	}
}

func TestASwitchedOffEndorsementHierarchyIsNamed(t *testing.T) {
	t.Parallel()

	node := start(t)
	setEndorsement(t, node, false)

	_, states := own(t, node, nil)

	if state := <-states; !errors.Is(state.Err, tpm.ErrHierarchyDisabled) {
		t.Errorf("got %v, want ErrHierarchyDisabled", state.Err)
	}
}

func TestABrokenTPMIsOpenedAgain(t *testing.T) {
	t.Parallel()

	device := &faults{TPM: start(t)}
	owner, states := own(t, device, nil)
	ready(t, states)
	device.on(func(code tpm2.TPMCC) ([]byte, error) {
		if code == tpm2.TPMCCQuote {
			return nil, io.ErrUnexpectedEOF
		}

		return nil, nil
	})

	if _, err := owner.Quote(t.Context(), tpm.Request{ExtraData: nonce, Selections: selection}); !errors.Is(err, tpm.ErrAbsent) {
		t.Errorf("got %v, want ErrAbsent", err)
	}

	if state := <-states; !errors.Is(state.Err, tpm.ErrAbsent) {
		t.Errorf("state is %v, want ErrAbsent", state.Err)
	}

	device.on(nil)
	ready(t, states)
	mustQuote(t, owner, selection)
}

func TestATPMThatComesLateIsWaitedFor(t *testing.T) {
	t.Parallel()

	node := start(t)
	tries := 0
	owner, states := own(t, node, func(o *tpm.Options) {
		o.Open = func() (transport.TPMCloser, error) {
			if tries++; tries == 1 {
				return nil, errors.New("no such device")
			}

			return closable{node}, nil
		}
	})

	if state := <-states; !errors.Is(state.Err, tpm.ErrAbsent) {
		t.Errorf("state is %v, want ErrAbsent", state.Err)
	}

	ready(t, states)
	mustQuote(t, owner, selection)
}

func TestWaitingForTheTPMEndsWithTheCaller(t *testing.T) {
	t.Parallel()

	device := &faults{TPM: start(t)}
	owner, states := own(t, device, func(o *tpm.Options) { o.Queue = 1 })
	ready(t, states)

	working, goOn := make(chan struct{}), make(chan struct{})
	device.on(func(tpm2.TPMCC) ([]byte, error) {
		close(working)
		<-goOn

		return nil, nil
	})

	first := make(chan error)
	go func() {
		_, err := owner.Quote(context.Background(), tpm.Request{ExtraData: nonce, Selections: selection})
		first <- err
	}()
	<-working
	device.on(nil)

	ctx, hangUp := context.WithCancel(t.Context())
	second := make(chan error)
	wait := func() {
		_, err := owner.Quote(ctx, tpm.Request{ExtraData: nonce, Selections: selection})
		second <- err
	}

	go wait()

	// The second waits; when a third is told that the queue is full, it does. The third may have been there first, then the second is told so and comes again.
	expired, cancel := context.WithCancel(t.Context())
	cancel()

	for full := false; !full; {
		select {
		case err := <-second:
			if !errors.Is(err, tpm.ErrQueueFull) {
				t.Fatalf("the second caller got %v", err)
			}

			go wait()
		default:
			_, err := owner.Quote(expired, tpm.Request{ExtraData: nonce, Selections: selection})
			full = errors.Is(err, tpm.ErrQueueFull)
		}
	}

	hangUp()

	if err := <-second; !errors.Is(err, context.Canceled) {
		t.Errorf("the caller that hung up got %v", err)
	}

	close(goOn)

	if err := <-first; err != nil {
		t.Errorf("the caller that waited for the TPM got %v", err)
	}

	mustQuote(t, owner, selection)
}

func TestATooLongNonceIsRefusedAndTheLimitRemembered(t *testing.T) {
	t.Parallel()

	device := &faults{TPM: start(t)}
	owner, states := own(t, device, nil)
	ready(t, states)
	device.on(func(code tpm2.TPMCC) ([]byte, error) {
		if code == tpm2.TPMCCQuote {
			return responseCode(0x1D5), nil // TPM_RC_SIZE of parameter 1
		}

		return nil, nil
	})

	if _, err := owner.Quote(t.Context(), tpm.Request{ExtraData: bytes.Repeat([]byte{1}, 50), Selections: selection}); !errors.Is(err, tpm.ErrNonceTooLong) {
		t.Errorf("got %v, want ErrNonceTooLong", err)
	}

	if got := owner.State().Properties.MaxNonce; got != 49 {
		t.Errorf("MaxNonce is %d after 50 bytes were refused", got)
	}

	device.on(nil)
	mustQuote(t, owner, selection)
}

func TestTheTPMSignsAsMuchAsItAnnounces(t *testing.T) {
	t.Parallel()

	owner, states := own(t, start(t), nil)
	most := ready(t, states).Properties.MaxNonce

	if _, err := owner.Quote(t.Context(), tpm.Request{ExtraData: bytes.Repeat([]byte{1}, most), Selections: selection}); err != nil {
		t.Errorf("%d bytes: %v", most, err)
	}

	if _, err := owner.Quote(t.Context(), tpm.Request{ExtraData: bytes.Repeat([]byte{1}, most+1), Selections: selection}); !errors.Is(err, tpm.ErrNonceTooLong) {
		t.Errorf("%d bytes: got %v, want ErrNonceTooLong", most+1, err)
	}
}

func TestAnInactiveBankIsRefused(t *testing.T) {
	t.Parallel()

	owner, states := own(t, start(t), nil)
	banks := ready(t, states).Properties.Banks

	if slices.Contains(banks, tpm2.TPMAlgSHA512) {
		t.Fatalf("sha512 is active among %v", banks)
	}

	if _, err := owner.Quote(t.Context(), tpm.Request{ExtraData: nonce, Selections: []tpm.Selection{tpm.Select(tpm2.TPMAlgSHA512, 17)}}); !errors.Is(err, tpm.ErrBankInactive) {
		t.Errorf("got %v, want ErrBankInactive", err)
	}
}

// TestAStartWithARecordCostsThreeCommands: what the TPM is, and that the AK is where it was. The first quote also reads the PCRs.
func TestAStartWithARecordCostsThreeCommands(t *testing.T) {
	t.Parallel()

	device, record := &faults{TPM: start(t)}, filepath.Join(t.TempDir(), "ak.json")
	withRecord := func(o *tpm.Options) { o.RecordFile = record }

	_, states := own(t, device, withRecord)
	ready(t, states)
	device.take()

	owner, states := own(t, device, withRecord)
	ready(t, states)
	mustQuote(t, owner, selection)

	want := []tpm2.TPMCC{tpm2.TPMCCGetCapability, tpm2.TPMCCGetCapability, tpm2.TPMCCReadPublic, tpm2.TPMCCQuote, tpm2.TPMCCPCRRead}
	if diff := cmp.Diff(want, device.take()); diff != "" {
		t.Errorf("commands (-want +got):\n%s", diff)
	}
}
