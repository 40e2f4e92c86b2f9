package vmtest

import (
	"encoding/binary"
	"fmt"
)

// controlCommand is a command of swtpm's control channel (PTM_* and CMD_* of its tpm_ioctl.h).
type controlCommand uint32

const (
	controlSetLocality controlCommand = 0x05
	controlHashStart   controlCommand = 0x06
	controlHashData    controlCommand = 0x07
	controlHashEnd     controlCommand = 0x08
	controlSetDataFD   controlCommand = 0x10
)

// ask forwards one control request and returns its response.
func (m *Mux) ask(request []byte) ([]byte, error) {
	m.controlTurn.Lock()
	defer m.controlTurn.Unlock()

	if _, err := m.control.Write(request); err != nil {
		return nil, fmt.Errorf("forwarding a control request: %w", err)
	}

	// swtpm writes a response at once, and is asked nothing more before it came.
	response := make([]byte, maxControl)

	n, err := m.control.Read(response)
	if err != nil {
		return nil, fmt.Errorf("waiting for a control response: %w", err)
	}

	return response[:n], nil
}

// do carries out one control command whose response is a result code.
func (m *Mux) do(command controlCommand, body []byte) error {
	response, err := m.ask(append(binary.BigEndian.AppendUint32(nil, uint32(command)), body...))
	if err != nil {
		return err
	}

	if len(response) < 4 {
		return fmt.Errorf("control command %#x: response of %d bytes", uint32(command), len(response))
	}

	if result := binary.BigEndian.Uint32(response); result != 0 {
		return fmt.Errorf("control command %#x: TPM result %#x", uint32(command), result)
	}

	return nil
}
