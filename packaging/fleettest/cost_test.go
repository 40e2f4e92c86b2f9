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
		state := server.Cmd.ProcessState
		cpu += state.UserTime() + state.SystemTime()
		memory = max(memory, state.SysUsage().(*syscall.Rusage).Maxrss)
	}

	var database int64
	for _, suffix := range []string{"", "-wal"} {
		if info, err := os.Stat(s.path("trustpool.db") + suffix); err == nil {
			database += info.Size()
		}
	}

	var bytes int64
	for _, way := range s.ways {
		bytes += way.bytes.Load()
	}

	times := float64(nodes) * (within.Seconds() / interval.Seconds()) // that a node was to be asked

	return fmt.Sprintf("the servers, for each node and interval: %.2f ms of a processor, %.1f KiB over the network; at most %d MiB of memory, %d KiB of database for each node\n",
		float64(cpu.Microseconds())/1000/times, float64(bytes)/1024/times, memory>>10, database>>10/int64(nodes))
}
