package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Bytes that the state folder's file system should have left. The record has a few hundred.
const (
	spaceNeeded = 64 << 10
	spaceWanted = 16 << 20
)

// state examines the state folder.
func (e *examination) state() []Finding {
	dir := e.config.StateDir
	if dir == "" {
		return []Finding{warned("state", "write /var/lib/trustpool-agent as state_dir", "no state_dir: the agent can't tell a TPM that was replaced from a new one")}
	}

	info, err := os.Stat(dir)

	switch {
	case errors.Is(err, fs.ErrNotExist):
		return []Finding{broken("state", "install -d -m 0700 -o trustpool-agent -g trustpool-agent "+dir, "%v", err)}
	case err != nil:
		return []Finding{broken("state", "run this as root or as the agent's user", "%v", err)}
	case !info.IsDir():
		return []Finding{broken("state", "write the path of a folder as state_dir", "%s is no folder", dir)}
	}

	findings := []Finding{stateAccess(dir, info)}

	var space unix.Statfs_t
	if err := unix.Statfs(dir, &space); err == nil {
		findings = append(findings, spaceFound(dir, space.Bavail*uint64(space.Bsize))...) // #nosec G115 -- a block's size
	}

	return findings
}

// spaceFound tells of a file system that has too little room left, in bytes.
func spaceFound(dir string, left uint64) []Finding {
	switch {
	case left < spaceNeeded:
		return []Finding{broken("state", "make room", "%s has %d bytes left: the AK's record can't be written", dir, left)}
	case left < spaceWanted:
		return []Finding{warned("state", "make room", "%s has only %d KiB left", dir, left>>10)}
	default:
		return nil
	}
}

// stateAccess tells whether the agent, and nobody else, can write into its folder.
func stateAccess(dir string, info fs.FileInfo) Finding {
	owner := "?"
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		owner = userName(strconv.FormatUint(uint64(stat.Uid), 10))
	}

	about := fmt.Sprintf("%s belongs to %s, mode %04o", dir, owner, info.Mode().Perm())

	if err := unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK|unix.X_OK, unix.AT_EACCESS); err != nil {
		return broken("state", "chown trustpool-agent "+dir+", or run this as root or as the agent's user", "%s: %s may not write into it", about, userName(strconv.Itoa(os.Geteuid())))
	}

	if info.Mode().Perm()&0o022 != 0 {
		return warned("state", "chmod 0700 "+dir, "%s: others may write into it", about)
	}

	return fine("state", "%s", about)
}

// lockedBy returns the process that holds the lock of a state folder, 0 if none does. It takes no lock itself, which could keep an agent from starting.
func lockedBy(dir string) int {
	info, err := os.Stat(filepath.Join(dir, "lock"))
	if err != nil {
		return 0
	}

	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0
	}

	table, err := os.ReadFile("/proc/locks")
	if err != nil {
		return 0
	}

	// proc_locks(5): number, kind, mode, access, pid, major:minor:inode, first, last.
	file := fmt.Sprintf("%02x:%02x:%d", unix.Major(stat.Dev), unix.Minor(stat.Dev), stat.Ino)

	for line := range strings.Lines(string(table)) {
		fields := strings.Fields(line)
		if len(fields) < 6 || fields[1] != "FLOCK" || fields[5] != file {
			continue
		}

		if pid, err := strconv.Atoi(fields[4]); err == nil && pid > 0 {
			return pid
		}
	}

	return 0
}

// daemonFound tells whether an agent runs, and how systemd watches it.
func (e *examination) daemonFound() Finding {
	if e.pid == 0 {
		return warned("daemon", "systemctl enable --now trustpool-agent", "no agent runs on %s", e.config.StateDir)
	}

	about := fmt.Sprintf("an agent runs, process %d", e.pid)

	if why := e.notReady(); why != "" {
		return broken("daemon", "the lines above say what keeps it from quoting; if they do not: journalctl -u trustpool-agent", "%s, but can't quote: %s", about, why)
	}

	environment, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", e.pid))
	if err != nil {
		return fine("daemon", "%s; only root can see how it was started", about)
	}

	return watched(about, string(environment))
}

// watched tells whether systemd watches over a process with this environment, whose variables end with NUL (proc_pid_environ(5)).
func watched(about, environment string) Finding {
	variables := make(map[string]string)

	for variable := range strings.SplitSeq(environment, "\x00") {
		name, value, _ := strings.Cut(variable, "=")
		variables[name] = value
	}

	interval, err := strconv.ParseInt(variables["WATCHDOG_USEC"], 10, 64)

	switch {
	case variables["NOTIFY_SOCKET"] == "":
		return fine("daemon", "%s, not under systemd", about)
	case err != nil:
		return warned("daemon", "write WatchdogSec=60s into its unit", "%s under systemd, which does not watch over it", about)
	default:
		return fine("daemon", "%s under systemd, which restarts it if it is silent for %v", about, time.Duration(interval)*time.Microsecond)
	}
}

// notReady asks a running agent why it can't quote; empty if it can, or does not tell.
func (e *examination) notReady() string {
	if e.config.Admin.Address == "" {
		return ""
	}

	const patience = 3 * time.Second

	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()

	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+callable(e.config.Admin.Address)+"/readyz", http.NoBody)
	if err != nil {
		return ""
	}

	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return ""
	}
	defer func() { _ = response.Body.Close() }() // read only: nothing to lose

	body, err := io.ReadAll(io.LimitReader(response.Body, 4<<10))
	if err != nil || response.StatusCode != http.StatusServiceUnavailable {
		return ""
	}

	return oneLine(string(body))
}
