package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// ErrRunning says that another agent uses this state folder.
var ErrRunning = errors.New("another agent runs on this state folder")

// lockState keeps the state folder for this process until unlock is called, or the process ends.
func lockState(dir string) (unlock func() error, err error) {
	if dir == "" {
		return func() error { return nil }, nil
	}

	file, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600) // #nosec G304 -- the operator's config names the folder
	if err != nil {
		return nil, fmt.Errorf("locking state_dir: %w", err)
	}

	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil { // #nosec G115 -- a file descriptor
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = ErrRunning
		}

		return nil, errors.Join(fmt.Errorf("locking state_dir %s: %w", dir, err), file.Close())
	}

	return file.Close, nil
}
