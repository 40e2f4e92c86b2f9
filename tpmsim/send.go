package tpmsim

import (
	"encoding/binary"
	"fmt"

	"github.com/google/go-tpm/tpm2"
)

// client is somebody who talks to the TPM over Serve.
type client struct{ _ byte } // not of size zero, so that clients differ by address

// loadedHandles says which client loaded an object or a session. Handles that were
// flushed by now may still be in it.
type loadedHandles map[tpm2.TPMHandle]*client

// sendFor sends a command for a client, nil for the owner of the node.
func (n *Node) sendFor(c *client, cmd []byte) ([]byte, error) {
	if err := checkCommand(cmd); err != nil {
		return nil, err
	}

	n.lock()
	defer n.unlock()
	return n.exchange(c, cmd)
}

// exchange sends a command. A machine that fails is put away: nothing it would
// say later belongs to a command.
func (n *Node) exchange(c *client, cmd []byte) ([]byte, error) {
	if n.machine == nil {
		return nil, n.down
	}

	response, err := n.machine.Send(cmd)
	if err != nil {
		n.machine.kill()
		n.machine.close()
		n.down = fmt.Errorf("%w (swtpm: %s)", err, n.machine.said)
		n.machine = nil
		return nil, n.down
	}
	n.noteLoaded(c, cmd, response)
	return response, nil
}

// noteLoaded remembers for whom the TPM loaded something, if the command did.
func (n *Node) noteLoaded(c *client, cmd, response []byte) {
	switch tpm2.TPMCC(parseHeader([headerSize]byte(cmd)).code) {
	case tpm2.TPMCCCreatePrimary, tpm2.TPMCCLoad, tpm2.TPMCCLoadExternal, tpm2.TPMCCCreateLoaded,
		tpm2.TPMCCContextLoad, tpm2.TPMCCStartAuthSession, tpm2.TPMCCMACStart, tpm2.TPMCCHashSequenceStart:
	default:
		return
	}
	if parseHeader([headerSize]byte(response)).code != uint32(tpm2.TPMRCSuccess) || len(response) < headerSize+4 {
		return
	}

	// The handle that a response gives follows its header. TPM 2.0 Part 1, 18.
	handle := tpm2.TPMHandle(binary.BigEndian.Uint32(response[headerSize:]))
	if n.loaded == nil {
		n.loaded = make(loadedHandles)
	}
	n.loaded[handle] = c
}

// flushFor unloads what a client left loaded, as /dev/tpmrm0 does when it is
// closed.
func (n *Node) flushFor(c *client) {
	n.lock()
	defer n.unlock()

	for handle, owner := range n.loaded {
		if owner != c {
			continue
		}
		delete(n.loaded, handle)
		if n.machine != nil {
			// It fails if the client flushed the handle itself.
			_, _ = tpm2.FlushContext{FlushHandle: handle}.Execute(n.machine)
		}
	}
}
