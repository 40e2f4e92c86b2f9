package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// memory is what the nodes take, in bytes: proportional set sizes, so that what processes share counts once.
type memory struct {
	// Simulator is this process, with all agents in it; TPMs is all of swtpm. PerNode is both, divided by the nodes.
	Simulator int64 `json:"simulator_bytes"`
	TPMs      int64 `json:"tpms_bytes"`
	PerNode   int64 `json:"per_node_bytes"`
}

// String tells it to people.
func (m memory) String() string {
	const mib = 1 << 20

	return fmt.Sprintf("%.1f MiB of memory a node (%.0f MiB are the agents, %.0f MiB swtpm)",
		float64(m.PerNode)/mib, float64(m.Simulator)/mib, float64(m.TPMs)/mib)
}

// measureMemory looks at this process and at its children. What can't be read counts as nothing.
func measureMemory(nodes int) memory {
	m := memory{Simulator: proportionalSize("self")}

	lists, _ := filepath.Glob("/proc/self/task/*/children") // proc(5); the pattern is well-formed
	for _, list := range lists {
		children, err := os.ReadFile(list) // #nosec G304 -- of the kernel
		if err != nil {
			continue // the thread has ended
		}

		for pid := range strings.FieldsSeq(string(children)) {
			m.TPMs += proportionalSize(pid)
		}
	}

	m.PerNode = (m.Simulator + m.TPMs) / int64(max(nodes, 1))

	return m
}

// proportionalSize reads the line "Pss:" of a process, in bytes (proc(5), smaps_rollup).
func proportionalSize(pid string) int64 {
	rollup, err := os.ReadFile(filepath.Join("/proc", pid, "smaps_rollup")) // #nosec G304 -- of the kernel
	if err != nil {
		return 0
	}

	lines := bufio.NewScanner(bytes.NewReader(rollup))
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); len(fields) == 3 && fields[0] == "Pss:" {
			kib, err := strconv.ParseInt(fields[1], 10, 64)
			if err != nil {
				return 0
			}

			return kib << 10
		}
	}

	return 0
}
