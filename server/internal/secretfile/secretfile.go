// Package secretfile keeps the server from using secrets that are none.
package secretfile

import (
	"fmt"
	"os"
	"strings"
)

// Check refuses a file that every user of this machine may read; its error says what to do. Credentials of systemd's (credential:NAME), which guards them, are not looked at. Whether the file can be read
// at all, reading it tells.
func Check(path string) error {
	if strings.HasPrefix(path, "credential:") {
		return nil
	}
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o007 == 0 {
		return nil //nolint:nilerr // reading says it better
	}
	return fmt.Errorf("everybody on this machine may read it (mode %04o): run chmod o= %s, and make a new one if others use this machine", info.Mode().Perm(), path)
}
