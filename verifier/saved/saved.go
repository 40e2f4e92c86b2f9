// Package saved keeps evidence in a folder, as files that people, tpm2-tools and a third party can judge again later.
//
// A folder holds:
//
//	quote.msg      TPMS_ATTEST, without a size prefix: the signed bytes (tpm2_checkquote -m)
//	quote.sig      TPMT_SIGNATURE (tpm2_checkquote -s)
//	quote.pcrs     the PCR values one after the other, in the order of the signed selection (tpm2_checkquote -f, with -l)
//	ak.pub         TPM2B_PUBLIC of the AK: its public area with a size prefix
//	ak.pem         the AK's key alone, as PKIX PEM (tpm2_checkquote -u)
//	ak.crt         the AK's certificate, if it has one, and those of CAs between it and its issuer, as PEM
//	ek.pub         TPM2B_PUBLIC of the key under which the AK was made, if that is known
//	nonce          the nonce that the collector says it asked with, raw
//	log-SOURCE.bin one event log
//	evidence.json  names the files above with their sizes and SHA-256 digests, tells banks, PCRs and log sources, and keeps the unsigned
//	               hints; of a bound quote also the collector's end of the connection, and how it was signed together with others
//
// The digests of evidence.json find accidents, not attackers: nothing signs that file. What is read from a folder is to be judged by verifier.Verify like
// anything that a node says, and its nonce does not make it fresh.
//
// ReadForeign reads folders that others made: of the files above, without evidence.json.
//
// Folders are made with mode 0750 and files with 0640: they hold no secret, but they tell a host's exact software.
package saved

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/trustpool/trustpool/verifier"
)

// The names of the files in a folder.
const (
	FileQuote         = "quote.msg"
	FileSignature     = "quote.sig"
	FilePCRs          = "quote.pcrs"
	FileAKPublic      = "ak.pub"
	FileAKPEM         = "ak.pem"
	FileAKCertificate = "ak.crt"
	FileAKParent      = "ek.pub"
	FileNonce         = "nonce"
	FileIndex         = "evidence.json"
)

const (
	dirMode  = 0o750
	fileMode = 0o640
)

// ErrAltered is in the chain of the errors of Read if the folder is not as it was made: somebody changed, cut or removed a file, or its disk
// is broken. There was evidence, and it is to be refused.
var ErrAltered = errors.New("the folder was altered or damaged")

// ErrNoIndex is in the chain of Read's error if the folder has no evidence.json: Write did not make it, but ReadForeign may be able to read it.
var ErrNoIndex = errors.New("the folder has no " + FileIndex)

// ErrExists is in the chain of Write's error if there is something in the folder already.
var ErrExists = errors.New("the folder exists and is not empty: choose another")

// Write saves ev in the folder dir, which must not exist or be empty; its parent must exist. The folder appears whole or not at all: the files are made in a
// folder beside it, synced, and moved. Evidence that is incomplete or does not parse is saved too, as far as it goes: its ak.pem is left out.
func Write(dir string, ev verifier.Evidence) error {
	files, err := encode(ev)
	if err != nil {
		return fmt.Errorf("saving evidence: %w", err)
	}
	whole, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("saving evidence in %s: %w", dir, err)
	}
	if err := place(whole, files); err != nil {
		return fmt.Errorf("saving evidence in %s: %w", dir, err)
	}
	return nil
}

// place makes the folder out of its files.
func place(dir string, files []File) (err error) {
	if err := checkVacant(dir); err != nil {
		return err
	}
	parent := filepath.Dir(dir)
	work, err := os.MkdirTemp(parent, "."+filepath.Base(dir)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(work))
		}
	}()

	for _, f := range files {
		if err := writeFile(filepath.Join(work, f.Name), f.Data); err != nil {
			return err
		}
	}
	if err := os.Chmod(work, dirMode); err != nil {
		return err
	}
	if err := syncDir(work); err != nil {
		return err
	}
	// rmdir(2) refuses a folder that got a file in the meantime.
	if err := syscall.Rmdir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("making room: %w", err)
	}
	if err := os.Rename(work, dir); err != nil {
		return err
	}
	return syncDir(parent)
}

func checkVacant(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if len(entries) > 0 {
		return ErrExists
	}
	return nil
}

func writeFile(path string, data []byte) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()

	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Sync()
}

func syncDir(dir string) (err error) {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	return d.Sync()
}
