//go:build fleet

package fleettest_test

import (
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"
)

// cost tells what the servers have used, all of which have ended, for so many nodes in that time.
func (s *site) cost(t *testing.T, nodes int, within time.Duration) string {
	t.Helper()

	var (
		cpu    time.Duration
		memory int64 // KiB, of the largest
	)

	for _, server := range s.servers {
		state := server.cmd.ProcessState
		cpu += state.UserTime() + state.SystemTime()
		memory = max(memory, state.SysUsage().(*syscall.Rusage).Maxrss)
	}

	var database int64
	for _, suffix := range []string{"", "-wal"} {
		if info, err := os.Stat(s.path("trustpool.db") + suffix); err == nil {
			database += info.Size()
		}
	}

	return fmt.Sprintf("the server: %.2f ms of a processor for each node and interval, at most %d MiB of memory, %d KiB of database for each node\n",
		float64(cpu.Microseconds())/1000/float64(nodes)/(within.Seconds()/interval.Seconds()), memory>>10, database>>10/int64(nodes))
}
