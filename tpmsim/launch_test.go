package tpmsim_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-tpm/tpm2"

	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/tpmsim/tpmsimtest"
)

func TestReplayOfTheLogGivesThePCRs(t *testing.T) {
	t.Parallel()
	for _, scenario := range []tpmsim.Scenario{"", tpmsim.Trusted, tpmsim.OtherHypervisor, tpmsim.OtherKernel, tpmsim.Capped} {
		n := tpmsimtest.Start(t, tpmsim.Options{Scenario: scenario})
		_, events := readLog(t, n.EventLog())

		for name, alg := range hashAlgs() {
			for pcr, want := range replay(t, events, alg) {
				if got := readPCR(t, n, alg, uint(pcr)); !bytes.Equal(got, want) {
					t.Errorf("%q: %s:%d is %x, the log replays to %x", scenario, name, pcr, got, want)
				}
			}
		}
	}
}

func TestLogListsTheEventsOfARealLaunch(t *testing.T) {
	t.Parallel()
	n := tpmsimtest.Start(t, tpmsim.Options{})
	header, events := readLog(t, n.EventLog())

	wantHeader := "00000000" + "03000000" + fmt.Sprintf("%040x", 0) + // PCR 0, EV_NO_ACTION, no digest
		hex.EncodeToString([]byte("Spec ID Event03\x00")) + "00000000" + "00020001" +
		"03000000" + "04001400" + "0b002000" + "0c003000" + "00"
	if got := hex.EncodeToString(header); got != wantHeader {
		t.Errorf("header = %s, want %s", got, wantHeader)
	}

	want := []string{
		"17 0x402 36", "255 0x401 4",
		"17 0x40a 32", "17 0x40b 4", "17 0x40c 4", "17 0x412 1", "17 0x40e 1", "17 0x40f 4", "17 0x404 0", "17 0x414 95",
		"18 0x410 0", "18 0x40b 4", "18 0x40f 4", "18 0x40c 4", "18 0x413 1", "18 0x414 95",
		"17 0x501 0", "18 0x501 0", "17 0x501 0", "17 0x501 0", "17 0x501 0",
	}
	var got []string
	for _, e := range events {
		got = append(got, fmt.Sprintf("%d %#x %d", e.pcr, e.typ, len(e.data)))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("PCR, type and data size of the events (-want +got):\n%s", diff)
	}
}

func TestDigestsAreOfTheData(t *testing.T) {
	t.Parallel()
	n := tpmsimtest.Start(t, tpmsim.Options{})
	_, events := readLog(t, n.EventLog())

	for i, e := range events {
		if len(e.data) == 0 {
			continue
		}
		for name, alg := range hashAlgs() {
			want := sum(hashOf(t, alg), e.data)
			if e.pcr == 0xff { // PCR_MAPPING has none
				want = make([]byte, len(want))
			}
			if !bytes.Equal(e.digests[alg], want) {
				t.Errorf("event %d, type %#x: %s digest is %x, want %x", i, e.typ, name, e.digests[alg], want)
			}
		}
	}
}

func TestTbootPolicyIsTheOneOfTheField(t *testing.T) {
	t.Parallel()
	n := tpmsimtest.Start(t, tpmsim.Options{})
	_, events := readLog(t, n.EventLog())

	// What hosts with tboot's stock policy log, whatever else they boot.
	const stock = "71be5852a14eabefebf0df0e1acc5da291883b6d4c5ab20914ed987c1daf3f91"
	for _, i := range []int{16, 17} {
		if got := hex.EncodeToString(events[i].digests[tpm2.TPMAlgSHA256]); got != stock {
			t.Errorf("event %d: digest = %s, want %s", i, got, stock)
		}
	}
}

