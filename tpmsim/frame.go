package tpmsim

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/google/go-tpm/tpm2"
)

const (
	// headerSize is the size of a command's and a response's header: tag, size of
	// the whole, command or response code. TPM 2.0 Part 1, 18.
	headerSize = 10
	// maxFrame bounds commands and responses: swtpm's buffer.
	maxFrame = 4096
)

// header is the header of a command or a response.
type header struct {
	tag  tpm2.TPMST
	size uint32 // of header and body
	code uint32
}

func parseHeader(b [headerSize]byte) header {
	return header{
		tag:  tpm2.TPMST(binary.BigEndian.Uint16(b[0:])),
		size: binary.BigEndian.Uint32(b[2:]),
		code: binary.BigEndian.Uint32(b[6:]),
	}
}

// check refuses what is not the header of a TPM 2.0 command. The tag matters
// most: swtpm takes bytes that begin with another one as a prefix that chooses
// the locality of the command behind it.
func (h header) check() error {
	if h.tag != tpm2.TPMSTNoSessions && h.tag != tpm2.TPMSTSessions {
		return fmt.Errorf("%w: tag %#04x, want 0x8001 or 0x8002", ErrBadFrame, uint16(h.tag))
	}
	if h.size < headerSize || h.size > maxFrame {
		return fmt.Errorf("%w: size field says %d bytes, want %d to %d", ErrBadFrame, h.size, headerSize, maxFrame)
	}
	return nil
}

// checkCommand refuses anything but exactly one command.
func checkCommand(cmd []byte) error {
	if len(cmd) < headerSize || len(cmd) > maxFrame {
		return fmt.Errorf("%w: %d bytes, want %d to %d", ErrBadFrame, len(cmd), headerSize, maxFrame)
	}

	h := parseHeader([headerSize]byte(cmd))
	if err := h.check(); err != nil {
		return err
	}
	if int(h.size) != len(cmd) {
		return fmt.Errorf("%w: size field says %d bytes, there are %d", ErrBadFrame, h.size, len(cmd))
	}
	return nil
}

// readCommand reads one command. The error is io.EOF if r ends before it, and
// wraps ErrBadFrame if what comes is no command.
func readCommand(r io.Reader) ([]byte, error) {
	var head [headerSize]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}

	h := parseHeader(head)
	if err := h.check(); err != nil {
		return nil, err
	}
	return readBody(r, head, h.size)
}

// readResponse reads one response.
func readResponse(r io.Reader) ([]byte, error) {
	var head [headerSize]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}

	h := parseHeader(head)
	if h.size < headerSize || h.size > maxFrame {
		return nil, fmt.Errorf("response of %d bytes, want %d to %d", h.size, headerSize, maxFrame)
	}
	return readBody(r, head, h.size)
}

func readBody(r io.Reader, head [headerSize]byte, size uint32) ([]byte, error) {
	frame := make([]byte, size)
	copy(frame, head[:])
	if _, err := io.ReadFull(r, frame[headerSize:]); err != nil {
		return nil, err
	}
	return frame, nil
}
