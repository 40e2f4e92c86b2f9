package vmtest

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
)

const (
	// headerSize is that of TPM commands and responses: u16 tag, u32 size, u32 code (TPM 2.0 Part 3, 4.2 and 4.3).
	headerSize = 10
	// maxFrame bounds both; swtpm's buffer is 4096 bytes.
	maxFrame = 4096
)

// Command is one TPM command that reached swtpm.
type Command struct {
	// Code is its TPM_CC.
	Code uint32
	// Result is its TPM_RC.
	Result uint32
	// Took is how long swtpm had it.
	Took time.Duration
}

// Send implements go-tpm's transport.TPM. Commands are carried out one after the other, those of QEMU and of others, at the locality that QEMU has set.
func (m *Mux) Send(command []byte) ([]byte, error) {
	m.dataTurn.Lock()
	defer m.dataTurn.Unlock()

	return m.send(command)
}

// send is Send for who holds dataTurn.
func (m *Mux) send(command []byte) ([]byte, error) {
	began := time.Now()

	if _, err := m.data.Write(command); err != nil {
		return nil, fmt.Errorf("sending a TPM command: %w", err)
	}

	response, err := readFrame(m.data)
	if err != nil {
		return nil, fmt.Errorf("waiting for a TPM response: %w", err)
	}

	m.seen.add(Command{Code: code(command), Result: code(response), Took: time.Since(began)})

	return response, nil
}

// Watch returns the commands that reach the TPM from now on: stop ends the watch and returns them. One watch at a time.
func (m *Mux) Watch() (stop func() []Command) {
	m.seen.start()

	return m.seen.stop
}

// code returns a command's or a response's code.
func code(frame []byte) uint32 {
	return binary.BigEndian.Uint32(frame[6:])
}

// readFrame reads one command or response. io.EOF means that none came.
func readFrame(r io.Reader) ([]byte, error) {
	frame := make([]byte, headerSize, maxFrame)
	if _, err := io.ReadFull(r, frame); err != nil {
		return nil, err
	}

	size := binary.BigEndian.Uint32(frame[2:])
	if size < headerSize || size > maxFrame {
		return nil, fmt.Errorf("a frame announces %d bytes", size)
	}

	frame = frame[:size]
	if _, err := io.ReadFull(r, frame[headerSize:]); err != nil {
		return nil, fmt.Errorf("a frame breaks off: %w", err)
	}

	return frame, nil
}

// recorder keeps commands while somebody watches.
type recorder struct {
	lock     sync.Mutex
	on       bool
	commands []Command
}

func (r *recorder) add(c Command) {
	r.lock.Lock()
	defer r.lock.Unlock()

	if r.on {
		r.commands = append(r.commands, c)
	}
}

func (r *recorder) start() {
	r.lock.Lock()
	defer r.lock.Unlock()

	r.on, r.commands = true, nil
}

func (r *recorder) stop() []Command {
	r.lock.Lock()
	defer r.lock.Unlock()

	r.on = false

	return slices.Clone(r.commands)
}
