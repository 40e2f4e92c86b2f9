package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/google/go-tpm/tpm2"

	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/tpmsim/pki"
)

// node is one simulated node, and the agent on it.
type node struct {
	name  string // its host name, also in its certificate
	short string // the first label of it
	dir   string
	pool  string

	ip     net.IP
	loader tpmsim.Loader
	ca     *pki.CA // of all nodes
	logger *slog.Logger

	mu       sync.Mutex // held while the node changes; it guards all below
	scenario tpmsim.Scenario
	tpm      *tpmsim.Node // nil: the machine is off
	agent    *runningAgent
	address  string
	ekName   string // of the RSA EK that it was shipped with, hexadecimal
	ekRoots  []byte
}

// The files in a node's folder.
const (
	tpmDir          = "tpm"
	rootDir         = "root"
	stateDir        = "state"
	logFile         = "agent.log"
	ekNameFile      = "shipped-ek-name"
	ekRootsFile     = "shipped-ek-roots.pem"
	lastAddressFile = "last-address"
)

// start boots the node for the first time in this run. A new TPM boots once into the expected launch before anything else happens to it, as in a factory: there the name of its EK is taken down.
func (n *node) start(ctx context.Context, scenario tpmsim.Scenario) error {
	n.mu.Lock()
	defer n.mu.Unlock()

	if err := os.MkdirAll(filepath.Join(n.dir, stateDir), 0o700); err != nil {
		return err
	}

	shipped, err := os.ReadFile(filepath.Join(n.dir, ekNameFile)) // #nosec G304 -- in our own folder
	if errors.Is(err, fs.ErrNotExist) {
		return n.ship(ctx, scenario)
	}

	roots, rootsErr := os.ReadFile(filepath.Join(n.dir, ekRootsFile)) // #nosec G304 -- in our own folder
	if err := errors.Join(err, rootsErr); err != nil {
		return err
	}

	n.ekName, n.ekRoots = strings.TrimSpace(string(shipped)), roots

	return n.boot(ctx, scenario)
}

// ship makes the node's TPM, and then boots it into the scenario.
func (n *node) ship(ctx context.Context, scenario tpmsim.Scenario) error {
	machine, err := n.power(ctx, tpmsim.Trusted)
	if err != nil {
		return err
	}

	name, err := ekName(machine)
	if err != nil {
		return errors.Join(err, machine.Close())
	}

	n.tpm, n.ekName, n.ekRoots = machine, name, machine.EKRootsPEM()

	err = errors.Join(
		os.WriteFile(filepath.Join(n.dir, ekRootsFile), n.ekRoots, 0o600),
		os.WriteFile(filepath.Join(n.dir, ekNameFile), []byte(n.ekName+"\n"), 0o600),
	)
	if err != nil {
		return err
	}

	if scenario == tpmsim.Trusted {
		n.scenario = scenario

		return n.serve(ctx)
	}

	return n.boot(ctx, scenario)
}

// power starts the machine.
func (n *node) power(ctx context.Context, scenario tpmsim.Scenario) (*tpmsim.Node, error) {
	return tpmsim.Start(ctx, tpmsim.Options{Scenario: scenario, Loader: n.loader, StateDir: filepath.Join(n.dir, tpmDir)})
}

// rsaEKHandle is where a TPM keeps its RSA EK (TCG TPM v2.0 Provisioning Guidance, 7.8).
const rsaEKHandle = tpm2.TPMHandle(0x81010001)

// ekName reads the Name of the machine's RSA EK.
func ekName(machine *tpmsim.Node) (string, error) {
	public, err := tpm2.ReadPublic{ObjectHandle: rsaEKHandle}.Execute(machine)
	if err != nil {
		return "", fmt.Errorf("reading the EK: %w", err)
	}

	return hex.EncodeToString(public.Name.Buffer), nil
}

// reboot shuts the agent and the machine down, and boots it into a scenario. One that is off is switched on.
func (n *node) reboot(ctx context.Context, scenario tpmsim.Scenario) error {
	n.mu.Lock()
	defer n.mu.Unlock()

	return n.boot(ctx, scenario)
}

// boot is reboot. The caller holds the lock.
func (n *node) boot(ctx context.Context, scenario tpmsim.Scenario) error {
	if err := n.endAgent(); err != nil {
		return err
	}

	var err error
	if n.tpm == nil {
		n.tpm, err = n.power(ctx, scenario)
	} else {
		err = n.tpm.Reboot(ctx, scenario)
	}

	if err != nil {
		return err
	}

	n.scenario = scenario

	return n.serve(ctx)
}

// serve lays out the files of the booted host, and starts the agent on it.
func (n *node) serve(ctx context.Context) error {
	if err := n.tpm.WriteRoot(filepath.Join(n.dir, rootDir), ""); err != nil {
		return err
	}

	var err error
	n.agent, err = n.startAgent(ctx)

	return err
}

// off ends the agent and switches the machine off, in order.
func (n *node) off() error {
	n.mu.Lock()
	defer n.mu.Unlock()

	err := n.endAgent()
	if n.tpm != nil {
		err = errors.Join(err, n.tpm.Close())
		n.tpm = nil
	}

	return err
}

// endAgent ends the agent and waits for it.
func (n *node) endAgent() error {
	if n.agent == nil {
		return nil
	}

	err := n.agent.end()
	n.agent = nil

	return err
}

// newBootID is what the kernel would have made at this boot (random(4), boot_id).
func newBootID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // it never fails

	return fmt.Sprintf("%x-%x-%x-%x-%x", id[0:4], id[4:6], id[6:8], id[8:10], id[10:16])
}
