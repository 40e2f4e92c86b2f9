package tpmsim_test

import (
	"crypto"
	"encoding/binary"
	"testing"

	"github.com/google/go-tpm/tpm2"
)

// event is one event of a log as these tests read it, by a reader of their own.
type event struct {
	pcr, typ uint32
	digests  map[tpm2.TPMAlgID][]byte
	data     []byte
}

// readLog reads a crypto-agile log to its last byte.
func readLog(t *testing.T, log []byte) (header []byte, events []event) {
	t.Helper()
	defer func() {
		if recover() != nil {
			t.Fatal("the log ends within an event")
		}
	}()

	take := func(n uint32) []byte {
		b := log[:n]
		log = log[n:]
		return b
	}
	u32 := func() uint32 { return binary.LittleEndian.Uint32(take(4)) }

	header = append(take(28), take(u32())...)
	for len(log) > 0 {
		e := event{pcr: u32(), typ: u32(), digests: map[tpm2.TPMAlgID][]byte{}}
		for range u32() {
			alg := tpm2.TPMAlgID(binary.LittleEndian.Uint16(take(2)))
			e.digests[alg] = take(uint32(hashOf(t, alg).Size()))
		}
		e.data = take(u32())
		events = append(events, e)
	}
	return header, events
}

// replay returns what a bank's PCRs are after a launch with these events.
func replay(t *testing.T, events []event, alg tpm2.TPMAlgID) map[uint32][]byte {
	t.Helper()

	hash := hashOf(t, alg)
	pcrs := make(map[uint32][]byte)
	for pcr := uint32(17); pcr <= 22; pcr++ {
		pcrs[pcr] = make([]byte, hash.Size())
	}
	for _, e := range events {
		if e.typ == 0x401 { // PCR_MAPPING is not extended
			continue
		}
		if e.digests[alg] == nil { // nor is what the bank was not told of
			continue
		}
		pcrs[e.pcr] = sum(hash, pcrs[e.pcr], e.digests[alg])
	}
	return pcrs
}

func hashOf(t *testing.T, alg tpm2.TPMAlgID) crypto.Hash {
	t.Helper()

	hash, err := alg.Hash()
	if err != nil {
		t.Fatalf("bank %#x: %v", uint16(alg), err)
	}
	return hash
}

func sum(hash crypto.Hash, parts ...[]byte) []byte {
	h := hash.New()
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}
