package agent

import (
	"fmt"
	"os"
	"os/user"
	"runtime"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// deviceGroup is the group that the unit gives to the agent besides its own.
const deviceGroup = "tss"

// account is a user, and the groups that a process of that user has.
type account struct {
	name     string
	uid, gid uint32
	groups   []uint32
}

// serviceAccount returns whom the unit runs the agent as.
func serviceAccount() (account, error) {
	found, err := user.Lookup(CollectGroup)
	if err != nil {
		return account{}, err
	}

	ids, err := found.GroupIds()
	if err != nil {
		return account{}, err
	}

	if device, err := user.LookupGroup(deviceGroup); err == nil {
		ids = append(ids, device.Gid)
	}

	// The user's own id and group are the first two.
	numbers := make([]uint32, 0, len(ids)+2)

	for _, text := range append([]string{found.Uid, found.Gid}, ids...) {
		number, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return account{}, err
		}

		numbers = append(numbers, uint32(number))
	}

	return account{name: found.Username, uid: numbers[0], gid: numbers[1], groups: numbers[2:]}, nil
}

// isOf says whether a process is this account's.
func (a account) isOf(pid int) bool {
	info, err := os.Stat(fmt.Sprintf("/proc/%d", pid))
	if err != nil {
		return false
	}

	owner, ok := info.Sys().(*syscall.Stat_t)

	return ok && owner.Uid == a.uid
}

// become lets root do something with the rights of the account and no others, and waits until it is done. It happens on a thread that ends then: setresuid(2) is about the thread
// that calls it, as long as it is not called through a library that makes it the process's.
func (a account) become(do func()) error {
	done := make(chan error, 1)

	go func() {
		runtime.LockOSThread() // and never unlocked: nobody may get this thread after us

		if err := a.take(); err != nil {
			done <- err

			return
		}

		do()

		done <- nil
	}()

	return <-done
}

// take gives up what root may do, for the present thread.
func (a account) take() error {
	var first unsafe.Pointer
	if len(a.groups) > 0 {
		first = unsafe.Pointer(&a.groups[0]) // #nosec G103 -- the kernel reads as many as the length says
	}

	if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(a.groups)), uintptr(first), 0); errno != 0 {
		return fmt.Errorf("taking the groups of %s: %w", a.name, errno)
	}

	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, uintptr(a.gid), uintptr(a.gid), uintptr(a.gid)); errno != 0 {
		return fmt.Errorf("taking the group of %s: %w", a.name, errno)
	}

	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(a.uid), uintptr(a.uid), uintptr(a.uid)); errno != 0 {
		return fmt.Errorf("becoming %s: %w", a.name, errno)
	}

	return nil
}
