package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trustpool/trustpool/tpmsim/pki"
)

// TestTheExamplesOfTheAccessPageAreGood checks each of them, with what it leaves out put beside it, as an operator would.
func TestTheExamplesOfTheAccessPageAreGood(t *testing.T) {
	t.Parallel()

	page, err := os.ReadFile("../../docs/access.md")
	if err != nil {
		t.Fatal(err)
	}

	dir := t.TempDir()
	writeAccessFiles(t, dir)

	examples := strings.Split(string(page), "```yaml\n")[1:]
	if len(examples) < 5 {
		t.Fatalf("the page has %d examples", len(examples))
	}

	for _, example := range examples {
		text, _, _ := strings.Cut(example, "```")

		for key, rest := range map[string]string{
			"tls":       "tls: {certificate: /etc/trustpool-agent/server.pem, key: /etc/trustpool-agent/server-key.pem, client_ca: /etc/trustpool-agent/client-ca.pem}\n",
			"clients":   "clients: [{san: ['dns:a.example'], roles: [quote]}]\n",
			"state_dir": "state_dir: /etc/trustpool-agent\n",
		} {
			if !strings.HasPrefix(text, key+":") {
				text += rest
			}
		}

		for _, folder := range []string{"/etc/trustpool-agent", "/run/trustpool-agent", "/var/log/trustpool-agent"} {
			text = strings.ReplaceAll(text, folder, dir)
		}

		config := filepath.Join(dir, "agent.yaml")
		mustWrite(t, config, []byte(text))

		command := exec.Command(os.Args[0], "check-config", "--config", config)
		command.Env = append(os.Environ(), asAgent+"=1", "GORACE="+noLinger, "CREDENTIALS_DIRECTORY="+dir)

		out, err := command.CombinedOutput()
		if err != nil && !errors.As(err, new(*exec.ExitError)) {
			t.Fatal(err)
		}

		if !strings.Contains(string(out), "is good") {
			t.Errorf("%s\n%s", out, text)
		}
	}
}

// writeAccessFiles writes the files that the page names.
func writeAccessFiles(t *testing.T, dir string) {
	t.Helper()

	ca, err := pki.New("test")
	if err != nil {
		t.Fatal(err)
	}

	server, err := ca.Issue(pki.Leaf{DNSNames: []string{"node1.example"}, Server: true}) // on ECDSA P-256, as the TPM's would be
	if err != nil {
		t.Fatal(err)
	}

	list, err := ca.CRL()
	if err != nil {
		t.Fatal(err)
	}

	for name, content := range map[string][]byte{
		"server.pem": server.CertPEM, "tpm-server.pem": server.CertPEM, "server-key.pem": server.KeyPEM, "client-ca.pem": ca.PEM(), "client-ca.crl": list,
	} {
		mustWrite(t, filepath.Join(dir, name), content)
	}
}
