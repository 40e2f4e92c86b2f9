package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/trustpool/trustpool/agent"
	"github.com/trustpool/trustpool/tpmsim/pki"
)

// ward is a host whose files the doctor looks at; it has no TPM.
type ward struct {
	dir string
	ca  *pki.CA
	// leaf is what the server's certificate is made of, crl what goes into the config.
	leaf pki.Leaf
	crl  string
	// changes are what is written otherwise in the config, old and new by turns; env is more of the environment.
	changes, env []string
}

func newWard(t *testing.T) *ward {
	t.Helper()

	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}

	w := &ward{dir: t.TempDir(), leaf: pki.Leaf{DNSNames: []string{host}, Server: true, NotAfter: time.Now().AddDate(1, 0, 0)}}
	if w.ca, err = pki.New("test"); err != nil {
		t.Fatal(err)
	}

	return w
}

func (w *ward) path(name string) string { return filepath.Join(w.dir, name) }

func (w *ward) issue(t *testing.T, leaf pki.Leaf) *pki.Pair {
	t.Helper()

	pair, err := w.ca.Issue(leaf)
	if err != nil {
		t.Fatal(err)
	}

	return pair
}

// equip writes the files that a healthy host has.
func (w *ward) equip(t *testing.T) {
	t.Helper()

	server := w.issue(t, w.leaf)
	mustWrite(t, w.path("server.pem"), server.CertPEM)
	mustWrite(t, w.path("server-key.pem"), server.KeyPEM)
	mustWrite(t, w.path("ca.pem"), w.ca.PEM())
}

// examine returns what the real command finds.
func (w *ward) examine(t *testing.T) (findings []agent.Finding, code int) {
	t.Helper()

	config := fmt.Sprintf(`tpm: {device: %[1]s/tpmrm0}
listen: {address: "127.0.0.1:0"}
tls: {certificate: %[1]s/server.pem, key: %[1]s/server-key.pem, client_ca: %[1]s/ca.pem, crl: "%[2]s"}
clients: [{san: ["dns:server.example"], roles: [quote]}]
logs: {root: "", collected: ""}
admin: {address: ""}
state_dir: %[1]s
`, w.dir, w.crl)
	config = strings.NewReplacer(w.changes...).Replace(config)
	mustWrite(t, w.path("agent.yaml"), []byte(config))

	command := exec.Command(os.Args[0], "doctor", "--json", "--config", w.path("agent.yaml"))
	command.Env = append(append(os.Environ(), asAgent+"=1", "GORACE="+noLinger), w.env...)

	var complaints strings.Builder
	command.Stderr = &complaints

	out, err := command.Output()
	if command.ProcessState == nil {
		t.Fatal(err)
	}

	var report struct {
		Findings         []agent.Finding `json:"findings"`
		Failed, Warnings int
	}

	if err := json.Unmarshal(out, &report); err != nil {
		t.Fatalf("%v in %s%s", err, out, &complaints)
	}

	return report.Findings, command.ProcessState.ExitCode()
}

// lines keeps what was found about one thing.
func linesOf(findings []agent.Finding, check string) []string {
	var lines []string

	for _, f := range findings {
		if f.Check == check {
			lines = append(lines, fmt.Sprintf("%s: %s > %s", f.Outcome, f.Detail, f.Advice))
		}
	}

	return lines
}

