package logs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// fileDenied says why a file can't be read, and what to do.
func fileDenied(path string) func(error) string {
	return func(err error) string {
		if errors.Is(err, unix.EPERM) {
			return "the kernel refuses to give " + path + " to this process; run \"trustpool-agent collect\" as root"
		}

		return path + " may be read by root only; run \"trustpool-agent collect\" as root"
	}
}

// circumstances are what physical memory may be closed for.
type circumstances struct {
	lockdown string // content of /sys/kernel/security/lockdown
	rawIO    bool   // this process has CAP_SYS_RAWIO
}

func readCircumstances(root string) circumstances {
	// Without securityfs there is no lockdown; a file that can't be read says nothing.
	lockdown, _ := readShort(filepath.Join(root, "sys/kernel/security/lockdown"))

	return circumstances{lockdown: lockdown, rawIO: hasRawIO()}
}

// memoryDenied says why /dev/mem can't be read, and what to do. The kernel's open_port (drivers/char/mem.c) gives EPERM without CAP_SYS_RAWIO and under
// lockdown; EACCES comes from the file's mode, and ENOENT from a kernel without CONFIG_DEVMEM.
func memoryDenied(path string, err error, c circumstances) string {
	mode, locked := lockdownMode(c.lockdown)

	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "there is no " + path + ": the kernel was built without CONFIG_DEVMEM, or this is a container that does not get it; " +
			"without it only Secure Launch's log can be read, or a copy of the log that is named in agent.yaml"
	case errors.Is(err, unix.EACCES):
		return path + " may be opened by root only; run \"trustpool-agent collect\" as root"
	case locked:
		return "the kernel is locked down (" + mode + ", as with Secure Boot) and gives nobody " + path +
			"; boot without lockdown, use a kernel with Secure Launch, or name a copy of the log in agent.yaml"
	case !c.rawIO:
		return "this process has no CAP_SYS_RAWIO, which " + path + " takes; run \"trustpool-agent collect\" as root"
	default:
		return "the kernel refuses these pages of " + path + " (CONFIG_STRICT_DEVMEM, or a container's device rules): " + err.Error() +
			"; name a copy of the log in agent.yaml"
	}
}

// lockdownMode reads "none [integrity] confidentiality": the mode in brackets holds.
func lockdownMode(text string) (mode string, locked bool) {
	_, rest, _ := strings.Cut(text, "[")
	mode, _, found := strings.Cut(rest, "]")

	return mode, found && mode != "none"
}

// hasRawIO tells whether this process has CAP_SYS_RAWIO in effect.
func hasRawIO() bool {
	var data [2]unix.CapUserData

	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if err := unix.Capget(&header, &data[0]); err != nil {
		return false
	}

	return data[0].Effective&(1<<unix.CAP_SYS_RAWIO) != 0
}

// readShort reads a file of one short line, such as sysfs and procfs have.
func readShort(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }() // read only: nothing to lose

	var b [256]byte

	n, err := file.Read(b[:])
	if n > 0 {
		err = nil
	}

	return strings.TrimSpace(string(b[:n])), err
}
