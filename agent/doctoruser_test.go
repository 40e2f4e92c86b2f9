package agent

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestTheAgentsUserMayOpenItsFiles lets each thing be closed to the agent's user in turn.
func TestTheAgentsUserMayOpenItsFiles(t *testing.T) {
	t.Parallel()

	for name, test := range map[string]struct {
		closes string // relative to the folder
		says   []string
	}{
		"nothing":               {"", nil},
		"the device":            {"tpmrm0", []string{"tpm.device: ", " may not open ", "tpm-udev"}},
		"the config":            {"etc/agent.yaml", []string{"the config: ", " may not read ", "chmod 0644 "}},
		"the certificate":       {"etc/server.pem", []string{"tls.certificate: ", " may not read ", "chgrp "}},
		"the key":               {"etc/server-key.pem", []string{"tls.key: ", " may not read ", "chmod 0640 "}},
		"the clients' CA":       {"etc/ca.pem", []string{"tls.client_ca: ", " may not read "}},
		"the revocation list":   {"etc/crl.pem", []string{"tls.crl: ", " may not read "}},
		"an owner value":        {"etc/owner", []string{"tpm.owner_auth_file: ", " may not read "}},
		"an endorsement value":  {"etc/endorsement", []string{"tpm.endorsement_auth_file: ", " may not read "}},
		"the EK's certificate":  {"etc/ek.pem", []string{"tpm.ek_certificate: ", " may not read "}},
		"the state folder":      {"state", []string{"state_dir: ", " may not write into ", "chown "}},
		"the socket's folder":   {"run", []string{"listen.unix: ", " may not write into ", "chown "}},
		"the audit's folder":    {"log", []string{"audit.file: ", " may not write into ", "chown "}},
		"a folder on the way":   {"etc", []string{"tls.key: ", "etc belongs to ", "chmod o+x "}},
		"a folder far above it": {".", []string{"tls.key: ", "chmod o+x "}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			dir := filepath.Join(t.TempDir(), "host")
			config := inhabit(t, dir)
			all := uses(config, filepath.Join(dir, "etc/agent.yaml"), "somebody")

			if test.closes != "" {
				closed := filepath.Join(dir, test.closes)
				if err := os.Chmod(closed, 0); err != nil { // #nosec G302 -- the test's
					t.Fatal(err)
				}

				t.Cleanup(func() { _ = os.Chmod(closed, 0o700) }) // #nosec G302 -- so that it can be removed
			}

			findings := tried(t, all)

			if test.says == nil {
				if len(findings) != 1 || findings[0].Outcome != OutcomeOK {
					t.Errorf("%+v", findings)
				}

				return
			}

			var said strings.Builder

			for _, f := range findings {
				if f.Check != "user" || f.Outcome != OutcomeFailed {
					t.Errorf("%+v", f)
				}

				said.WriteString(f.Detail + " > " + f.Advice + "\n")
			}

			for _, want := range test.says {
				if !strings.Contains(said.String(), want) {
					t.Errorf("nothing says %q:\n%s", want, &said)
				}
			}

			if info, err := os.Stat(filepath.Join(dir, test.closes)); err == nil && !info.IsDir() && len(findings) != 1 {
				t.Errorf("one thing is closed, this is said:\n%s", &said)
			}
		})
	}
}

// inhabit makes a host's files, which everybody may use, and returns a config that names them.
func inhabit(t *testing.T, dir string) Config {
	t.Helper()

	for _, folder := range []string{"etc", "state", "run", "log"} {
		if err := os.MkdirAll(filepath.Join(dir, folder), 0o700); err != nil {
			t.Fatal(err)
		}

		if err := os.Chmod(filepath.Join(dir, folder), fs.FileMode(0o777)); err != nil { // #nosec G302 -- the umask must not matter
			t.Fatal(err)
		}
	}

	openUp(t, dir)

	in := func(name string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}

		if err := os.Chmod(path, 0o666); err != nil { // #nosec G302 -- the umask must not matter
			t.Fatal(err)
		}

		return path
	}

	in("etc/agent.yaml")

	config := onDevice(in("tpmrm0"))
	config.TPM.OwnerAuthFile, config.TPM.EndorsementAuthFile, config.TPM.EKCertificate = in("etc/owner"), in("etc/endorsement"), in("etc/ek.pem")
	config.TLS = TLSConfig{Certificate: in("etc/server.pem"), Key: in("etc/server-key.pem"), ClientCA: in("etc/ca.pem"), CRL: in("etc/crl.pem")}
	config.StateDir, config.Listen.Unix, config.Audit.File = filepath.Join(dir, "state"), filepath.Join(dir, "run/agent.sock"), filepath.Join(dir, "log/audit.log")

	return config
}

// tried is what a user who owns nothing finds, or, where root does not run the tests, the owner, who may use nothing of mode 0 either.
func tried(t *testing.T, all []use) []Finding {
	t.Helper()

	if os.Geteuid() == 0 {
		return nobody().examine(all)
	}

	var findings []Finding

	for _, u := range all {
		if finding, isDenied := nobody().try(u); isDenied {
			findings = append(findings, finding)
		}
	}

	if len(findings) == 0 {
		return []Finding{fine("user", "")}
	}

	return findings
}

func TestWhoIsNotRootCantBecomeAnother(t *testing.T) {
	t.Parallel()

	if os.Geteuid() != 0 {
		if err := nobody().become(func() { t.Error("it did") }); err == nil {
			t.Error("no error")
		}

		return
	}

	tooMany := account{name: "nobody", uid: 65534, gid: 65534, groups: make([]uint32, 1<<16+1)} // setgroups(2): NGROUPS_MAX is 65536
	if f := tooMany.examine(nil)[0]; f.Outcome != OutcomeWarning || !strings.Contains(f.Detail, "can't be tried here: taking the groups of nobody: ") {
		t.Errorf("%+v", f)
	}

	// The thread that has become nobody is not root any more, and the others are.
	if err := nobody().become(func() {
		if uid := unix.Getuid(); uid != 65534 {
			t.Errorf("as nobody: uid %d", uid)
		}

		if err := nobody().take(); err == nil {
			t.Error("nobody could take groups")
		}
	}); err != nil {
		t.Error(err)
	}

	if uid := unix.Getuid(); uid != 0 {
		t.Errorf("afterwards: uid %d", uid)
	}
}

func TestTheDoctorSaysIfThereIsNoUserForTheAgent(t *testing.T) {
	t.Parallel()

	findings := ExamineUser(onDevice("/no/such/device"), "/no/such/config")

	_, err := serviceAccount()

	switch {
	case os.Geteuid() != 0 && findings != nil:
		t.Errorf("to others than root: %+v", findings)
	case os.Geteuid() == 0 && err != nil && (len(findings) != 1 || findings[0].Outcome != OutcomeWarning || !strings.Contains(findings[0].Advice, "docs/install.md")):
		t.Errorf("without the user: %+v", findings)
	case os.Geteuid() == 0 && err == nil && len(findings) == 0:
		t.Error("with the user: nothing")
	}
}