func TestTheDoctorFindsWhatIsWrongWithTheTLSFiles(t *testing.T) {
	t.Parallel()

	now := time.Now()

	for name, test := range map[string]struct {
		leaf  func(*pki.Leaf)         // of the server's certificate
		after func(*testing.T, *ward) // with the files
		want  []string
	}{
		"nothing": {want: []string{"ok: the server's certificate is good until ", "ok: the server's certificate is for "}},
		"no certificate": {
			after: func(t *testing.T, w *ward) { mustRemove(t, w.path("server.pem")) },
			want:  []string{"failed: loading the server's certificate: open ", "docs/install.md"},
		},
		"a certificate that is none": {
			after: func(t *testing.T, w *ward) { mustWrite(t, w.path("server.pem"), []byte("x")) },
			want:  []string{"failed: loading the server's certificate and key: "},
		},
		"the key of another certificate": {
			after: func(t *testing.T, w *ward) { mustWrite(t, w.path("server-key.pem"), w.issue(t, w.leaf).KeyPEM) },
			want:  []string{"failed: loading the server's certificate and key: ", "private key does not match public key"},
		},
		"a key for everybody": {
			after: func(t *testing.T, w *ward) {
				if err := os.Chmod(w.path("server-key.pem"), 0o644); err != nil {
					t.Fatal(err)
				}
			},
			want: []string{"warning: everybody on this host may read the private key", "chmod 0640"},
		},
		"an old certificate": {
			leaf: func(l *pki.Leaf) { l.NotBefore, l.NotAfter = now.AddDate(0, -2, 0), now.AddDate(0, -1, 0) },
			want: []string{"failed: the server's certificate ended at "},
		},
		"a certificate that ends soon": {
			leaf: func(l *pki.Leaf) { l.NotAfter = now.AddDate(0, 0, 4) },
			want: []string{"warning: the server's certificate ends at ", "in 3 days"},
		},
		"a certificate of tomorrow": {
			leaf: func(l *pki.Leaf) { l.NotBefore = now.AddDate(0, 0, 1) },
			want: []string{"failed: the server's certificate is not good before ", "set the clock right"},
		},
		"a client's certificate": {
			leaf: func(l *pki.Leaf) { l.Server, l.Client = false, true },
			want: []string{"failed: ", "its extended key usage has no serverAuth"},
		},
		"a certificate for both": {
			leaf: func(l *pki.Leaf) { l.Client = true },
			want: []string{"warning: the server's certificate is for clients too"},
		},
		"another host's name": {
			leaf: func(l *pki.Leaf) { l.DNSNames, l.IPs = []string{"elsewhere.example"}, []net.IP{net.IPv4(192, 0, 2, 9)} },
			want: []string{"warning: the server's certificate is for elsewhere.example, 192.0.2.9, but this host is ", "who calls it so refuses"},
		},
		"no name": {
			leaf: func(l *pki.Leaf) { l.DNSNames = nil },
			want: []string{"failed: the server's certificate has no subject alternative name"},
		},
		"a chain in disorder": {
			after: func(t *testing.T, w *ward) {
				server, err := os.ReadFile(w.path("server.pem"))
				if err != nil {
					t.Fatal(err)
				}

				mustWrite(t, w.path("server.pem"), append(server, w.issue(t, w.leaf).CertPEM...))
			},
			want: []string{"failed: certificate 1 in the server's file", "is not signed by the next one"},
		},
		"no authority": {
			after: func(t *testing.T, w *ward) { mustWrite(t, w.path("ca.pem"), w.issue(t, w.leaf).CertPEM) },
			want:  []string{"failed: loading the client CA: ", "is not an authority's"},
		},
		"an authority that ends soon": {
			want: []string{"warning: the client CA \"CN=test\" ends at "}, // that of the tests lives for a day
		},
		"a fresh revocation list": {
			after: func(t *testing.T, w *ward) {
				list, err := w.ca.CRL()
				if err != nil {
					t.Fatal(err)
				}

				w.crl = w.path("crl.pem")
				mustWrite(t, w.crl, list)
			},
			want: []string{"ok: the CRL is fresh"},
		},
		"a revocation list that is none": {
			after: func(t *testing.T, w *ward) { w.crl = w.path("ca.pem") },
			want:  []string{"failed: loading the CRL: "},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w := newWard(t)
			if test.leaf != nil {
				test.leaf(&w.leaf)
			}

			w.equip(t)

			if test.after != nil {
				test.after(t, w)
			}

			findings, code := w.examine(t)
			all := strings.Join(linesOf(findings, "tls"), "\n")

			for _, want := range test.want {
				if !strings.Contains("\n"+all, want) {
					t.Errorf("nothing says %q:\n%s", want, all)
				}
			}

			if code != 1 { // there is no TPM
				t.Errorf("exit code %d", code)
			}
		})
	}
}

