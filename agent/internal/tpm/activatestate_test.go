package tpm

import (
	"errors"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"github.com/trustpool/trustpool/tpmsim"
)

func TestATPMInFailureModeIsNotTheCallersError(t *testing.T) {
	t.Parallel()

	var name []byte
	tpm := watched(t, func(node *tpmsim.Node) { name = persistAK(t, node, ECDSAP256, 0, testAK) })
	ek := mustReadEKs(t, tpm, Auths{})[0]
	blob, encrypted := credential(t, ek, name)

	tpm.answer = func(code tpm2.TPMCC) []byte {
		if code == tpm2.TPMCCActivateCredential || code == tpm2.TPMCCGetRandom {
			return []byte{0x80, 0x01, 0, 0, 0, 10, 0, 0, 0x01, 0x01} // TPM_RC_FAILURE
		}

		return nil
	}

	_, err := activate(tpm, Auths{}, ek, testAK, name, blob, encrypted)
	if errors.Is(err, ErrCredential) || !errors.Is(err, tpm2.TPMRCFailure) {
		t.Errorf("got %v, want TPM_RC_FAILURE alone", err)
	}
}

func TestAnotherKeyAtTheAKsHandleIsNotActivated(t *testing.T) {
	t.Parallel()

	var other, name []byte

	tpm := watched(t, func(node *tpmsim.Node) {
		name = persistAK(t, node, ECDSAP256, 0, testAK+1)
		other = persistAK(t, node, ECDSAP256, 1, testAK)
	})
	ek := mustReadEKs(t, tpm, Auths{})[0]
	blob, encrypted := credential(t, ek, name)

	for _, handle := range []tpm2.TPMHandle{testAK, testAK + 2, 0x80000001} { // another key, no key, no transient key
		if _, err := activate(tpm, Auths{}, ek, handle, name, blob, encrypted); !errors.Is(err, ErrUnknownAK) {
			t.Errorf("handle 0x%08x: got %v, want ErrUnknownAK", uint32(handle), err)
		}
	}

	mustActivate(t, tpm, Auths{}, ek, other)
}

func TestTheEndorsementAuthorisationIsUsedAndNeverShown(t *testing.T) {
	t.Parallel()

	for what, value := range map[string][]byte{
		"words":       []byte("correct horse battery staple"),
		"zero inside": []byte("correct\x00horse\x00battery"),
		"zero behind": []byte("correct horse\x00\x00"),
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()

			var name []byte

			tpm := watched(t, func(node *tpmsim.Node) {
				name = persistAK(t, node, ECDSAP256, 0, testAK)
				evictEK(t, node, 0x81010001) // one EK is derived, one is persistent
				setAuth(t, node, tpm2.TPMRHEndorsement, value)
			})

			for _, ek := range mustReadEKs(t, tpm, Auths{Endorsement: value}) {
				mustActivate(t, tpm, Auths{Endorsement: value}, ek, name)
			}

			if tpm.saw(value[:7]) {
				t.Error("the value went to the TPM in clear")
			}
		})
	}
}

func TestWithoutTheEndorsementAuthorisationNothingIsActivated(t *testing.T) {
	t.Parallel()

	good := Auths{Endorsement: []byte("correct horse")}

	var name []byte

	tpm := watched(t, func(node *tpmsim.Node) {
		name = persistAK(t, node, ECDSAP256, 0, testAK)
		setAuth(t, node, tpm2.TPMRHEndorsement, good.Endorsement)
	})
	eks := append(mustReadEKs(t, tpm, good), EK{})

	eks[2] = eks[0] // the same key, derived
	eks[2].handle = 0

	for _, ek := range eks {
		if ek.handle == 0 && ek.template == nil {
			t.Fatal("the EK has no template")
		}

		blob, encrypted := credential(t, eks[0], name)

		for _, bad := range []Auths{{}, {Endorsement: []byte("wrong")}, {Owner: good.Endorsement}} {
			if _, err := activate(tpm, bad, ek, testAK, name, blob, encrypted); !errors.Is(err, ErrAuthRequired) {
				t.Errorf("handle 0x%08x, value %q: got %v, want ErrAuthRequired", uint32(ek.handle), bad.Endorsement, err)
			}
		}
	}
}

func TestAnEKThatHasToBeDerivedNeedsTheEndorsementAuthorisation(t *testing.T) {
	t.Parallel()

	tpm := watched(t, func(node *tpmsim.Node) {
		evictEK(t, node, 0x81010001)
		setAuth(t, node, tpm2.TPMRHEndorsement, []byte("correct horse"))
	})

	if _, err := readEKs(tpm, Auths{}, ""); !errors.Is(err, ErrAuthRequired) {
		t.Errorf("got %v, want ErrAuthRequired", err)
	}
}

