package vmtest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// Mux shares one swtpm between QEMU and a test. It holds both channels of swtpm. QEMU, which believes it talks to swtpm, has its control requests forwarded one at a
// time; the data channel that it hands over by CMD_SET_DATAFD is not passed on: the Mux carries its commands itself, which is how it sees them and can act between
// two of them.
//
// It carries no state blobs, so the machine can be neither migrated nor saved.
type Mux struct {
	control, data net.Conn

	// controlTurn and dataTurn are held for one request and its response. Who needs both takes data first.
	controlTurn, dataTurn sync.Mutex
	seen                  recorder
}

// NewMux returns a Mux on the control and data channels of a swtpm, which it does not close.
func NewMux(control, data net.Conn) *Mux {
	return &Mux{control: control, data: data}
}

// Serve accepts QEMU on its TPM chardev's unix socket and serves it until it hangs up or ctx ends; then it returns nil. It closes the listener.
func (m *Mux) Serve(ctx context.Context, listener *net.UnixListener) error {
	unlisten := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer unlisten()
	defer listener.Close() //nolint:errcheck // nobody else is to come

	qemu, err := listener.AcceptUnix()
	if err != nil {
		return endedBy(ctx, fmt.Errorf("waiting for QEMU: %w", err))
	}

	group, groupCtx := errgroup.WithContext(ctx)
	hangUp := context.AfterFunc(groupCtx, func() { _ = qemu.Close() })
	defer hangUp()

	group.Go(func() error { return m.serveControl(groupCtx, group, qemu) })

	return endedBy(ctx, group.Wait())
}

// endedBy forgives an error that the end of ctx led to, and QEMU's hanging up.
func endedBy(ctx context.Context, err error) error {
	if ctx.Err() != nil || errors.Is(err, errHungUp) {
		return nil
	}

	return err
}

// errHungUp says that QEMU has closed its end, as it does when it ends.
var errHungUp = errors.New("QEMU hung up")

// maxControl bounds a control request and its response. swtpm's largest without a state blob is PTM_HASH_DATA's, 4 KiB (tpm_ioctl.h).
const maxControl = 8 << 10

// serveControl forwards QEMU's control requests, until it hangs up.
func (m *Mux) serveControl(ctx context.Context, group *errgroup.Group, qemu *net.UnixConn) error {
	for buf, oob := make([]byte, maxControl), make([]byte, unix.CmsgSpace(4)); ; {
		n, oobn, _, _, err := qemu.ReadMsgUnix(buf, oob)
		if errors.Is(err, io.EOF) || n == 0 {
			return errHungUp
		}

		if err != nil {
			return fmt.Errorf("reading a control request: %w", err)
		}

		response, err := m.answer(ctx, group, buf[:n], oob[:oobn])
		if err != nil {
			return err
		}

		if _, err := qemu.Write(response); err != nil {
			return fmt.Errorf("answering a control request: %w", err)
		}
	}
}

// answer takes over a data channel, and asks swtpm everything else.
func (m *Mux) answer(ctx context.Context, group *errgroup.Group, request, oob []byte) ([]byte, error) {
	if len(request) < 4 || controlCommand(binary.BigEndian.Uint32(request)) != controlSetDataFD {
		return m.ask(request)
	}

	conn, err := receiveConn(oob)
	if err != nil {
		return nil, fmt.Errorf("taking over the data channel: %w", err)
	}

	hangUp := context.AfterFunc(ctx, func() { _ = conn.Close() })

	group.Go(func() error {
		defer hangUp()
		defer conn.Close() //nolint:errcheck // QEMU has gone

		return m.serveData(conn)
	})

	return make([]byte, 4), nil // TPM_SUCCESS
}

// receiveConn takes the one descriptor out of a control message (unix(7), SCM_RIGHTS).
func receiveConn(oob []byte) (net.Conn, error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}

	if len(messages) != 1 {
		return nil, fmt.Errorf("%d control messages, want one", len(messages))
	}

	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return nil, err
	}

	if len(fds) != 1 {
		return nil, fmt.Errorf("%d descriptors, want one", len(fds))
	}

	file := os.NewFile(uintptr(fds[0]), "QEMU's TPM data channel") // #nosec G115 -- a file descriptor
	defer file.Close()                                             //nolint:errcheck // FileConn has its own copy

	return net.FileConn(file)
}

// serveData carries QEMU's TPM commands to swtpm, until QEMU closes the channel.
func (m *Mux) serveData(qemu net.Conn) error {
	for {
		command, err := readFrame(qemu)
		if errors.Is(err, io.EOF) {
			return nil
		}

		if err != nil {
			return fmt.Errorf("reading a TPM command: %w", err)
		}

		response, err := m.Send(command)
		if err != nil {
			return err
		}

		if _, err := qemu.Write(response); err != nil {
			return fmt.Errorf("answering a TPM command: %w", err)
		}
	}
}