func TestTheDoctorTellsWhatSystemdGivesToTheUnitAlone(t *testing.T) {
	t.Parallel()

	const unseen = "is given to the unit by systemd (LoadCredential=), and was not looked at > while the agent runs, as root: CREDENTIALS_DIRECTORY="

	for name, test := range map[string]struct {
		key, credential string // of the config, and in place of what
		dir             bool   // whether the credentials are there
		want            []string
		not             []string // what must not be said
	}{
		"the key": {
			"key: %s/server-key.pem", "key: 'credential:server-key.pem'", false,
			[]string{"credentials warning: credential:server-key.pem " + unseen, "tls ok: the server's certificate is good until "},
			[]string{"tls failed"},
		},
		"the key with the credentials at hand": {
			"key: %s/server-key.pem", "key: 'credential:server-key.pem'", true,
			[]string{"tls ok: the server's certificate is good until "},
			[]string{"credentials", "tls failed"},
		},
		"a key that is not among the credentials at hand": {
			"key: %s/server-key.pem", "key: 'credential:other.pem'", true,
			[]string{"tls failed: loading the server's key: "},
			[]string{"credentials"},
		},
		"the certificate": {
			"certificate: %s/server.pem", "certificate: 'credential:server.pem'", false,
			[]string{"credentials warning: credential:server.pem " + unseen},
			[]string{"tls "},
		},
		"the clients' CA": {
			"client_ca: %s/ca.pem", "client_ca: 'credential:ca.pem'", false,
			[]string{"credentials warning: credential:ca.pem " + unseen},
			[]string{"tls "},
		},
		"the revocation list": {
			`crl: ""`, "crl: 'credential:crl.pem'", false,
			[]string{"credentials warning: credential:crl.pem " + unseen, "tls warning: who is revoked is not known"},
			[]string{"tls failed"},
		},
		"an authorisation value": {
			"tpm: {", "tpm: {owner_auth_file: 'credential:owner', ", false,
			[]string{"credentials warning: credential:owner " + unseen, "tls ok: "},
			[]string{"files "},
		},
		"an authorisation value that is not among the credentials at hand": {
			"tpm: {", "tpm: {owner_auth_file: 'credential:owner', ", true,
			[]string{"files failed: tpm.owner_auth_file: open "},
			[]string{"credentials"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w := newWard(t)
			w.changes = []string{strings.ReplaceAll(test.key, "%s", w.dir), test.credential}

			if test.dir {
				w.env = []string{"CREDENTIALS_DIRECTORY=" + w.dir}
			}

			w.equip(t)

			findings, code := w.examine(t)
			if code != 1 { // there is no TPM
				t.Errorf("exit code %d", code)
			}

			var all strings.Builder
			for _, f := range findings {
				fmt.Fprintf(&all, "%s %s: %s > %s\n", f.Check, f.Outcome, f.Detail, f.Advice)
			}

			for _, want := range test.want {
				if !strings.Contains("\n"+all.String(), "\n"+want) {
					t.Errorf("nothing says %q:\n%s", want, &all)
				}
			}

			for _, not := range test.not {
				if strings.Contains("\n"+all.String(), "\n"+not) {
					t.Errorf("something says %q:\n%s", not, &all)
				}
			}
		})
	}
}

func TestTheDoctorTellsOfAnOutdatedRevocationList(t *testing.T) {
	t.Parallel()

	f := revocation("/etc/crl.pem", []time.Time{time.Unix(0, 0)})
	if f.Outcome != agent.OutcomeWarning || !strings.Contains(f.Detail, "was to be replaced by 1970-01-01T00:00:00Z") || f.Advice == "" {
		t.Errorf("%+v", f)
	}
}

func mustRemove(t *testing.T, path string) {
	t.Helper()

	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func TestOnlyAFailureFailsTheDoctor(t *testing.T) {
	t.Parallel()

	for name, test := range map[string]struct {
		outcomes []agent.Outcome
		fails    bool
	}{
		"nothing found":       {},
		"all is well":         {[]agent.Outcome{agent.OutcomeOK}, false},
		"warnings":            {[]agent.Outcome{agent.OutcomeOK, agent.OutcomeWarning, agent.OutcomeWarning}, false},
		"one thing is broken": {[]agent.Outcome{agent.OutcomeOK, agent.OutcomeFailed}, true},
	} {
		var findings []agent.Finding
		for _, outcome := range test.outcomes {
			findings = append(findings, agent.Finding{Check: "x", Outcome: outcome, Detail: "y", Advice: "z"})
		}

		var out strings.Builder
		if err := report(&out, findings, false); (err != nil) != test.fails {
			t.Errorf("%s: %v", name, err)
		}

		if strings.Contains(out.String(), "\x1b") {
			t.Errorf("%s: colours where there is no terminal", name)
		}
	}
}

func TestAFindingIsALineAndItsAdviceAnother(t *testing.T) {
	t.Parallel()

	var out strings.Builder
	_ = report(&out, []agent.Finding{
		{Check: "tpm", Outcome: agent.OutcomeOK, Detail: "there", Advice: "nothing"},
		{Check: "clock", Outcome: agent.OutcomeWarning, Detail: "slow,\nand wrong", Advice: "set it"},
	}, false)

	want := "ok       tpm          there\nwarning  clock        slow, and wrong\n                      > set it\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}
