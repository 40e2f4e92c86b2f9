package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/peer"

	"github.com/trustpool/trustpool/internal/witness"
	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/tpmsim/tpmsimtest"
	"github.com/trustpool/trustpool/verifier"
)

// asAgent makes the test binary be the command, so that tests can kill the real one.
const asAgent = "TRUSTPOOL_TEST_AS_AGENT"

// noLinger keeps the race detector's runtime from sleeping for a second at the end of each process.
const noLinger = "atexit_sleep_ms=0"

func TestMain(m *testing.M) {
	if os.Getenv(asAgent) != "" {
		main()
	}

	testscript.Main(m, map[string]func(){"trustpool-agent": main})
}

func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:  "testdata/script",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
		Setup: func(env *testscript.Env) error {
			sample, err := os.ReadFile("../../packaging/trustpool-agent/agent.yaml")
			if err != nil {
				return err
			}

			pkiDir := filepath.Join(env.WorkDir, "pki")
			if err := writePKI(pkiDir); err != nil {
				return err
			}

			env.Setenv("PKI", pkiDir)
			env.Setenv("GORACE", noLinger)

			return os.WriteFile(filepath.Join(env.WorkDir, "sample.yaml"), sample, 0o600)
		},
	})
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

func TestTheSimulatorServesUntilItIsTold(t *testing.T) {
	t.Parallel()

	for _, signal := range []os.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()

			p := launch(t, "--simulator")
			words := p.tryLine(t)

			if len(words) != 6 || words[1] != "quote" || words[2] != "--address" || words[4] != "--tls-dir" {
				t.Fatalf("try line is %q", words)
			}

			name := quoteOver(t, words[3], clientTLS(t, words[5])).GetAkName()
			if len(name) != 34 {
				t.Errorf("AK name is %x", name)
			}

			if code := p.end(t, signal); code != 0 {
				t.Errorf("exit code %d\n%s", code, p.stderr.String())
			}

			if _, err := os.Stat(words[5]); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the temporary folder is still there: %v", err)
			}
		})
	}
}

func TestTheSameSimulatedNodeBootsAgain(t *testing.T) {
	t.Parallel()

	dir := filepath.Join(t.TempDir(), "node")
	p := launch(t, "--simulator", "--simulator-dir", dir)
	words := p.tryLine(t)
	first := quoteOver(t, words[3], clientTLS(t, words[5]))

	second := launch(t, "--simulator", "--simulator-dir", dir)
	if code := second.end(t, syscall.Signal(0)); code != 1 || !strings.Contains(second.stderr.String(), "in use") {
		t.Errorf("a second agent on the same state: exit code %d\n%s", code, second.stderr.String())
	}

	quoteOver(t, words[3], clientTLS(t, words[5]))
	p.end(t, syscall.SIGTERM)

	p = launch(t, "--simulator", "--simulator-dir", dir, "--scenario", "other-hypervisor")
	words = p.tryLine(t)
	again := quoteOver(t, words[3], clientTLS(t, words[5]))

	if string(first.GetAkName()) != string(again.GetAkName()) {
		t.Error("the AK is another one after a reboot")
	}

	if value17(first) == value17(again) {
		t.Error("PCR 17 is the same under another hypervisor")
	}
}

func value17(response *agentv1.QuoteResponse) string {
	return string(response.GetPcrBanks()[0].GetPcrValues()[0].GetValue())
}

func TestAKilledAgentComesBackToItsTPM(t *testing.T) {
	t.Parallel()

	dir := t.TempDir()
	serveTPM(t, filepath.Join(dir, "tpm.sock"))

	config := filepath.Join(dir, "agent.yaml")
	socket := filepath.Join(dir, "agent.sock")
	yaml := fmt.Sprintf("tpm: {device: %s/tpm.sock}\nlisten: {address: '', unix: %s}\nadmin: {address: ''}\nstate_dir: %s\n", dir, socket, dir)

	if err := os.WriteFile(config, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}

	var names []string

	for range 3 {
		p := launch(t, "--config", config)
		names = append(names, string(quoteOver(t, "unix://"+socket, insecure.NewCredentials()).GetAkName()))

		if code := p.end(t, syscall.SIGKILL); code != -1 {
			t.Errorf("exit code %d after SIGKILL", code)
		}
	}

	if names[0] != names[1] || names[1] != names[2] {
		t.Errorf("AK names %x", names)
	}
}

// TestACrashCanBeToldFromAWrongConfig is about Go's habit of exiting with 2 after a panic or SIGABRT, which is how systemd's watchdog ends a daemon: with
// RestartPreventExitStatus=2 it would not be started again.
func TestACrashCanBeToldFromAWrongConfig(t *testing.T) {
	t.Parallel()

	dir := t.TempDir()
	config := filepath.Join(dir, "agent.yaml")
	yaml := fmt.Sprintf("tpm: {device: %s/no-tpm}\nlisten: {address: '', unix: %[1]s/agent.sock}\nadmin: {address: ''}\nstate_dir: %[1]s\n", dir)

	if err := os.WriteFile(config, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}

	p := launch(t, "--config", config)
	p.stderr.wait(t, "listening")

	code := p.end(t, syscall.SIGABRT)
	if status, ok := p.ProcessState.Sys().(syscall.WaitStatus); !ok || !status.Signaled() || status.Signal() != syscall.SIGABRT {
		t.Errorf("exit code %d, want the end by SIGABRT", code)
	}

	if said := p.stderr.String(); !strings.Contains(said, "goroutine ") {
		t.Errorf("where it was is not told:\n%s", said)
	}
}