func TestASwitchedOffHierarchyIsNamedByEKs(t *testing.T) {
	t.Parallel()

	var name []byte

	tpm := watched(t, func(node *tpmsim.Node) { name = persistAK(t, node, ECDSAP256, 0, testAK) })
	ek := mustReadEKs(t, tpm, Auths{})[0]
	blob, encrypted := credential(t, ek, name)

	raw(t, tpm.TPM, 0x121, 0x4000000c, 0x40, 0, 0, 0x0b, 0) // TPM2_HierarchyControl(TPM_RH_PLATFORM, TPM_RH_ENDORSEMENT, NO)

	if _, err := readEKs(tpm, Auths{}, ""); !errors.Is(err, ErrHierarchyDisabled) {
		t.Errorf("reading: got %v, want ErrHierarchyDisabled", err)
	}

	if _, err := activate(tpm, Auths{}, ek, testAK, name, blob, encrypted); !errors.Is(err, ErrHierarchyDisabled) {
		t.Errorf("activating: got %v, want ErrHierarchyDisabled", err)
	}

	raw(t, tpm.TPM, 0x121, 0x4000000c, 0x40, 0, 0, 0x0b, 1)
	mustActivate(t, tpm, Auths{}, ek, name)
}

func TestTheEKIsDerivedAgainAfterTPM2Clear(t *testing.T) {
	t.Parallel()

	var (
		eks  []EK
		name []byte
	)

	tpm := watched(t, func(node *tpmsim.Node) {
		eks = mustReadEKs(t, node, Auths{})

		_, err := tpm2.Clear{AuthHandle: tpm2.TPMRHPlatform}.Execute(node)
		must(t, err)

		name = persistAK(t, node, ECDSAP256, 0, testAK)
	})

	for _, ek := range eks {
		mustActivate(t, tpm, Auths{}, ek, name)
	}
}

func TestAnEKThatIsGoneForGoodIsNotReplaced(t *testing.T) {
	t.Parallel()

	var (
		eks  []EK
		name []byte
	)

	tpm := watched(t, func(node *tpmsim.Node) {
		eks = mustReadEKs(t, node, Auths{})
		raw(t, node, 0x124, 0x4000000c) // TPM2_ChangeEPS (TPM 2.0 Part 3, 24.4)
		name = persistAK(t, node, ECDSAP256, 0, testAK)
	})

	for _, ek := range eks {
		blob, encrypted := credential(t, ek, name)

		opened, err := activate(tpm, Auths{}, ek, testAK, name, blob, encrypted)
		if err == nil || errors.Is(err, ErrCredential) { // it is not the credential that is wrong
			t.Errorf("%s: opened %x, error %v", ek.KeySource, opened, err)
		}
	}
}

func TestAnotherKeyAtTheEKsHandleIsNotUsed(t *testing.T) {
	t.Parallel()

	var (
		ek   EK
		name []byte
	)

	tpm := watched(t, func(node *tpmsim.Node) {
		ek = mustReadEKs(t, node, Auths{})[0]
		name = persistAK(t, node, ECDSAP256, 0, testAK)
		evictEK(t, node, ek.handle)
		persistKey(t, node, tpm2.ECCEKTemplate, ek.handle)
	})
	mustActivate(t, tpm, Auths{}, ek, name)
}

func TestAFailureToFlushIsTold(t *testing.T) {
	t.Parallel()

	var name []byte
	tpm := watched(t, func(node *tpmsim.Node) { name = persistAK(t, node, ECDSAP256, 0, testAK) })
	ek := derivedEKs(t, tpm)[1]
	blob, encrypted := credential(t, ek, name)

	for _, nth := range []int{1, 2} { // the session, then the EK
		flushes := 0
		tpm.answer = func(code tpm2.TPMCC) []byte {
			if code == tpm2.TPMCCFlushContext {
				if flushes++; flushes == nth {
					return []byte{0x80, 0x01, 0, 0, 0, 10, 0, 0, 0x01, 0x01}
				}
			}

			return nil
		}

		if _, err := activate(tpm, Auths{}, ek, testAK, name, blob, encrypted); !errors.Is(err, tpm2.TPMRCFailure) {
			t.Errorf("flush %d: got %v, want TPM_RC_FAILURE", nth, err)
		}

		tpm.answer = nil
	}

	for _, kind := range []tpm2.TPMHandle{0x80000000, 0x02000000} {
		handles, err := handlesBetween(tpm, kind, kind|0xffffff)
		must(t, err)

		for _, handle := range handles {
			_, err := tpm2.FlushContext{FlushHandle: handle}.Execute(tpm)
			must(t, err)
		}
	}
}
