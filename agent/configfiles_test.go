package agent_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trustpool/trustpool/agent"
)

func TestFilesThatAreNotThereAreNamedByTheirKeys(t *testing.T) {
	t.Parallel()

	dir := t.TempDir()
	file := filepath.Join(dir, "file")

	if err := os.WriteFile(file, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}

	config := agent.DefaultConfig()
	config.StateDir = dir
	config.TPM.OwnerAuthFile, config.TPM.EKCertificate = file, file

	if err := config.CheckFiles(); err != nil {
		t.Errorf("all is there: %v", err)
	}

	for key, change := range map[string]func(*agent.Config){
		"state_dir":                 func(c *agent.Config) { c.StateDir = filepath.Join(dir, "none") },
		"logs.root":                 func(c *agent.Config) { c.Logs.Root = file },
		"listen.unix":               func(c *agent.Config) { c.Listen.Unix = filepath.Join(dir, "none", "agent.sock") },
		"audit.file":                func(c *agent.Config) { c.Audit.File = filepath.Join(dir, "none", "audit.log") },
		"tpm.owner_auth_file":       func(c *agent.Config) { c.TPM.OwnerAuthFile = filepath.Join(dir, "none") },
		"tpm.endorsement_auth_file": func(c *agent.Config) { c.TPM.EndorsementAuthFile = filepath.Join(dir, "none") },
		"tpm.ek_certificate":        func(c *agent.Config) { c.TPM.EKCertificate = filepath.Join(dir, "none") },
	} {
		wrong := config
		change(&wrong)

		if err := wrong.CheckFiles(); err == nil || !strings.HasPrefix(err.Error(), key+": ") {
			t.Errorf("%s: got %v", key, err)
		}
	}
}
