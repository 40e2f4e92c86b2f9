package tpmsim

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// What a state directory holds.
const (
	lockName     = "lock"
	manifestName = "node.json"
	tpmDirName   = "tpm" // swtpm's

	newSuffix = ".new" // of a file that is about to replace another
)

// stateDir is the directory of one node, locked for as long as the node or its
// swtpm lives.
type stateDir struct {
	path      string
	temporary bool
	lock      *os.File
	manifest  manifest
}

// manifest is node.json: what this package must know of a TPM to take it up
// again. No private key is in it.
type manifest struct {
	// Manufactured says that the TPM was manufactured to the end.
	Manufactured bool `json:"manufactured"`
	// EKRoots holds the certificates, in PEM, that the EK certificates in the TPM
	// verify against.
	EKRoots string `json:"ek_roots,omitempty"`
	// OwnerAuth and EndorsementAuth are the authorization values of these
	// hierarchies. They protect nothing but simulated keys.
	OwnerAuth       []byte `json:"owner_auth,omitempty"`
	EndorsementAuth []byte `json:"endorsement_auth,omitempty"`
	// SystemUUID is the SMBIOS UUID of the machine, whatever TPM is in it. Empty if
	// nobody asked for it yet.
	SystemUUID string `json:"system_uuid,omitempty"`
}

// openState locks and reads the state directory at path, which is made if it is
// not there. An empty path stands for a new temporary directory.
func openState(path string) (*stateDir, error) {
	d := &stateDir{path: path, temporary: path == ""}
	if err := d.create(); err != nil {
		return nil, err
	}

	err := d.takeLock()
	if err == nil {
		err = d.load()
	}
	if err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

func (d *stateDir) create() error {
	if d.temporary {
		path, err := os.MkdirTemp("", "tpmsim-")
		d.path = path
		return err
	}

	path, err := filepath.Abs(d.path)
	if err != nil {
		return err
	}
	d.path = path
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	return d.checkOurs()
}

// checkOurs refuses a directory that holds other things than a node's, before
// anything is written there.
func (d *stateDir) checkOurs() error {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return err
	}

	var stranger string
	for _, e := range entries {
		switch e.Name() {
		case manifestName:
			return nil
		case lockName, manifestName + newSuffix: // another Start got as far as that
		default:
			stranger = e.Name()
		}
	}
	if stranger != "" {
		return fmt.Errorf("%s is not empty and not a simulated node's: it holds %q but no %s", d.path, stranger, manifestName)
	}
	return nil
}

// takeLock locks the directory. A lock of our own, and not only the one that
// swtpm takes, covers the manifest too and can be told from other failures.
func (d *stateDir) takeLock() error {
	lock, err := os.OpenFile(filepath.Join(d.path, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}

	err = flock(lock, syscall.LOCK_EX)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return errors.Join(fmt.Errorf("%w (%s)", ErrStateInUse, d.path), lock.Close())
	}
	if err != nil {
		return errors.Join(fmt.Errorf("locking %s: %w", d.path, err), lock.Close())
	}
	d.lock = lock
	return nil
}

// load reads the manifest, which is not there yet in a new directory.
func (d *stateDir) load() error {
	path := filepath.Join(d.path, manifestName)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, &d.manifest); err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	return nil
}

// reset throws away whatever TPM there is, and leaves an empty TPM directory and
// a manifest that says so.
func (d *stateDir) reset() error {
	if err := os.Chmod(d.path, 0o700); err != nil { //nolint:gosec // a directory
		return err
	}
	if err := d.save(manifest{SystemUUID: d.manifest.SystemUUID}); err != nil {
		return err
	}

	tpm := filepath.Join(d.path, tpmDirName)
	if err := os.RemoveAll(tpm); err != nil {
		return err
	}
	return os.Mkdir(tpm, 0o700)
}

// saveManufactured notes that the TPM is whole, and what its EK certificates
// verify against, in PEM.
func (d *stateDir) saveManufactured(ekRoots string) error {
	m := d.manifest
	m.Manufactured, m.EKRoots = true, ekRoots
	return d.save(m)
}

// systemUUID returns the machine's UUID, which is made at the first call.
func (d *stateDir) systemUUID() (string, error) {
	if d.manifest.SystemUUID != "" {
		return d.manifest.SystemUUID, nil
	}

	var b [16]byte
	_, _ = rand.Read(b[:])                      // it never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80 // random: RFC 9562, 5.4
	m := d.manifest
	m.SystemUUID = fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
	if err := d.save(m); err != nil {
		return "", err
	}
	return m.SystemUUID, nil
}

// save replaces the manifest.
func (d *stateDir) save(m manifest) error {
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}

	path := filepath.Join(d.path, manifestName)
	if err := os.WriteFile(path+newSuffix, append(b, '\n'), 0o600); err != nil {
		return err
	}
	if err := os.Rename(path+newSuffix, path); err != nil {
		return err
	}
	d.manifest = m
	return nil
}

// close removes a temporary directory and gives up the lock, which takes more
// than closing the file: a process that is being started elsewhere in this program
// may have a copy of it for a moment.
func (d *stateDir) close() error {
	var err error
	if d.temporary {
		err = os.RemoveAll(d.path)
	}
	if d.lock != nil {
		unlockErr := flock(d.lock, syscall.LOCK_UN)
		err = errors.Join(err, unlockErr, d.lock.Close())
	}
	return err
}

// flock is flock(2). It never waits.
func flock(f *os.File, how int) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var lockErr error
	err = raw.Control(func(fd uintptr) { lockErr = syscall.Flock(int(fd), how|syscall.LOCK_NB) })
	return errors.Join(err, lockErr)
}
