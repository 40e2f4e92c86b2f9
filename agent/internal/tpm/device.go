package tpm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"

	"github.com/google/go-tpm/tpm2/transport"
	"golang.org/x/sys/unix"
)

// maxFrame bounds commands and responses. The kernel's TPM_BUFSIZE is 4096 (drivers/char/tpm/tpm.h).
const maxFrame = 4096

// devices is where Linux keeps its devices.
const devices = "/dev"

// Open opens the TPM at path: the kernel's resource manager (/dev/tpmrm0, or Auto), or a unix socket that carries the same frames.
func Open(path string) (transport.TPMCloser, error) {
	return openIn(devices, path)
}

// openIn is Open with the folder where Auto looks.
func openIn(dir, path string) (transport.TPMCloser, error) {
	if path == Auto {
		found, err := find(dir)
		if err != nil {
			return nil, fmt.Errorf("opening the TPM: %w", err)
		}

		path = found
	}

	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("opening the TPM: %w", missing(path, err))
	}

	if info.Mode().Type() == fs.ModeSocket {
		conn, err := net.Dial("unix", path)
		if err != nil {
			return nil, fmt.Errorf("opening the TPM: %w", err)
		}

		return &device{rw: conn}, nil
	}

	if info.Mode().Type() != fs.ModeDevice|fs.ModeCharDevice {
		return nil, fmt.Errorf("opening the TPM: %s is neither a character device nor a socket", path)
	}

	// Blocking: with O_NONBLOCK, which os.OpenFile would set, the kernel only queues a command, and a read that comes before the response gives 0 bytes.
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("opening the TPM: %w", &fs.PathError{Op: "open", Path: path, Err: err})
	}

	return &device{rw: os.NewFile(uintptr(fd), path)}, nil // #nosec G115 -- a file descriptor
}

// device carries one command at a time: a write is a command, and the reads that follow are its response.
type device struct {
	rw io.ReadWriteCloser
	// frame is where responses are read into. What callers get is their own, and no longer than it has to be: replies to quotes keep it.
	frame [maxFrame]byte
}

// Send implements transport.TPM.
func (d *device) Send(command []byte) ([]byte, error) {
	if _, err := d.rw.Write(command); err != nil {
		return nil, fmt.Errorf("sending a TPM command: %w", err)
	}

	n, err := d.readResponse(d.frame[:])
	if err != nil {
		return nil, fmt.Errorf("receiving a TPM response: %w", err)
	}

	return bytes.Clone(d.frame[:n]), nil
}

// readResponse reads one frame. The kernel gives it in one read, a socket perhaps in several.
func (d *device) readResponse(buf []byte) (int, error) {
	n, err := io.ReadAtLeast(d.rw, buf, headerSize)
	if err != nil {
		return 0, err
	}

	size := int(binary.BigEndian.Uint32(buf[2:]))
	if size < headerSize || size > len(buf) || size < n {
		return 0, fmt.Errorf("frame of %d bytes announces %d", n, size)
	}

	if _, err := io.ReadFull(d.rw, buf[n:size]); err != nil {
		return 0, err
	}

	return size, nil
}

// Close implements transport.TPMCloser.
func (d *device) Close() error {
	return d.rw.Close()
}

// errBroken says that the way to the TPM is gone; the device has to be opened again.
var errBroken = errors.New("connection to the TPM broken")

// headerSize is that of commands and responses: u16 tag, u32 size, u32 code (TPM 2.0 Part 3, 4.2 and 4.3).
const headerSize = 10
