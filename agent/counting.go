package agent

import (
	"encoding/binary"
	"slices"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// counting counts the commands that a TPM does not carry out, apart from those that it wants to have repeated.
type counting struct {
	transport.TPMCloser

	failed func(error)
}

// Send implements transport.TPM.
func (c counting) Send(command []byte) ([]byte, error) {
	response, err := c.TPMCloser.Send(command)
	if err != nil {
		c.failed(err)

		return nil, err
	}

	// TPM 2.0 Part 3, 4.3: u16 tag, u32 size, u32 response code.
	const header = 10

	if len(response) < header {
		return response, nil
	}

	code := tpm2.TPMRC(binary.BigEndian.Uint32(response[6:]))
	if code != tpm2.TPMRCSuccess && !slices.Contains(retriedCodes(), code) {
		c.failed(code)
	}

	return response, nil
}

// counted returns a way of opening the TPM whose failures are counted.
func counted(open func() (transport.TPMCloser, error), failed func(error)) func() (transport.TPMCloser, error) {
	return func() (transport.TPMCloser, error) {
		device, err := open()
		if err != nil {
			return nil, err
		}

		return counting{device, failed}, nil
	}
}
