package agent

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-tpm/tpm2"

	"github.com/trustpool/trustpool/agent/internal/logs"
	"github.com/trustpool/trustpool/agent/internal/tpm"
)

// Config is the agent's configuration file, /etc/trustpool-agent/agent.yaml. Keys that are not named here are refused.
type Config struct {
	TPM    TPMConfig    `yaml:"tpm"`
	Listen ListenConfig `yaml:"listen"`
	TLS    TLSConfig    `yaml:"tls"`
	// Clients say who may call what. A caller without a rule is refused. There is no default.
	Clients []ClientRule `yaml:"clients"`
	Audit   AuditConfig  `yaml:"audit"`
	Logs    LogsConfig   `yaml:"logs"`
	// StateDir is a folder of the agent's own, where it remembers which key is its AK. No secret is in it, and its loss does no harm as long as the TPM is not
	// cleared as well. Default: /var/lib/trustpool-agent. Empty: nothing is remembered.
	StateDir string        `yaml:"state_dir"`
	Attestz  AttestzConfig `yaml:"attestz"`
	Admin    AdminConfig   `yaml:"admin"`
}

// AttestzConfig is about OpenConfig attestz, which serves the same evidence to verifiers that speak its protocol.
type AttestzConfig struct {
	// Enabled serves TpmAttestzService, and of TpmEnrollzService what a host can do, on all listeners. Default: false, nobody is served.
	Enabled bool `yaml:"enabled"`
	// IAKCertificate is a file with a vendor's certificate for the AK, and its chain (PEM), which GetIakCert hands out. Default: none.
	IAKCertificate string `yaml:"iak_certificate"`
}

// TPMConfig says which TPM to use and how.
type TPMConfig struct {
	// Device is the kernel's resource manager, or a unix socket that carries the same frames; "auto" means the resource manager with the lowest number that is there
	// at each opening. Default: /dev/tpmrm0.
	Device string `yaml:"device"`
	// Queue is how many calls may wait for the TPM at a time, half of them of one caller; more are told when to come again. Default: 64.
	Queue int `yaml:"queue"`
	// OwnerAuthFile and EndorsementAuthFile hold the authorisation values of the TPM's owner and endorsement hierarchies; a newline at the end does not count.
	// credential:NAME means what systemd's LoadCredential=NAME:... gave to the unit. Default: none, both values are empty. Without the owner's the AK can't be kept in the TPM, and each quote costs more.
	OwnerAuthFile       string `yaml:"owner_auth_file"`
	EndorsementAuthFile string `yaml:"endorsement_auth_file"`
	// EKCertificate is a file with the EK's certificate (DER, or PEM with its chain), for TPMs that hold none themselves. Default: none.
	EKCertificate string   `yaml:"ek_certificate"`
	AK            AKConfig `yaml:"ak"`
}

// AKConfig is the attestation key.
type AKConfig struct {
	// Algorithm is ecdsa-p256, ecdsa-p384 or rsa-2048. A change takes effect at the next rotation. Default: ecdsa-p256, the fastest on nearly all TPMs.
	Algorithm tpm.KeyAlgorithm `yaml:"algorithm"`
	// Handle is the persistent handle where the first AK sits; each rotation takes the next one. An object of somebody else there is never overwritten. Default:
	// 0x81018100.
	Handle uint32 `yaml:"handle"`
}

// LogsConfig says where event logs are.
type LogsConfig struct {
	// Root stands for "/": below it the host's own logs are looked for. In a container, it is where the host's root is. Default: /. Empty: they are left alone.
	Root string `yaml:"root"`
	// Collected is the folder where "trustpool-agent collect" leaves at boot what only root may read. Default: /run/trustpool-agent-collect. Empty: there is none.
	Collected string `yaml:"collected"`
	// Files are logs in other places. One with the source of a log of the host's takes its place. Default: none.
	Files []LogConfig `yaml:"files"`
}

// LogConfig is one event log.
type LogConfig struct {
	// Source is the name that callers use for it: letters, digits and dashes, at most 32.
	Source string `yaml:"source"`
	// Path is the file.
	Path string `yaml:"path"`
}

// AdminConfig is the listener for the operator's own tools: metrics.
type AdminConfig struct {
	// Address is host:port without TLS. Default: 127.0.0.1:9444. Empty: none.
	Address string `yaml:"address"`
}

// DefaultConfig returns the defaults that a file is read over.
func DefaultConfig() Config {
	return Config{
		TPM:      TPMConfig{Device: "/dev/tpmrm0", Queue: 64, AK: AKConfig{Algorithm: tpm.ECDSAP256, Handle: uint32(tpm.DefaultHandle)}},
		Listen:   ListenConfig{Address: ":9443"},
		Logs:     LogsConfig{Root: "/", Collected: CollectDir},
		StateDir: "/var/lib/trustpool-agent",
		Admin:    AdminConfig{Address: "127.0.0.1:9444"},
	}
}

// recordFile is where the AK's record is kept.
func (c Config) recordFile() string {
	if c.StateDir == "" {
		return ""
	}

	return filepath.Join(c.StateDir, "ak.json")
}

// auths reads the hierarchies' authorisation values.
func (c TPMConfig) auths() (auths tpm.Auths, err error) {
	if auths.Owner, err = readAuth(c.OwnerAuthFile); err != nil {
		return tpm.Auths{}, fmt.Errorf("tpm.owner_auth_file: %w", err)
	}

	if auths.Endorsement, err = readAuth(c.EndorsementAuthFile); err != nil {
		return tpm.Auths{}, fmt.Errorf("tpm.endorsement_auth_file: %w", err)
	}

	return auths, nil
}

