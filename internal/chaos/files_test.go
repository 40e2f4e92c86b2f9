//go:build chaos

package chaos

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
)

// small is a disk of the agent's own, with its state and its audit file: a tmpfs that nobody else sees, gone with the process.
type small struct{ mount string }

func newSmall(t *testing.T) small {
	t.Helper()

	if os.Geteuid() != 0 {
		t.Fatal("this test mounts a file system for the agent, and needs root")
	}

	return small{t.TempDir()}
}

// around are words that start a program on it.
func (s small) around() []string {
	return []string{"unshare", "-m", "sh", "-c", `mount -t tmpfs -o size=64k tmpfs "$0" && exec "$@"`, s.mount}
}

// path is where we see a file that the agent sees on its disk.
func (s small) path(n *node, name string) string {
	return filepath.Join("/proc", strconv.Itoa(n.Process.Pid), "root", s.mount, name)
}

// fill leaves no room.
func (s small) fill(t *testing.T, n *node) {
	t.Helper()

	file, err := os.Create(s.path(n, "fill"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()

	for err == nil {
		_, err = file.Write(make([]byte, 4096))
	}

	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}

// inside runs a command where the agent is.
func (s small) inside(t *testing.T, n *node, words ...string) {
	t.Helper()

	out, err := exec.Command("nsenter", append([]string{"-t", strconv.Itoa(n.Process.Pid), "-m"}, words...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v: %s", words, err, out)
	}
}

// badDisk breaks the disk under a running agent. Quotes go on; what has to be remembered is not begun.
func badDisk(t *testing.T, spoil, mend func(*testing.T, small, *node)) {
	t.Helper()

	disk := newSmall(t)
	n := newNode(t, options{state: disk.mount, wrap: disk.around(), yaml: fmt.Sprintf("audit: {file: %s/audit.log}\n", disk.mount)})
	crowd := n.crowd(n.conn)
	admin := agentv1.NewEnrollmentServiceClient(n.conn)

	spoil(t, disk, n)
	crowd.hears(t, n, answered)

	if _, err := admin.RotateAK(t.Context(), &agentv1.RotateAKRequest{}); heard(err) != "RECORD_UNWRITABLE" {
		t.Errorf("who asks for a rotation hears %s", heard(err))
	}

	crowd.hears(t, n, answered)
	mend(t, disk, n)

	next, err := admin.RotateAK(t.Context(), &agentv1.RotateAKRequest{})
	if err != nil {
		t.Fatalf("a rotation once there is room: %v", err)
	}

	crowd.hears(t, n, answered)

	if _, err := admin.CommitAK(t.Context(), &agentv1.CommitAKRequest{AkName: next.GetAkName()}); err != nil {
		t.Fatal(err)
	}

	if now := n.quoteSoon(t).GetAkName(); !bytes.Equal(now, next.GetAkName()) {
		t.Errorf("the AK is %x, not %x", now, next.GetAkName())
	}

	crowd.done(t)
}

func TestChaosDiskFull(t *testing.T) {
	t.Parallel()
	badDisk(t, func(t *testing.T, s small, n *node) {
		t.Helper()
		s.fill(t, n)
		n.wantMetric(t, "trustpool_agent_audit_failures_total", above(0))
		n.said.wait(t, "the audit file can't be written", "no space left on device")
	}, func(t *testing.T, s small, n *node) {
		t.Helper()

		for _, name := range []string{"fill", "audit.log"} {
			if err := os.Truncate(s.path(n, name), 0); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestChaosDiskReadOnly(t *testing.T) {
	t.Parallel()
	badDisk(t, func(t *testing.T, s small, n *node) {
		t.Helper()
		s.inside(t, n, "mount", "--bind", s.mount, s.mount)
		s.inside(t, n, "mount", "-o", "remount,bind,ro", s.mount)
		n.signal(t, syscall.SIGHUP)
		n.wantMetric(t, "trustpool_agent_config_reload_failures_total", above(0))
		n.said.wait(t, "not its audit file", "read-only file system")
	}, func(t *testing.T, s small, n *node) {
		t.Helper()
		s.inside(t, n, "umount", s.mount)
		n.signal(t, syscall.SIGHUP)
		n.wantMetric(t, "trustpool_agent_config_last_reload_successful", is(1))
	})
}

// TestChaosStateCorrupt starts the agent on a record of which one byte is another: it does not believe it, and does not take itself for a new host; with the right one back, it
// goes on without a restart. The bytes in between are TestARecordDamagedAnywhereIsNotBelieved's.
func TestChaosStateCorrupt(t *testing.T) {
	t.Parallel()

	n := newNode(t, options{})
	name := n.quoteSoon(t).GetAkName()
	record := filepath.Join(n.state, "ak.json")

	good, err := os.ReadFile(record)
	if err != nil {
		t.Fatal(err)
	}

	for at := 0; at < len(good); at += 1 + len(good)/12 {
		n.kill(t)

		bad := bytes.Clone(good)
		bad[at] ^= 0x10
		write(t, record, bad)
		n.start(t)

		crowd := n.crowd(n.conn)
		crowd.hears(t, n, "RECORD_UNREADABLE")

		if crowd.count(answered) > 0 {
			t.Errorf("with byte %d changed callers were answered", at)
		}

		n.wantMetric(t, `trustpool_agent_ak_state{state="record_unreadable"}`, is(1))
		write(t, record, good)
		crowd.hears(t, n, answered)
		crowd.done(t, "RECORD_UNREADABLE")

		if again := n.quoteSoon(t).GetAkName(); !bytes.Equal(again, name) {
			t.Errorf("the AK is %x, not %x", again, name)
		}
	}
}
