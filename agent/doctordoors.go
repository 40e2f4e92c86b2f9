package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// doors examines where callers come in, and who may.
func (e *examination) doors() []Finding {
	var findings []Finding

	for _, door := range []struct{ key, address string }{{"listen.address", e.config.Listen.Address}, {"admin.address", e.config.Admin.Address}} {
		if door.address != "" {
			findings = append(findings, e.port(door.key, door.address))
		}
	}

	if e.config.Listen.Address == "" && e.config.Listen.Unix == "" {
		findings = append(findings, broken("port", "write :9443 as listen.address", "neither listen.address nor listen.unix is set: nobody can call"))
	}

	if path := e.config.Listen.Unix; path != "" {
		findings = append(findings, e.unixSocket(path))
	}

	return findings
}

// port tells whether an address is free, or held by the agent itself. It looks into the kernel's tables: listening there, even for a moment, could keep an agent from starting.
func (e *examination) port(key, address string) Finding {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return broken("port", "", "%s: %v", key, err)
	}

	number, err := net.LookupPort("tcp", port)
	if err != nil {
		return broken("port", "write a number", "%s: %v", key, err)
	}

	if inode := listeningOn(host, number); inode != "" {
		return held(key, address, holdersOf(inode), e.pid, os.Geteuid() == 0)
	}

	// Any free port on that address: is it this machine's at all?
	listener, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return broken("port", "write an address of this machine, or :"+port+" for all of them", "%s: %v", key, err)
	}

	_ = listener.Close() // nobody knew of it

	if e.pid != 0 && number != 0 {
		return warned("port", "restart the agent: this part of the config is read at its start only", "%s: nothing listens on %s, though an agent runs", key, address)
	}

	return fine("port", "%s: %s is free", key, address)
}

// held tells who listens on an address: the processes that this one sees to have it. pid is the agent's, 0 if none runs.
func held(key, address string, holders []int, pid int, isRoot bool) Finding {
	switch {
	case pid != 0 && slices.Contains(holders, pid):
		return fine("port", "%s: the agent listens on %s", key, address)
	case slices.Contains(holders, 1):
		return fine("port", "%s: systemd listens on %s for the agent", key, address)
	case len(holders) > 0:
		return broken("port", "stop it, or choose another "+key, "%s: %s is in use by process %d (%s)", key, address, holders[0], commandOf(holders[0]))
	case pid != 0 && !isRoot:
		return fine("port", "%s: somebody listens on %s, and only root can see whether it is the agent", key, address)
	default:
		return broken("port", "find out who (ss -ltnp), and stop it or choose another "+key, "%s: %s is in use by another process", key, address)
	}
}

// listeningOn returns the inode of a socket that listens on a port, at that host's address or at all; empty if there is none. proc_net_tcp(5).
func listeningOn(host string, port int) string {
	const listening = "0A"

	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		content, err := os.ReadFile(table)
		if err != nil {
			continue
		}

		for line := range strings.Lines(string(content)) {
			fields := strings.Fields(line)
			if len(fields) < 10 || fields[3] != listening {
				continue
			}

			address, hex, _ := strings.Cut(fields[1], ":")
			if n, err := strconv.ParseUint(hex, 16, 16); err != nil || int(n) != port {
				continue
			}

			if overlap(host, address) {
				return fields[9]
			}
		}
	}

	return ""
}

// overlap says whether a listener at a host (empty: at all addresses) gets in the way of one at an address of the kernel's tables: its 32-bit words in the machine's byte order,
// which is little-endian on all that have a TPM of a PC.
func overlap(host, table string) bool {
	ip := net.ParseIP(host)
	if strings.Trim(table, "0") == "" || host == "" || ip == nil || ip.IsUnspecified() {
		return true
	}

	words := []byte(ip.To16())
	if four := ip.To4(); four != nil && len(table) == 8 {
		words = four
	}

	var b strings.Builder

	for i := 0; i+4 <= len(words); i += 4 {
		fmt.Fprintf(&b, "%02X%02X%02X%02X", words[i+3], words[i+2], words[i+1], words[i])
	}

	return b.String() == table
}

