package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/go-tpm/tpm2"
)

// tap is a TPM's socket in front of a TPM's socket. It counts the commands, and it can make each TPM2_Quote take longer, as it does on hardware: the TPM is
// busy for that long, for everybody.
type tap struct {
	socket   string
	listener net.Listener
	tpm      net.Conn
	delay    time.Duration
	commands atomic.Int64
	busy     atomic.Int64 // nanoseconds that the TPM had a command
	mu       sync.Mutex   // one command at a time
	clients  sync.WaitGroup
}

// newTap serves a TPM on a socket of its own.
func newTap(tpm *softTPM, delay time.Duration) (*tap, error) {
	conn, err := net.Dial("unix", tpm.socket)
	if err != nil {
		return nil, fmt.Errorf("tapping a TPM: %w", err)
	}

	t := &tap{socket: tpm.socket + ".tap", tpm: conn, delay: delay}

	if t.listener, err = net.Listen("unix", t.socket); err != nil {
		return nil, errors.Join(fmt.Errorf("tapping a TPM: %w", err), conn.Close())
	}

	t.clients.Go(t.accept)

	return t, nil
}

// close ends it; the clients have gone.
func (t *tap) close() error {
	err := errors.Join(t.listener.Close(), t.tpm.Close())
	t.clients.Wait()

	return err
}

func (t *tap) accept() {
	for {
		client, err := t.listener.Accept()
		if err != nil {
			return
		}

		t.clients.Go(func() {
			defer client.Close() //nolint:errcheck // nothing is buffered

			_ = t.serve(client) // it ends when the client goes
		})
	}
}

// serve carries one client's commands.
func (t *tap) serve(client net.Conn) error {
	for {
		command, err := readFrame(client)
		if err != nil {
			return err
		}

		response, err := t.Send(command)
		if err != nil {
			return err
		}

		if _, err := client.Write(response); err != nil {
			return err
		}
	}
}

// Send implements go-tpm's transport.TPM.
func (t *tap) Send(command []byte) ([]byte, error) {
	t.mu.Lock()
	defer t.mu.Unlock()

	t.commands.Add(1)

	began := time.Now()
	defer func() { t.busy.Add(int64(time.Since(began))) }()

	if tpm2.TPMCC(binary.BigEndian.Uint32(command[6:])) == tpm2.TPMCCQuote {
		time.Sleep(t.delay)
	}

	if _, err := t.tpm.Write(command); err != nil {
		return nil, err
	}

	return readFrame(t.tpm)
}

// readFrame reads one command or response: u16 tag, u32 size of the whole, u32 code, and the rest (TPM 2.0 Part 1, 18).
func readFrame(r io.Reader) ([]byte, error) {
	const headerSize, maxFrame = 10, 4096

	frame := make([]byte, headerSize, maxFrame)
	if _, err := io.ReadFull(r, frame); err != nil {
		return nil, err
	}

	size := binary.BigEndian.Uint32(frame[2:])
	if size < headerSize || size > maxFrame {
		return nil, fmt.Errorf("frame announces %d bytes", size)
	}

	frame = frame[:size]
	_, err := io.ReadFull(r, frame[headerSize:])

	return frame, err
}
