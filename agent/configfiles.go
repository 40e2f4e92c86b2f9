package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// CheckFiles reports all that is wrong with the files and folders that a valid config names, apart from those for TLS, as Validate does.
func (c Config) CheckFiles() error {
	var p problems

	if _, err := c.TPM.auths(); err != nil {
		p = append(p, fmt.Errorf("%w; write the path of a file that the agent may read", err))
	}

	if c.TPM.EKCertificate != "" {
		if _, err := os.ReadFile(c.TPM.EKCertificate); err != nil {
			p.add("tpm.ek_certificate", "%v; write the path of a file that the agent may read", err)
		}
	}

	for _, dir := range []struct{ key, path string }{
		{"state_dir", c.StateDir},
		{"logs.root", c.Logs.Root},
		{"listen.unix", folderOf(c.Listen.Unix)},
		{"audit.file", folderOf(c.Audit.File)},
	} {
		if dir.path == "" {
			continue
		}

		if info, err := os.Stat(dir.path); err != nil {
			p.add(dir.key, "%v; make that folder, for the agent's user", err)
		} else if !info.IsDir() {
			p.add(dir.key, "%s is no folder; write the path of one", dir.path)
		}
	}

	return errors.Join(p...)
}

// folderOf returns the folder in which a file will be made.
func folderOf(file string) string {
	if file == "" {
		return ""
	}

	return filepath.Dir(file)
}
