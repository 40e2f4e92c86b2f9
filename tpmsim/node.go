package tpmsim

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/google/go-tpm/tpm2/transport"
)

// Options say what node to start. The zero value is a trusted node that leaves
// nothing behind.
type Options struct {
	// Scenario is what the node boots. The zero value means Trusted.
	Scenario Scenario

	// StateDir is a directory, made if missing, that keeps the TPM: its seeds and
	// with them its EK and all keys derived from them, its NV indices and its
	// counters. A node that was started there before is taken up again, as a
	// machine is that was switched off. One node at a time runs on it. Empty
	// means a private temporary directory that Close removes.
	StateDir string

	// Loader performs the launch, of reboots too. The zero value means Tboot.
	Loader Loader

	// Endorsement is how the vendor shipped the TPM. It counts when a TPM is
	// manufactured: one that is taken up again is as it was made.
	Endorsement Endorsement
}

// Node is a simulated node that runs. It implements go-tpm's
// transport.TPMCloser. Its methods may be called at the same time; the TPM
// carries out one command after the other.
type Node struct {
	busy chan struct{} // holds one element while somebody has the fields below

	dir      *stateDir
	ships    Endorsement
	loader   Loader
	scenario Scenario
	machine  *machine // nil if down
	down     error    // why machine is nil
	records  []record // of the launch as the log tells them, nil if there was none
	loaded   loadedHandles

	// running is machine again, for Close: it must be able to end a TPM that
	// hangs while somebody waits for its answer.
	running atomic.Pointer[machine]
}

var _ transport.TPMCloser = (*Node)(nil)

// Start starts a node: swtpm is started, manufactured if the state is new, and
// taken through the launch of the scenario. The context bounds the start only;
// Close ends the node. After an error nothing is left running, and nothing is
// left behind but a StateDir that the caller named.
//
// The error wraps ErrNotInstalled, ErrStateInUse, or the context's error if that
// is the cause.
func Start(ctx context.Context, opts Options) (*Node, error) {
	p, err := opts.Scenario.plan(opts.Loader)
	if err != nil {
		return nil, fmt.Errorf("starting a simulated node: %w", err)
	}
	if err := opts.Endorsement.check(); err != nil {
		return nil, fmt.Errorf("starting a simulated node: %w", err)
	}
	dir, err := openState(opts.StateDir)
	if err != nil {
		return nil, fmt.Errorf("starting a simulated node: opening its state: %w", err)
	}

	n := &Node{
		busy:     make(chan struct{}, 1),
		dir:      dir,
		ships:    opts.Endorsement,
		loader:   opts.Loader,
		scenario: opts.Scenario,
	}
	if err := n.boot(ctx, p); err != nil {
		return nil, errors.Join(fmt.Errorf("starting a simulated node: %w", err), dir.close())
	}
	return n, nil
}

// Send sends one command to the TPM at locality 0 and returns the response. It
// takes one whole command with a tag of TPM_ST_NO_SESSIONS or TPM_ST_SESSIONS and
// at most 4096 bytes, and else returns an error that wraps ErrBadFrame without
// sending anything. Other errors wrap ErrClosed, ErrDied or the error of the Reboot
// that failed; what the TPM answers is never an error. Send waits while another
// command or Reboot is under way.
func (n *Node) Send(cmd []byte) ([]byte, error) {
	return n.sendFor(nil, cmd)
}

// EventLog returns the log of the launch in the crypto-agile format, cut where
// the last event ends; nil if there was no measured launch.
func (n *Node) EventLog() []byte {
	n.lock()
	defer n.unlock()

	if n.records == nil {
		return nil
	}
	return cryptoAgileLog(activeBanks(), n.records)
}

// EKRoots returns the certificates of the throw-away authority that signed the
// EK certificates in this TPM. The authority's key is gone.
func (n *Node) EKRoots() *x509.CertPool {
	n.lock()
	defer n.unlock()

	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(n.dir.manifest.EKRoots))
	return pool
}

// EKRootsPEM returns the same certificates in PEM, as an operator gives them to a
// verifier in a file.
func (n *Node) EKRootsPEM() []byte {
	n.lock()
	defer n.unlock()

	return []byte(n.dir.manifest.EKRoots)
}

// Close ends the TPM in order, as a host that shuts down, and waits for it. A
// command that is under way has some seconds to end. A temporary state directory
// is removed. Closing again does nothing.
func (n *Node) Close() error {
	timer := time.AfterFunc(stopGrace, func() {
		if m := n.running.Load(); m != nil {
			m.kill()
		}
	})
	defer timer.Stop()

	n.lock()
	defer n.unlock()

	if errors.Is(n.down, ErrClosed) {
		return nil
	}
	if n.machine != nil {
		n.machine.stop()
	}
	n.machine, n.down = nil, ErrClosed
	if err := n.dir.close(); err != nil {
		return fmt.Errorf("closing a simulated node: %w", err)
	}
	return nil
}

func (n *Node) lock()   { n.busy <- struct{}{} }
func (n *Node) unlock() { <-n.busy }

// boot starts swtpm, with a new TPM if there is none that was manufactured to the
// end, and takes it through a plan.
func (n *Node) boot(ctx context.Context, p plan) error {
	if p.replace || !n.dir.manifest.Manufactured {
		if err := n.dir.reset(); err != nil {
			return fmt.Errorf("making room for a new TPM: %w", err)
		}
	}
	m, err := startMachine(n.dir)
	if err != nil {
		return err
	}

	n.running.Store(m)
	stopWatching := context.AfterFunc(ctx, m.kill)
	records, err := n.bringUp(m, p)
	if !stopWatching() {
		err = context.Cause(ctx)
	}
	if err != nil {
		m.close()
		return fmt.Errorf("%w (swtpm: %s)", err, m.said)
	}
	n.machine, n.down, n.records, n.loaded = m, nil, records, nil
	return nil
}

// bringUp takes a machine from power-on to the end of the launch and returns what
// the launch's log tells.
func (n *Node) bringUp(m *machine, p plan) ([]record, error) {
	if err := m.powerOn(); err != nil {
		return nil, err
	}
	if !n.dir.manifest.Manufactured {
		roots, err := manufacture(m, n.ships)
		if err != nil {
			return nil, fmt.Errorf("manufacturing the TPM: %w", err)
		}
		if err := n.dir.saveManufactured(roots); err != nil {
			return nil, fmt.Errorf("saving the manufactured state: %w", err)
		}
	}
	if p.prepare != nil {
		if err := p.prepare(admin{m, n.dir}); err != nil {
			return nil, fmt.Errorf("preparing the TPM: %w", err)
		}
	}
	if p.launch == nil {
		return nil, nil
	}

	records, err := p.launch.run(m)
	if err != nil {
		return nil, fmt.Errorf("launching: %w", err)
	}
	if p.tamper {
		tamper(records)
	}
	return records, nil
}
