package logs_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/trustpool/trustpool/agent/internal/logs"
)

// asNobody runs f as a user who owns nothing. The thread that becomes that user ends with f.
func asNobody(t *testing.T, f func()) {
	t.Helper()

	if os.Geteuid() != 0 {
		f()

		return
	}

	done := make(chan struct{})

	go func() {
		defer close(done)

		runtime.LockOSThread()

		const nobody = 65534

		// Of this thread alone. It takes the rights to pass over file modes along.
		if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0); errno != 0 {
			t.Error(errno)
		}

		if _, err := unix.SetfsgidRetGid(nobody); err != nil {
			t.Error(err)
		}

		if _, err := unix.SetfsuidRetUid(nobody); err != nil {
			t.Error(err)
		}

		f()
	}()
	<-done
}

func TestWhoMayNotReadIsToldSoAndWhatToDo(t *testing.T) {
	t.Parallel()

	h := newHost(t)
	h.memory(1, heapOf(8, agileLog(1)))
	h.write(firmwareLog, sha1Log(300))
	h.write(slaunchLog, agileLog(2))
	h.write("file.log", agileLog(2))

	for _, name := range []string{"dev/mem", firmwareLog, slaunchLog, "file.log"} {
		if err := os.Chmod(h.path(name), 0); err != nil {
			t.Fatal(err)
		}
	}

	for _, dir := range []string{h.root, filepath.Dir(h.root)} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}

	asNobody(t, func() {
		store := logs.New(logs.Options{
			Root: h.root, Collected: h.path("snap"), BootID: thisBoot, Files: []logs.File{{Name: "file", Path: h.path("file.log")}},
		})

		for _, name := range []string{"txt", "slaunch", "firmware"} {
			got := byName(t, store, name)
			if got.State != logs.NotPermitted || !strings.Contains(got.Detail, "by root only") || !strings.Contains(got.Detail, "no snapshot in ") {
				t.Errorf("%s: state %s, detail %q", name, got.State, got.Detail)
			}
		}

		if got := byName(t, store, "file"); got.State != logs.NotPermitted || strings.Contains(got.Detail, "snapshot") {
			t.Errorf("file: state %s, detail %q", got.State, got.Detail)
		}
	})

	if os.Geteuid() != 0 {
		return
	}

	// The snapshot is root's, and nobody is not in its group.
	collect(t, h)
	asNobody(t, func() {
		got := byName(t, logs.New(logs.Options{Root: h.root, Collected: h.path("snap"), BootID: thisBoot}), "txt")
		if got.State != logs.NotPermitted || !strings.Contains(got.Detail, "add the agent's user to the directory's group") {
			t.Errorf("txt: state %s, detail %q", got.State, got.Detail)
		}
	})
}
