package tpmsim

import (
	"bytes"
	"fmt"

	"github.com/google/go-tpm/tpm2"
)

// Localities. Intel TXT MLE Developer's Guide, table B-2.
const (
	localityOS    uint8 = 0
	localityMLE   uint8 = 2
	localitySINIT uint8 = 3
)

const (
	pcrDetails     uint32 = 17
	pcrAuthorities uint32 = 18
	// pcrMapping stands where the PCR_MAPPING event, which is not extended, has
	// its PCR. Intel TXT MLE Developer's Guide, appendix E.
	pcrMapping uint32 = 0xff
)

// launch is a measured launch: what the processor measures by itself and what is
// extended after it.
type launch struct {
	// hashStart is the data of the hash sequence: SHA-256 of SINIT and the EDX
	// value of GETSEC[SENTER], 36 bytes, the same for all banks.
	hashStart []byte
	steps     []step
}

// step is one event after the hash sequence.
type step struct {
	locality uint8
	pcr      uint32
	typ      eventType
	// data is what the log tells. The digest need not be its hash.
	data []byte
	// measure returns the digest that a bank is extended with.
	measure func(bank) []byte
	// banks are those extended and logged. tboot may be told to extend only
	// SHA-256 while SINIT extends all.
	banks []bank
}

// addCap adds a cap at the end of PCRs 17 and 18, by whoever extended them last.
// Intel TXT MLE Developer's Guide, table E-6.
func (l *launch) addCap() {
	last := l.steps[len(l.steps)-1]
	for _, pcr := range []uint32{pcrDetails, pcrAuthorities} {
		s := hashed(pcr, evtypeCapValue, []byte{1})
		s.locality, s.banks = last.locality, last.banks
		l.steps = append(l.steps, s)
	}
}

// run performs the launch on a TPM that was just started and returns its
// events. Afterwards the TPM is at locality 0; after an error it is at any.
func (l *launch) run(m *machine) ([]record, error) {
	first, err := l.runHashSequence(m)
	if err != nil {
		return nil, fmt.Errorf("starting the dynamic root of trust: %w", err)
	}

	records := []record{first}
	locality := uint8(4)
	for _, s := range l.steps {
		if s.locality != locality {
			if err := m.ctrl.setLocality(s.locality); err != nil {
				return nil, fmt.Errorf("taking locality %d: %w", s.locality, err)
			}
			locality = s.locality
		}

		r := s.record()
		if err := extend(m, r); err != nil {
			return nil, fmt.Errorf("extending PCR %d with event type %#x: %w", r.pcr, uint32(r.typ), err)
		}
		records = append(records, r)
	}

	if err := m.ctrl.setLocality(localityOS); err != nil {
		return nil, fmt.Errorf("giving up locality %d: %w", locality, err)
	}
	return records, nil
}

// runHashSequence runs the hash sequence and reads PCR 17 back, because a
// sequence that went wrong reports success and changes nothing.
func (l *launch) runHashSequence(m *machine) (record, error) {
	r := record{pcr: pcrDetails, typ: evtypeHashStart, data: l.hashStart}
	if err := m.ctrl.hashSequence(l.hashStart); err != nil {
		return record{}, err
	}

	for _, b := range activeBanks() {
		d := b.sum(l.hashStart)
		r.digests = append(r.digests, digest{b.alg, d})

		got, err := readPCR(m, b, pcrDetails)
		if err != nil {
			return record{}, fmt.Errorf("reading PCR %d: %w", pcrDetails, err)
		}
		if want := b.sum(b.zeros(), d); !bytes.Equal(got, want) {
			return record{}, fmt.Errorf("PCR %d is %x in bank %#x, want %x", pcrDetails, got, uint16(b.alg), want)
		}
	}
	return r, nil
}

// record returns the event of the step.
func (s step) record() record {
	r := record{pcr: s.pcr, typ: s.typ, data: s.data}
	for _, b := range s.banks {
		r.digests = append(r.digests, digest{b.alg, s.measure(b)})
	}
	return r
}

// tamper changes what a log tells of the measured environment, in every bank.
func tamper(records []record) {
	for _, r := range records {
		if r.typ != evtypeMLEHash {
			continue
		}
		for _, d := range r.digests {
			d.value[0] ^= 1
		}
	}
}

// extend extends the digests of an event into its PCR, all banks in one command.
func extend(m *machine, r record) error {
	if r.pcr == pcrMapping {
		return nil
	}

	cmd := tpm2.PCRExtend{PCRHandle: tpm2.AuthHandle{Handle: tpm2.TPMHandle(r.pcr), Auth: tpm2.PasswordAuth(nil)}}
	for _, d := range r.digests {
		cmd.Digests.Digests = append(cmd.Digests.Digests, tpm2.TPMTHA{HashAlg: d.alg, Digest: d.value})
	}
	_, err := cmd.Execute(m)
	return err
}

func readPCR(m *machine, b bank, pcr uint32) ([]byte, error) {
	read, err := tpm2.PCRRead{PCRSelectionIn: tpm2.TPMLPCRSelection{
		PCRSelections: []tpm2.TPMSPCRSelection{{
			Hash:      b.alg,
			PCRSelect: tpm2.PCClientCompatible.PCRs(uint(pcr)),
		}},
	}}.Execute(m)
	if err != nil {
		return nil, err
	}
	if n := len(read.PCRValues.Digests); n != 1 {
		return nil, fmt.Errorf("bank %#x gave %d values, want 1", uint16(b.alg), n)
	}
	return read.PCRValues.Digests[0].Buffer, nil
}