func readAuth(path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}

	value, err := os.ReadFile(path) // #nosec G304 -- the operator's config names the file
	if err != nil {
		return nil, err
	}

	value = bytes.TrimSuffix(value, []byte("\n"))

	// TPM 2.0 Part 1, 19.6.5: no value is longer than the largest digest.
	if len(value) > 64 {
		return nil, fmt.Errorf("%s has %d bytes, no TPM takes more than 64", path, len(value))
	}

	return value, nil
}

// problems collects what is wrong with a config, as `path.to.key: what is wrong, what to write`.
type problems []error

func (p *problems) add(key, format string, args ...any) {
	*p = append(*p, fmt.Errorf("%s: %s", key, fmt.Sprintf(format, args...)))
}

// Validate reports all that is wrong, each on a line of its own.
func (c Config) Validate() error {
	var p problems

	c.TPM.validate(&p)
	c.validateListen(&p)
	c.validateClients(&p)
	c.Logs.validate(&p)

	if c.StateDir != "" && !filepath.IsAbs(c.StateDir) {
		p.add("state_dir", "%q is not an absolute path; write /var/lib/trustpool-agent", c.StateDir)
	}

	if c.Audit.File != "" && !filepath.IsAbs(c.Audit.File) {
		p.add("audit.file", "%q is not an absolute path; write one", c.Audit.File)
	}

	if c.Attestz.IAKCertificate != "" && !filepath.IsAbs(c.Attestz.IAKCertificate) {
		p.add("attestz.iak_certificate", "%q is not an absolute path; write one", c.Attestz.IAKCertificate)
	}

	if c.Attestz.IAKCertificate != "" && !c.Attestz.Enabled {
		p.add("attestz.iak_certificate", "it says nothing while attestz is not served; remove it, or write attestz.enabled: true")
	}

	if c.Admin.Address != "" {
		checkAddress(&p, "admin.address", c.Admin.Address)
	}

	return errors.Join(p...)
}

func (c TPMConfig) validate(p *problems) {
	if c.Device != tpm.Auto && !filepath.IsAbs(c.Device) {
		p.add("tpm.device", "%q is neither an absolute path nor auto; write /dev/tpmrm0, or auto", c.Device)
	}

	for _, file := range []struct{ key, path string }{
		{"owner_auth_file", c.OwnerAuthFile},
		{"endorsement_auth_file", c.EndorsementAuthFile},
	} {
		if file.path != "" && !isFile(file.path) {
			p.add("tpm."+file.key, "%q is neither an absolute path nor credential:NAME; write one of them", file.path)
		}
	}

	if c.EKCertificate != "" && !filepath.IsAbs(c.EKCertificate) {
		p.add("tpm.ek_certificate", "%q is not an absolute path; write one", c.EKCertificate)
	}

	if c.Queue < 1 || c.Queue > 4096 {
		p.add("tpm.queue", "%d is out of range; write a number from 1 to 4096", c.Queue)
	}

	if !slices.Contains(tpm.KeyAlgorithms(), c.AK.Algorithm) {
		p.add("tpm.ak.algorithm", "%q is not known; write one of %v", c.AK.Algorithm, tpm.KeyAlgorithms())
	}

	// TPM 2.0 Part 2, 7.4: persistent objects of the owner have handles 0x81000000 to 0x817FFFFF.
	if h := tpm2.TPMHandle(c.AK.Handle); h < 0x81000000 || h > 0x817FFFFF {
		p.add("tpm.ak.handle", "0x%08x is not an owner's persistent handle; write one from 0x81000000 to 0x817FFFFF", c.AK.Handle)
	}
}

// options says where a store finds the logs.
func (c LogsConfig) options(bootID string) logs.Options {
	options := logs.Options{Root: c.Root, Collected: c.Collected, BootID: bootID}
	for _, file := range c.Files {
		options.Files = append(options.Files, logs.File{Name: file.Source, Path: file.Path})
	}

	return options
}

func (c LogsConfig) validate(p *problems) {
	for _, dir := range []struct{ key, path string }{{"root", c.Root}, {"collected", c.Collected}} {
		if dir.path != "" && !filepath.IsAbs(dir.path) {
			p.add("logs."+dir.key, "%q is not an absolute path; write one", dir.path)
		}
	}

	seen := make(map[string]bool)

	for i, log := range c.Files {
		key := fmt.Sprintf("logs.files[%d]", i)

		if !isSourceName(log.Source) {
			p.add(key+".source", "%q is not a name; write 1 to 32 small letters, digits and dashes", log.Source)
		}

		if seen[log.Source] {
			p.add(key+".source", "%q is there already; give each log its own name", log.Source)
		}

		seen[log.Source] = true

		if !filepath.IsAbs(log.Path) {
			p.add(key+".path", "%q is not an absolute path; write one", log.Path)
		}
	}
}

// isFile says whether a path can be that of a file, or names a credential of systemd's, which the program around the agent finds.
func isFile(path string) bool {
	return filepath.IsAbs(path) || strings.HasPrefix(path, "credential:")
}

func checkAddress(p *problems, key, address string) {
	if _, _, err := net.SplitHostPort(address); err != nil {
		p.add(key, "%v; write host:port, e.g. 127.0.0.1:9443", err)
	}
}

func isSourceName(s string) bool {
	isAllowed := func(r rune) bool { return r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' }

	return len(s) >= 1 && len(s) <= 32 && !strings.ContainsFunc(s, func(r rune) bool { return !isAllowed(r) })
}
