package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// softTPM is a swtpm that takes the frames of a TPM's device on a unix socket. One client at a time: that is why each case has its own.
type softTPM struct {
	*process

	socket string
	// tcti is how tpm2-tools reach it; empty unless it was started for them.
	tcti string
}

// In a TPM's folder, tpmState is the folder with its state, and tpmSocket its socket.
const (
	tpmState  = "tpm"
	tpmSocket = "tpm.sock"
)

// startTPM starts the TPM of a folder, or a new one with the PCR banks that libtpms has by default.
func startTPM(ctx context.Context, dir string) (*softTPM, error) {
	state, err := newDir(dir, tpmState)
	if err != nil {
		return nil, err
	}

	socket := filepath.Join(dir, tpmSocket)

	p, err := start(dir, "swtpm", "swtpm", "socket", "--tpm2", "--tpmstate", "dir="+state, "--server", "type=unixio,path="+socket,
		"--flags", "not-need-init,startup-clear")
	if err != nil {
		return nil, err
	}

	if err := reachable(ctx, "unix", socket); err != nil {
		return nil, errors.Join(err, p.stop())
	}

	return &softTPM{process: p, socket: socket}, nil
}

// overTCP stops a TPM and starts it again so that tpm2-tools can use it: their TCTI wants TCP, and the control channel on the next port.
func (t *softTPM) overTCP(ctx context.Context) (*softTPM, error) {
	if err := t.stop(); err != nil {
		return nil, err
	}

	port, err := freePort()
	if err != nil {
		return nil, err
	}

	dir := filepath.Dir(t.socket)

	p, err := start(dir, "swtpm", "swtpm", "socket", "--tpm2", "--tpmstate", "dir="+filepath.Join(dir, tpmState), "--server", fmt.Sprintf("type=tcp,port=%d", port),
		"--ctrl", fmt.Sprintf("type=tcp,port=%d", port+1), "--flags", "not-need-init,startup-clear")
	if err != nil {
		return nil, err
	}

	if err := reachable(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port)); err != nil {
		return nil, errors.Join(err, p.stop())
	}

	return &softTPM{process: p, tcti: fmt.Sprintf("swtpm:host=127.0.0.1,port=%d", port)}, nil
}

// akHandle is where the daemon keeps its first attestation key: the default of tpm.ak.handle.
const akHandle tpm2.TPMHandle = 0x81018100

// rawQuoter makes quotes as directly as go-tpm can: the reference of all ratios.
type rawQuoter struct {
	conn net.Conn
	tpm  transport.TPM
	key  tpm2.AuthHandle
}

// newRawQuoter connects to a TPM in which a daemon has made its key.
func newRawQuoter(socket string) (*rawQuoter, error) {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return nil, fmt.Errorf("connecting to a TPM: %w", err)
	}

	tpm := transport.FromReadWriter(conn)

	public, err := tpm2.ReadPublic{ObjectHandle: akHandle}.Execute(tpm)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("reading the attestation key: %w", err), conn.Close())
	}

	return &rawQuoter{conn, tpm, tpm2.AuthHandle{Handle: akHandle, Name: public.Name, Auth: tpm2.PasswordAuth(nil)}}, nil
}

// launchPCRs are SHA-256 PCR 17, 18 and 19.
func launchPCRs() tpm2.TPMLPCRSelection {
	return tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{{Hash: tpm2.TPMAlgSHA256, PCRSelect: tpm2.PCClientCompatible.PCRs(17, 18, 19)}}}
}

// quote performs TPM2_Quote (TPM 2.0 Part 3, 18.4).
func (q *rawQuoter) quote(extra []byte) (*tpm2.QuoteResponse, error) {
	response, err := tpm2.Quote{
		SignHandle:     q.key,
		QualifyingData: tpm2.TPM2BData{Buffer: extra},
		InScheme:       tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgNull},
		PCRSelect:      launchPCRs(),
	}.Execute(q.tpm)
	if err != nil {
		return nil, fmt.Errorf("quoting: %w", err)
	}

	return response, nil
}

// run makes quotes with 34 bytes of extra data, as those that the daemon signs.
func (q *rawQuoter) run(ctx context.Context, calls int) ([]time.Duration, error) {
	return repeat(ctx, calls, func(context.Context) (func() error, error) {
		var extra [34]byte

		_, _ = rand.Read(extra[:]) // never fails

		response, err := q.quote(extra[:])

		return func() error { return checkExtra(response, extra[:]) }, err
	})
}

// checkExtra makes sure that a quote is of this extra data.
func checkExtra(response *tpm2.QuoteResponse, extra []byte) error {
	attest, err := response.Quoted.Contents()
	if err != nil {
		return fmt.Errorf("parsing a quote: %w", err)
	}

	if string(attest.ExtraData.Buffer) != string(extra) {
		return errors.New("the TPM signed other data")
	}

	return nil
}

// newDir makes a folder for one case.
func newDir(parent, name string) (string, error) {
	dir := filepath.Join(parent, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("making a folder: %w", err)
	}

	return dir, nil
}