// serveTPM starts a simulated node and offers its TPM on a unix socket.
func serveTPM(t *testing.T, path string) {
	t.Helper()

	node := tpmsimtest.Start(t, tpmsim.Options{})

	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}

	served := make(chan error)
	go func() { served <- node.Serve(t.Context(), listener) }()
	t.Cleanup(func() {
		if err := <-served; err != nil && !errors.Is(err, net.ErrClosed) && t.Context().Err() == nil {
			t.Errorf("serving the TPM: %v", err)
		}
	})
}

// quoteOver asks for a quote, waiting until the agent is there, and holds it to what any quote has to pass.
func quoteOver(t *testing.T, address string, creds credentials.TransportCredentials) *agentv1.QuoteResponse {
	t.Helper()

	soon := grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: 10 * time.Millisecond, Multiplier: 1.5, MaxDelay: 200 * time.Millisecond}}

	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(creds), grpc.WithDefaultCallOptions(grpc.WaitForReady(true)), grpc.WithConnectParams(soon),
		grpc.WithDefaultServiceConfig(`{"methodConfig":[{"name":[{}],"retryPolicy":{"maxAttempts":5,"initialBackoff":"0.1s","maxBackoff":"1s",
			"backoffMultiplier":2,"retryableStatusCodes":["UNAVAILABLE"]}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()

	request := &agentv1.QuoteRequest{Nonce: []byte("0123456789abcdef"), BindMode: agentv1.BindMode_BIND_MODE_RAW}

	var server peer.Peer

	response, err := agentv1.NewQuoteServiceClient(conn).Quote(t.Context(), request, grpc.Peer(&server))
	if err != nil {
		t.Fatal(err)
	}

	// Which key it is, nobody knows here but the agent.
	ak := verifier.AKPin{Name: response.GetAkName(), Public: response.GetAkPublic(), Binding: verifier.BindingFirstUse}
	if err := witness.Check(witness.Truth{AKs: []verifier.AKPin{ak}}, request, response, &server); err != nil {
		t.Errorf("a reply that says OK does not hold: %v", err)
	}

	return response
}

func clientTLS(t *testing.T, dir string) credentials.TransportCredentials {
	t.Helper()

	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "client.pem"), filepath.Join(dir, "client-key.pem"))
	if err != nil {
		t.Fatal(err)
	}

	pem, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}

	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)

	return credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair}, RootCAs: roots})
}

func TestIdentityActsThroughTheDaemonOrOnTheTPMButNeverBoth(t *testing.T) {
	t.Parallel()

	dir := t.TempDir()
	serveTPM(t, filepath.Join(dir, "tpm.sock"))

	write := func(name, listen string) string {
		path := filepath.Join(dir, name)
		yaml := fmt.Sprintf("tpm: {device: %s/tpm.sock}\nlisten: %s\nadmin: {address: ''}\nstate_dir: %s\n"+
			"logs: {root: '', collected: ''}\n", dir, listen, dir)

		if err := os.WriteFile(path, []byte(yaml), 0o600); err != nil {
			t.Fatal(err)
		}

		return path
	}
	config := write("agent.yaml", fmt.Sprintf("{address: '', unix: %s/agent.sock}", dir))
	otherSocket := write("other.yaml", fmt.Sprintf("{address: '', unix: %s/other.sock}", dir))

	identity := func(config string, args ...string) string {
		t.Helper()

		out, code := call(t, append([]string{"identity", "--config", config}, args...)...)
		if code != 0 {
			t.Fatalf("identity %v: exit code %d\n%s", args, code, out)
		}

		return out
	}

	alone := identity(config, "show")
	if !strings.Contains(alone, "attestation key 0: 000b") || !strings.Contains(alone, "endorsement key") {
		t.Errorf("on the TPM: %s", alone)
	}

	launch(t, "--config", config)
	quoteOver(t, "unix://"+filepath.Join(dir, "agent.sock"), insecure.NewCredentials())

	if through := identity(config, "show"); through != alone {
		t.Errorf("through the daemon: %s\nwithout it: %s", through, alone)
	}

	if out, code := call(t, "identity", "--config", otherSocket, "show"); code != 1 || !strings.Contains(out, "another agent runs") {
		t.Errorf("beside the daemon: exit code %d\n%s", code, out)
	}

	next := identity(config, "rotate")
	if again := identity(config, "rotate"); again != next {
		t.Errorf("a second rotation: %s\nthe first: %s", again, next)
	}

	name := strings.TrimSpace(next[strings.LastIndex(next, " "):])
	identity(config, "commit", name)

	if out := identity(config, "show"); !strings.Contains(out, "attestation key 1: "+name) || strings.Contains(out, "waiting") {
		t.Errorf("after the rotation: %s", out)
	}

	if out, code := call(t, "identity", "--config", config, "reprovision"); code != 2 || !strings.Contains(out, "--yes") {
		t.Errorf("reprovisioning unasked: exit code %d\n%s", code, out)
	}

	if out := identity(config, "reprovision", "--yes"); !strings.Contains(out, name) {
		t.Errorf("reprovisioned to %s", out)
	}
}
