package main

import (
	"errors"
	"maps"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/trustpool/trustpool/tpmsim"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"trustpoolctl": main, "tpmbridge": bridge})
}

// TestScripts runs the scripts that are the contract of the command line. They have commands of their own:
//
//	node SCENARIO       boots a simulated node, or reboots it, with the real agent on it. ADDRESS and SOCKET are its addresses, pki its certificates.
//	node off            ends the agent: nobody listens at ADDRESS any more
//	biglog FILE         makes a log that is too large for one answer; the agent of the next node serves it if it is firmware.log
//	certify DIR         gives the AK in a folder of evidence a certificate, ak.crt, by the CA in privacy-ca.pem
//	exits CODE PROGRAM  runs a program that has to end with this exit code
//	flip FILE OFFSET    changes one byte; a negative OFFSET counts from the end
//	hex VARIABLE FILE   sets VARIABLE to the file's bytes in hex
//	tpm2tools           lets tpm2-tools use the TPM of the node
//
// and those of recordCommands, which write FILE:
//
//	inventory FILE RECORD NAME  an inventory in which the record's EK is that of NAME
//	akname FILE RECORD          a refuse list of the record's AK
//	otherek FILE RECORD         the record with another EK
//	akpem FILE REQUEST          the key of a request for a certificate
//
// and those of serverCommands:
//
//	server start|stop      a real attestation server, which trustpoolctl then asks as an administrator; ROLE.token is a token of each role
//	approve SET POOL FILE  puts a known-good file in force
//	settings FILE URL CA   writes a file that says where the server is, and that the token lies beside it
func TestScripts(t *testing.T) {
	t.Parallel()

	commands := recordCommands()
	maps.Copy(commands, serverCommands())
	maps.Copy(commands, map[string]func(*testscript.TestScript, bool, []string){
		"biglog":    makeBigLog,
		"certify":   certifyAK,
		"exits":     runExpecting,
		"flip":      flipByte,
		"hex":       setHex,
		"node":      bootNode,
		"tpm2tools": serveTools,
	})
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("GORACE", "atexit_sleep_ms=0") // or the race detector sleeps for a second at the end of each command
			n := &node{dir: env.WorkDir}
			env.Values[nodeKey{}] = n
			s := &attestation{}
			env.Values[attestationKey{}] = s
			env.Defer(func() {
				if err := errors.Join(s.close(), n.close()); err != nil {
					t.Error(err)
				}
			})
			return nil
		},
		Cmds: commands,
	})
}

type nodeKey struct{}

func bootNode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: node SCENARIO | node off")
	}
	n := ts.Value(nodeKey{}).(*node)
	ts.Check(n.stopAgent())
	if args[0] == "off" {
		return
	}

	scenario, err := tpmsim.ParseScenario(args[0])
	ts.Check(err)
	ts.Check(n.boot(scenario))
	ts.Check(n.startAgent())
	ts.Setenv("ADDRESS", n.address)
	ts.Setenv("SOCKET", n.socket)
}