func TestOtherModuleDiffersInOneEvent(t *testing.T) {
	t.Parallel()
	trusted := tpmsimtest.Start(t, tpmsim.Options{})
	_, want := readLog(t, trusted.EventLog())
	before := allPCRs(t, trusted)

	for scenario, module := range map[tpmsim.Scenario]int{tpmsim.OtherHypervisor: 18, tpmsim.OtherKernel: 19} {
		other := tpmsimtest.Start(t, tpmsim.Options{Scenario: scenario})
		_, got := readLog(t, other.EventLog())
		if len(got) != len(want) {
			t.Fatalf("%s: %d events, want %d", scenario, len(got), len(want))
		}
		for i := range want {
			if same := cmp.Equal(want[i], got[i], cmp.AllowUnexported(event{})); same == (i == module) {
				t.Errorf("%s: event %d: same = %v", scenario, i, same)
			}
		}
		for name, alg := range hashAlgs() {
			if bytes.Equal(want[module].digests[alg], got[module].digests[alg]) {
				t.Errorf("%s: the module has the same %s digest", scenario, name)
			}
		}

		after := allPCRs(t, other)
		for pcr := range before {
			differs := before[pcr] != after[pcr]
			if is17 := pcr == "sha1:17" || pcr == "sha256:17" || pcr == "sha384:17"; differs != is17 {
				t.Errorf("%s: PCR %s: differs = %v", scenario, pcr, differs)
			}
		}
	}
}

func TestSameScenarioGivesTheSameValuesOnEveryNode(t *testing.T) {
	t.Parallel()
	a, b := tpmsimtest.Start(t, tpmsim.Options{}), tpmsimtest.Start(t, tpmsim.Options{})

	if !bytes.Equal(a.EventLog(), b.EventLog()) {
		t.Error("the logs differ")
	}
	if diff := cmp.Diff(allPCRs(t, a), allPCRs(t, b)); diff != "" {
		t.Errorf("the PCRs differ:\n%s", diff)
	}
	if cmp.Equal(keyNames(t, a), keyNames(t, b)) {
		t.Error("the nodes have the same keys")
	}
}

func TestNoLaunchLeavesAllOnesAndNoLog(t *testing.T) {
	t.Parallel()
	n := tpmsimtest.Start(t, tpmsim.Options{Scenario: tpmsim.NoLaunch})

	if log := n.EventLog(); log != nil {
		t.Errorf("log of %d bytes, want nil", len(log))
	}
	for name, alg := range hashAlgs() {
		for pcr := uint(17); pcr <= 22; pcr++ {
			got := readPCR(t, n, alg, pcr)
			if want := bytes.Repeat([]byte{0xff}, hashOf(t, alg).Size()); !bytes.Equal(got, want) {
				t.Errorf("%s:%d = %x, want all ones", name, pcr, got)
			}
		}
	}
}

func TestSHA512BankIsInactive(t *testing.T) {
	t.Parallel()
	n := tpmsimtest.Start(t, tpmsim.Options{})
	if got := readPCR(t, n, tpm2.TPMAlgSHA512, 17); got != nil {
		t.Errorf("sha512:17 = %x, want no value", got)
	}
}

func TestLocality0CanNeitherExtendNorResetTheLaunch(t *testing.T) {
	t.Parallel()
	for _, scenario := range tpmsim.Scenarios() {
		n := tpmsimtest.Start(t, tpmsim.Options{Scenario: scenario})
		before := allPCRs(t, n)

		for pcr := uint32(17); pcr <= 19; pcr++ {
			digests := tpm2.TPMLDigestValues{Digests: []tpm2.TPMTHA{{HashAlg: tpm2.TPMAlgSHA256, Digest: make([]byte, 32)}}}
			_, extendErr := tpm2.PCRExtend{PCRHandle: pcrHandle(pcr), Digests: digests}.Execute(n)
			_, eventErr := tpm2.PCREvent{PCRHandle: pcrHandle(pcr)}.Execute(n)
			_, resetErr := tpm2.PCRReset{PCRHandle: pcrHandle(pcr)}.Execute(n)

			for name, err := range map[string]error{"Extend": extendErr, "Event": eventErr, "Reset": resetErr} {
				if !errors.Is(err, tpm2.TPMRCLocality) {
					t.Errorf("%s: PCR_%s of PCR %d: error = %v, want TPM_RC_LOCALITY", scenario, name, pcr, err)
				}
			}
		}
		if diff := cmp.Diff(before, allPCRs(t, n)); diff != "" {
			t.Errorf("%s: PCRs (-before +after):\n%s", scenario, diff)
		}
	}
}
