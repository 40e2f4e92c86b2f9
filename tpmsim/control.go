package tpmsim

import (
	"encoding/binary"
	"fmt"
	"io"
)

// controlCommand is a command of swtpm's control channel, a PTM_* of swtpm's
// tpm_ioctl.h.
type controlCommand uint32

const (
	controlInit        controlCommand = 2
	controlShutdown    controlCommand = 3
	controlSetLocality controlCommand = 5
	controlHashStart   controlCommand = 6
	controlHashData    controlCommand = 7
	controlHashEnd     controlCommand = 8
)

// control is swtpm's control channel. Who holds it can act as the chipset does:
// power the TPM, choose a locality, run the dynamic root of trust. Only a machine
// holds it.
type control struct {
	rw io.ReadWriter
}

// powerCycle resets the TPM as a power cycle does. TPM2_Startup is the caller's
// next step. Unlike other failures, a failed start leaves swtpm running.
func (c control) powerCycle() error {
	return c.do(controlInit, binary.BigEndian.AppendUint32(nil, 0))
}

// shutdown makes swtpm end.
func (c control) shutdown() error { return c.do(controlShutdown, nil) }

// setLocality chooses the locality of all commands that follow.
func (c control) setLocality(locality uint8) error {
	return c.do(controlSetLocality, []byte{locality})
}

// hashSequence runs _TPM_Hash_Start, _TPM_Hash_Data and _TPM_Hash_End, which act
// at locality 4: PCRs 17 to 22 become zeros and PCR 17 is extended with the
// hash of data, in every bank.
// TPM 2.0 Part 3, 22.9 to 22.11; PC Client Platform TPM Profile, 4.6.
func (c control) hashSequence(data []byte) error {
	if err := c.do(controlHashStart, nil); err != nil {
		return err
	}

	//nolint:gosec // the only data is 36 bytes long
	body := append(binary.BigEndian.AppendUint32(nil, uint32(len(data))), data...)
	if err := c.do(controlHashData, body); err != nil {
		return err
	}

	return c.do(controlHashEnd, nil)
}

// do sends one command and reads its result, which for all of the commands above
// is one 32-bit code, 0 for success. swtpm wants the request in one write.
func (c control) do(cmd controlCommand, body []byte) error {
	request := append(binary.BigEndian.AppendUint32(nil, uint32(cmd)), body...)
	if _, err := c.rw.Write(request); err != nil {
		return fmt.Errorf("writing control command %d: %w", cmd, err)
	}

	var response [4]byte
	if _, err := io.ReadFull(c.rw, response[:]); err != nil {
		return fmt.Errorf("reading the result of control command %d: %w", cmd, err)
	}
	if code := binary.BigEndian.Uint32(response[:]); code != 0 {
		return fmt.Errorf("control command %d failed with TPM result %#x", cmd, code)
	}
	return nil
}
