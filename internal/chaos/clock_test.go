//go:build chaos && clock

package chaos

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// shiftVariable names the file whose eight bytes the agent's clock is ahead, in seconds.
const shiftVariable = "TRUSTPOOL_CHAOS_CLOCK"

// shift is added to Go's package time: there is no other way to set the clock of one process alone.
const shift = `package time

import (
	"sync/atomic"
	"syscall"
	"unsafe"
)

var shift *int64

func init() {
	path, ok := syscall.Getenv("` + shiftVariable + `")
	if !ok {
		return
	}

	fd, err := syscall.Open(path, syscall.O_RDONLY, 0)
	if err != nil {
		panic(err)
	}

	page, err := syscall.Mmap(fd, 0, 8, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		panic(err)
	}

	shift = (*int64)(unsafe.Pointer(&page[0]))
}

func shifted() int64 {
	if shift == nil {
		return 0
	}

	return atomic.LoadInt64(shift)
}
`

// shiftable builds the agent with a clock of the day that can be set. Its monotonic clock is the machine's, as it is when somebody sets the clock.
func shiftable(t *testing.T) (program string) {
	t.Helper()

	dir := t.TempDir()

	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}

	sources := filepath.Join(strings.TrimSpace(string(root)), "src", "time")

	text, err := os.ReadFile(filepath.Join(sources, "time.go"))
	if err != nil {
		t.Fatal(err)
	}

	const now = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	if !bytes.Contains(text, []byte(now)) {
		t.Fatal("this Go's time.Now is another one: change this test")
	}

	files := map[string][]byte{"time.go": bytes.Replace(text, []byte(now), []byte(now+"\tsec += shifted()\n"), 1), "shifted.go": []byte(shift)}
	overlay := map[string]map[string]string{"Replace": {}}

	for name, content := range files {
		write(t, filepath.Join(dir, name), content)
		overlay["Replace"][filepath.Join(sources, name)] = filepath.Join(dir, name)
	}

	list, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}

	write(t, filepath.Join(dir, "overlay.json"), list)

	program = filepath.Join(dir, "trustpool-agent")
	build := exec.Command("go", "build", "-overlay", filepath.Join(dir, "overlay.json"), "-o", program, "github.com/trustpool/trustpool/cmd/trustpool-agent")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")

	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}

	return program
}

// TestChaosClockBackAndForward sets the clock of a running agent: a bit and much, forward and back. Certificates are good or not by it, and nothing else changes.
func TestChaosClockBackAndForward(t *testing.T) {
	t.Parallel()

	clock := filepath.Join(t.TempDir(), "clock")
	if err := os.WriteFile(clock, make([]byte, 8), 0o600); err != nil {
		t.Fatal(err)
	}

	set := func(ahead time.Duration) {
		t.Helper()

		file, err := os.OpenFile(clock, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()

		// In place: the agent has these bytes mapped.
		if _, err := file.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(ahead/time.Second)), 0); err != nil {
			t.Fatal(err)
		}
	}

	n := newNode(t, options{program: shiftable(t), wrap: []string{"env", shiftVariable + "=" + clock}})
	local := n.crowd(n.local(t), 2)

	for _, jump := range []struct {
		ahead time.Duration
		good  bool // the certificates, which are good from an hour ago for a day
	}{
		{10 * time.Minute, true},
		{-30 * time.Minute, true},
		{25 * time.Hour, false},
		{-2 * time.Hour, false},
		{20 * 365 * 24 * time.Hour, false},
		{-50 * 365 * 24 * time.Hour, false},
		{0, true},
	} {
		set(jump.ahead)
		local.hears(t, n, answered)

		if err := n.newcomer(t); (err == nil) != jump.good || err != nil && heard(err) != unreachable {
			t.Errorf("with the clock at %v a newcomer hears %s", jump.ahead, heard(err))
		}
	}

	n.quoteSoon(t)
	local.done(t)
	n.wantMetric(t, `trustpool_agent_denials_total{reason="certificate"}`, above(3))
	n.wantMetric(t, "trustpool_agent_ready", is(1))
}
