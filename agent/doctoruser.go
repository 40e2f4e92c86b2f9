package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/trustpool/trustpool/agent/internal/tpm"
)

// use is what the agent has to be able to do with a path.
type use struct {
	// key is the config's, which names the path.
	key, path string
	// mode is that of access(2), doing says it in words.
	mode  uint32
	doing string
	// advice is how to allow it.
	advice string
}

// ExamineUser tells whether the user whom the unit runs the agent as may open what a config names, and the file that the config came from: root, who looks, passes over all modes. It
// says nothing to others, nor while an agent runs as somebody else. What is not there is not its matter. The config is valid.
func ExamineUser(config Config, configFile string) []Finding {
	if os.Geteuid() != 0 {
		return nil
	}

	who, err := serviceAccount()
	if err != nil {
		return []Finding{warned("user", "install the package, or make the user as docs/install.md says under By hand", "whether the agent may open its files is not known: %v", err)}
	}

	if pid := lockedBy(config.StateDir); pid != 0 && !who.isOf(pid) {
		return nil
	}

	return who.examine(uses(config, configFile, who.name))
}

// uses lists what the agent does, as the user of that name.
func uses(config Config, configFile, name string) []use {
	device := config.TPM.Device
	if found, err := filepath.Glob("/dev/tpmrm[0-9]*"); device == tpm.Auto && err == nil && len(found) > 0 {
		device = found[0]
	}

	all := []use{
		{"tpm.device", device, unix.R_OK | unix.W_OK, "open", "see that its group is " + deviceGroup + " and may read and write it: package tpm-udev (Debian) or tpm2-tss (Fedora) has the udev rule"},
		{"the config", configFile, unix.R_OK, "read", "chmod 0644 " + configFile},
	}

	for _, file := range []struct{ key, path string }{
		{"tpm.owner_auth_file", config.TPM.OwnerAuthFile},
		{"tpm.endorsement_auth_file", config.TPM.EndorsementAuthFile},
		{"tpm.ek_certificate", config.TPM.EKCertificate},
		{"tls.certificate", config.TLS.Certificate},
		{"tls.key", config.TLS.Key},
		{"tls.client_ca", config.TLS.ClientCA},
		{"tls.crl", config.TLS.CRL},
	} {
		all = append(all, use{file.key, file.path, unix.R_OK, "read", fmt.Sprintf("chgrp %s %s && chmod 0640 %[2]s", name, file.path)})
	}

	for _, dir := range []struct{ key, path string }{
		{"state_dir", config.StateDir}, {"listen.unix", folderOf(config.Listen.Unix)}, {"audit.file", folderOf(config.Audit.File)},
	} {
		all = append(all, use{dir.key, dir.path, unix.W_OK | unix.X_OK, "write into", fmt.Sprintf("chown %s %s", name, dir.path)})
	}

	return all
}

// examine tries all uses. Nothing is opened for that.
func (a account) examine(all []use) []Finding {
	var findings []Finding

	err := a.become(func() {
		for _, u := range all {
			if finding, isDenied := a.try(u); isDenied {
				findings = append(findings, finding)
			}
		}
	})

	switch {
	case err != nil:
		return []Finding{warned("user", "", "whether %s may open the agent's files can't be tried here: %v", a.name, err)}
	case len(findings) == 0:
		return []Finding{fine("user", "%s may open all that the config names", a.name)}
	}

	return findings
}

// try looks whether the present thread may do that, and if not, at which folder on the way it ends.
func (a account) try(u use) (_ Finding, isDenied bool) {
	if !filepath.IsAbs(u.path) { // nothing, a credential of systemd's, or the key in the TPM
		return Finding{}, false
	}

	for _, folder := range above(u.path) {
		if isRefused(folder, unix.X_OK) {
			return broken("user", "chmod o+x "+folder+", or name another place", "%s: %s may not %s %s, because %s", u.key, a.name, u.doing, u.path, belongs(folder)), true
		}
	}

	if isRefused(u.path, u.mode) {
		return broken("user", u.advice, "%s: %s may not %s %s: %s", u.key, a.name, u.doing, u.path, belongs(u.path)), true
	}

	return Finding{}, false
}

// isRefused asks the kernel. access(2) goes by the real user, who is the same as the effective one here.
func isRefused(path string, mode uint32) bool {
	return errors.Is(unix.Access(path, mode), fs.ErrPermission)
}

// above lists the folders on the way to a path, the root first.
func above(path string) []string {
	folders := []string{"/"}

	for i, c := range path {
		if c == filepath.Separator && i > 0 {
			folders = append(folders, path[:i])
		}
	}

	return folders
}

// belongs says in words whose a path is.
func belongs(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return err.Error()
	}

	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "the system does not say whose it is"
	}

	return fmt.Sprintf("%s belongs to %s:%s with mode %04o", path,
		userName(strconv.FormatUint(uint64(owner.Uid), 10)), groupName(strconv.FormatUint(uint64(owner.Gid), 10)), info.Mode().Perm())
}
