package tpm

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// retryFor is how long a command is repeated that the TPM answers with "retry".
const retryFor = 2 * time.Second

// line is the way to the TPM that all commands take. It repeats what the TPM asks to have repeated, and remembers when the way is broken.
type line struct {
	device  transport.TPMCloser
	sleep   func(time.Duration)
	retries func(tpm2.TPMRC)
	watch   *watch
	broken  bool
}

// Send implements transport.TPM.
func (l *line) Send(command []byte) ([]byte, error) {
	wait, waited := time.Millisecond, time.Duration(0)

	for {
		response, err := l.exchange(command)
		if err != nil {
			l.broken = true

			return nil, fmt.Errorf("%w: %w", errBroken, err)
		}

		if len(response) < headerSize {
			l.broken = true

			return nil, fmt.Errorf("%w: response of %d bytes", errBroken, len(response))
		}

		code := tpm2.TPMRC(binary.BigEndian.Uint32(response[6:]))
		if !retryable(code) || waited >= retryFor {
			return response, nil
		}

		l.retries(code)
		l.sleep(wait)
		waited += wait
		wait *= 2
	}
}

// exchange is one command and its response.
func (l *line) exchange(command []byte) ([]byte, error) {
	if len(command) < headerSize {
		return nil, fmt.Errorf("command of %d bytes", len(command))
	}

	l.watch.sent(tpm2.TPMCC(binary.BigEndian.Uint32(command[6:])))
	response, err := l.device.Send(command)
	l.watch.answered(err)

	return response, err
}

// retryable says whether the TPM asks for the same command again, unchanged.
func retryable(code tpm2.TPMRC) bool {
	switch code {
	// TPM 2.0 Part 2, 6.6.3, table 17: RC_WARN codes that end by themselves.
	case tpm2.TPMRCRetry, tpm2.TPMRCYielded, tpm2.TPMRCTesting, tpm2.TPMRCNVRate:
		return true
	default:
		return false
	}
}