// holdersOf returns the processes that have a socket open, as far as this one may see.
func holdersOf(inode string) []int {
	descriptors, err := filepath.Glob("/proc/[0-9]*/fd/[0-9]*")
	if err != nil {
		return nil
	}

	var holders []int

	for _, descriptor := range descriptors {
		if target, err := os.Readlink(descriptor); err != nil || target != "socket:["+inode+"]" {
			continue
		}

		if pid, err := strconv.Atoi(strings.Split(descriptor, "/")[2]); err == nil {
			holders = append(holders, pid)
		}
	}

	return holders
}

func commandOf(pid int) string {
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil {
		return "?"
	}

	return strings.TrimSpace(string(name))
}

// callable returns an address that can be called, also where somebody listens on all.
func callable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}

	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}

	return net.JoinHostPort(host, port)
}

// unixSocket tells whether local tools can come in.
func (e *examination) unixSocket(path string) Finding {
	info, err := os.Lstat(path)

	switch {
	case errors.Is(err, fs.ErrNotExist) && e.pid != 0:
		return warned("unix", "restart the agent: this part of the config is read at its start only", "there is no %s, though an agent runs", path)
	case errors.Is(err, fs.ErrNotExist):
		return fine("unix", "%s is made when the agent starts", path)
	case err != nil:
		return broken("unix", "run this as root or as the agent's user", "%v", err)
	case info.Mode().Type() != fs.ModeSocket:
		return broken("unix", "move it away, or choose another listen.unix", "%s is there and no socket", path)
	case e.pid == 0:
		return fine("unix", "%s was left behind; the agent replaces it when it starts", path)
	default:
		return fine("unix", "%s, mode %04o", path, info.Mode().Perm())
	}
}

// access tells in words who may call.
func (e *examination) access() []Finding {
	var findings []Finding

	roles := make(map[Role]bool)

	for _, rule := range e.config.Clients {
		findings = append(findings, fine("access", "%s may %s%s", strings.Join(rule.SAN, " or "), inWords(rule.Roles), onPCRs(rule.Limits)))

		for _, role := range rule.Roles {
			roles[role] = true
		}
	}

	if e.config.Listen.Unix != "" {
		for _, rule := range e.config.Listen.UnixClients {
			findings = append(findings, fine("access", "%s may %s%s on %s", rule.who(), inWords(rule.Roles), onPCRs(rule.Limits), e.config.Listen.Unix))
		}

		if len(e.config.Listen.UnixClients) == 0 {
			findings = append(findings, fine("access", "root and the agent's user may do all, and who else may open %s may quote, raw and observe", e.config.Listen.Unix))
		}
	}

	if e.config.Listen.Address != "" && !roles[RoleQuote] {
		findings = append(findings, broken("access", "give an attestation server the role quote under clients", "no caller by TLS may ask for quotes"))
	}

	if e.config.Listen.Address != "" && !roles[RoleEnroll] {
		findings = append(findings, warned("access", "give whoever enrols nodes the role enroll under clients", "no caller by TLS may enrol this node"))
	}

	return findings
}

func inWords(roles []Role) string {
	words := make([]string, 0, len(roles))
	for _, role := range roles {
		words = append(words, string(role))
	}

	return strings.Join(words, ", ")
}

func onPCRs(l Limits) string {
	if l.PCRs == "" {
		return ""
	}

	return ", of PCRs " + l.PCRs + " only"
}

// who names whom a rule is about.
func (r UnixRule) who() string {
	var words []string

	if r.UID != nil {
		words = append(words, "user "+userName(strconv.FormatUint(uint64(*r.UID), 10)))
	}

	if r.GID != nil {
		words = append(words, "group "+groupName(strconv.FormatUint(uint64(*r.GID), 10)))
	}

	return strings.Join(words, " in ")
}
