package server

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// lock keeps two servers, or a server and a restore, from working on one database. It is the kernel's, and gone with the process, however that ends.
type lock struct{ file *os.File }

// lockDatabase takes the lock beside a database file.
func lockDatabase(path string) (*lock, error) {
	file, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600) // #nosec G304 -- beside the operator's database
	if err != nil {
		return nil, fmt.Errorf("locking the database: %w", err)
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) // #nosec G115 -- a file descriptor
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = errors.New("another trustpool-server works on it; stop that one first")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("locking the database %s: %w", path, err), file.Close())
	}
	return &lock{file}, nil
}

func (l *lock) release() error {
	if l == nil { // a database that several servers share
		return nil
	}
	return l.file.Close()
}
