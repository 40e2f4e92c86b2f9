package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/trustpool/trustpool/tpmsim/pki"
)

// asServer, in the environment of the test binary, has it be trustpool-server.
const asServer = "TRUSTPOOL_TEST_AS_SERVER"

// noLinger keeps the race detector from sleeping for a second at the end of each process.
const noLinger = "atexit_sleep_ms=0"

func TestMain(m *testing.M) {
	if os.Getenv(asServer) != "" {
		main()
	}
	testscript.Main(m, map[string]func(){"trustpool-server": main})
}

func TestScripts(t *testing.T) {
	t.Parallel()

	testscript.Run(t, testscript.Params{
		Dir:  "testdata/script",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
		Setup: func(env *testscript.Env) error {
			env.Setenv("GORACE", noLinger)
			if err := writeFiles(env.WorkDir); err != nil {
				return err
			}
			sample, err := os.ReadFile(sampleFile)
			if err != nil {
				return err
			}
			for _, s := range sinks() {
				content, err := os.ReadFile("../../packaging/trustpool-server/" + filepath.Base(s.path()))
				if err != nil {
					return err
				}
				if err := os.WriteFile(filepath.Join(env.WorkDir, filepath.Base(s.path())), content, 0o600); err != nil {
					return err
				}
			}
			return os.WriteFile(filepath.Join(env.WorkDir, "sample.yaml"), sample, 0o600)
		},
	})
}

// writeFiles writes the files of TLS, and server.yaml, with which a server runs in dir.
func writeFiles(dir string) error {
	ca, err := pki.New("test")
	if err != nil {
		return err
	}
	files := map[string][]byte{"nodes-ca.pem": ca.PEM(), "server.yaml": []byte(strings.ReplaceAll(`database: DIR/trustpool.db
listen: {address: "127.0.0.1:0", unix: DIR/api.sock}
tls: {certificate: DIR/server.pem, key: DIR/server-key.pem}
nodes: {certificate: DIR/client.pem, key: DIR/client-key.pem, ca: DIR/nodes-ca.pem}
admin: {address: ""}
`, "DIR", dir))}
	for name, leaf := range map[string]pki.Leaf{
		"server": {DNSNames: []string{"server.example"}, Server: true}, "client": {DNSNames: []string{"server.example"}, Client: true},
	} {
		pair, err := ca.Issue(leaf)
		if err != nil {
			return err
		}
		files[name+".pem"], files[name+"-key.pem"] = pair.CertPEM, pair.KeyPEM
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// exits runs a command that must end with an exit code: exits CODE COMMAND ARGS...
func exits(ts *testscript.TestScript, _ bool, args []string) {
	code := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if fmt.Sprint(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}
