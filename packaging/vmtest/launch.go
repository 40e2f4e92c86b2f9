package vmtest

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// Launch is a measured launch as the TPM sees it.
type Launch struct {
	// HashStart is the data of the hash sequence, which PCR 17 begins with.
	HashStart []byte
	// Extends follow, in order.
	Extends []Extend
}

// Extend is what SINIT or the measured environment extends.
type Extend struct {
	// Locality is where from: 3 for SINIT, 2 for the measured environment (Intel TXT MLE Developer's Guide, table B-2).
	Locality uint8
	PCR      uint32
	// Digests has one for each bank.
	Digests []tpm2.TPMTHA
}

// Launch performs a measured launch on the running TPM: the hash sequence at locality 4, which sets PCRs 17 to 22 to zeros and extends the hash of the data into PCR 17
// (TPM 2.0 Part 3, 22.9 to 22.11; PC Client Platform TPM Profile, 4.6), then the extends. Nothing of the guest reaches the TPM meanwhile, and afterwards the TPM is at
// locality 0 again, where QEMU has left it.
func (m *Mux) Launch(l Launch) (err error) {
	m.dataTurn.Lock()
	defer m.dataTurn.Unlock()

	if err := m.hashSequence(l.HashStart); err != nil {
		return fmt.Errorf("starting the dynamic root of trust: %w", err)
	}

	defer func() { err = errors.Join(err, m.do(controlSetLocality, []byte{0})) }()

	for _, extend := range l.Extends {
		if err := m.do(controlSetLocality, []byte{extend.Locality}); err != nil {
			return fmt.Errorf("taking locality %d: %w", extend.Locality, err)
		}

		_, err := tpm2.PCRExtend{
			PCRHandle: tpm2.AuthHandle{Handle: tpm2.TPMHandle(extend.PCR), Auth: tpm2.PasswordAuth(nil)},
			Digests:   tpm2.TPMLDigestValues{Digests: extend.Digests},
		}.Execute(held{m})
		if err != nil {
			return fmt.Errorf("extending PCR %d: %w", extend.PCR, err)
		}
	}

	return nil
}

// hashSequence runs _TPM_Hash_Start, _TPM_Hash_Data and _TPM_Hash_End.
func (m *Mux) hashSequence(data []byte) error {
	if len(data) == 0 || len(data) > maxFrame {
		return fmt.Errorf("%d bytes to hash, want 1 to %d", len(data), maxFrame)
	}

	if err := m.do(controlHashStart, nil); err != nil {
		return err
	}

	body := append(binary.BigEndian.AppendUint32(nil, uint32(len(data))), data...) // #nosec G115 -- bounded above
	if err := m.do(controlHashData, body); err != nil {
		return err
	}

	return m.do(controlHashEnd, nil)
}

// held is a Mux whose dataTurn is held.
type held struct{ m *Mux }

var _ transport.TPM = held{}

// Send implements transport.TPM.
func (h held) Send(command []byte) ([]byte, error) {
	return h.m.send(command)
}
