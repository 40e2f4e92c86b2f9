package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// meter takes the CPU time of a node's daemon and of ourselves.
type meter struct {
	node         *node
	ours, theirs time.Duration
}

func startMeter(n *node) (*meter, error) {
	m := &meter{node: n}

	var err error
	m.ours, m.theirs, err = m.read()

	return m, err
}

// read returns what both took since the start.
func (m *meter) read() (ours, theirs time.Duration, err error) {
	if ours, err = cpuTime(os.Getpid()); err != nil {
		return 0, 0, err
	}

	theirs, err = cpuTime(m.node.cmd.Process.Pid)

	return ours - m.ours, theirs - m.theirs, err
}

// residentSize reads VmRSS of a process, in bytes (proc_pid_status(5)).
func residentSize(pid int) (int64, error) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return 0, fmt.Errorf("reading a process's memory: %w", err)
	}

	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("reading a process's memory: %w", err)
			}

			return kib << 10, nil
		}
	}

	return 0, fmt.Errorf("process %d tells no VmRSS", pid)
}

// cpuTime adds up the time that the threads of a process ran: the first number in their schedstat, in nanoseconds (the kernel's
// Documentation/scheduler/sched-stats.rst).
func cpuTime(pid int) (time.Duration, error) {
	paths, err := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "task", "*", "schedstat"))
	if err != nil || len(paths) == 0 {
		return 0, fmt.Errorf("reading a process's CPU time: there is no schedstat of %d", pid)
	}

	var sum time.Duration

	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return 0, fmt.Errorf("reading a process's CPU time: %w", err)
		}

		ran, _, _ := strings.Cut(string(text), " ")

		nanoseconds, err := strconv.ParseInt(ran, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("reading a process's CPU time: %w", err)
		}

		sum += time.Duration(nanoseconds)
	}

	return sum, nil
}
