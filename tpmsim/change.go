package tpmsim

import (
	"context"
	"fmt"

	"github.com/google/go-tpm/tpm2"
)

// Clear performs TPM2_Clear with the platform's authorization on the running TPM:
// whatever is loaded or persistent in the owner and endorsement hierarchies goes,
// with it the persistent EKs, and so do the owner's NV indices; authorization values
// become empty, the hierarchies enabled, the counters zero. The seed of the
// endorsement hierarchy stays, and with it all keys that can be derived from it;
// so do EK certificates, PCRs and the log.
//
// The context bounds the wait for its turn. Errors are as of Send, and the TPM's.
func (n *Node) Clear(ctx context.Context) error {
	if err := n.lockWithin(ctx); err != nil {
		return fmt.Errorf("clearing the TPM: %w", err)
	}
	defer n.unlock()

	if err := n.admin().clear(); err != nil {
		return fmt.Errorf("clearing the TPM: %w", err)
	}
	return nil
}

// SetAuths gives the owner and endorsement hierarchies authorization values; nil
// takes one away. They last until they are set anew, or the TPM is cleared or
// replaced. The node remembers them, in its state directory too: whoever changes
// them by commands of their own makes it forget, and its other methods and
// scenarios that need them fail.
func (n *Node) SetAuths(owner, endorsement []byte) error {
	n.lock()
	defer n.unlock()

	if err := n.admin().setAuths(owner, endorsement); err != nil {
		return fmt.Errorf("setting authorization values: %w", err)
	}
	return nil
}

// SetHierarchy enables or disables the endorsement hierarchy with the platform's
// authorization. A reboot enables it.
func (n *Node) SetHierarchy(endorsement bool) error {
	n.lock()
	defer n.unlock()

	if err := n.admin().setEndorsement(endorsement); err != nil {
		return fmt.Errorf("switching the endorsement hierarchy: %w", err)
	}
	return nil
}

// Occupy puts a signing key of somebody else at a persistent handle of the
// owner's range, in the place of whatever is there: restricted, ECDSA P-256 with
// SHA-256, without authorization value, a primary key of the endorsement
// hierarchy. It is always the same key, until the TPM is replaced. The endorsement
// hierarchy must be enabled and the TPM have room to load an object.
func (n *Node) Occupy(handle tpm2.TPMHandle) error {
	n.lock()
	defer n.unlock()

	if err := n.admin().occupy(handle); err != nil {
		return fmt.Errorf("occupying handle %#x: %w", uint32(handle), err)
	}
	return nil
}

// FillNV fills the TPM's NV memory: afterwards TPM2_NV_DefineSpace and
// TPM2_EvictControl answer TPM_RC_NV_SPACE. It lasts until FreeNV, Clear or
// Replace. The endorsement hierarchy must be enabled and the TPM have room to load
// an object.
func (n *Node) FillNV() error {
	n.lock()
	defer n.unlock()

	if err := n.admin().fillNV(); err != nil {
		return fmt.Errorf("filling NV: %w", err)
	}
	return nil
}

// FreeNV removes what FillNV put there.
func (n *Node) FreeNV() error {
	n.lock()
	defer n.unlock()

	if err := n.admin().freeNV(); err != nil {
		return fmt.Errorf("freeing NV: %w", err)
	}
	return nil
}

// admin acts on the running TPM. The node must be locked.
func (n *Node) admin() admin { return admin{locked{n}, n.dir} }

// locked is the TPM of a node for somebody who locked it.
type locked struct{ node *Node }

func (l locked) Send(cmd []byte) ([]byte, error) {
	if err := checkCommand(cmd); err != nil {
		return nil, err
	}
	return l.node.exchange(nil, cmd)
}
