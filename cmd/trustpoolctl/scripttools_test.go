package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"

	"github.com/rogpeppe/go-internal/testscript"
)

// serveTools lets tpm2-tools talk to the simulated node: they run tpmbridge, whose standard input and output are the TPM.
func serveTools(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: tpm2tools")
	}
	n := ts.Value(nodeKey{}).(*node)
	socket := filepath.Join(n.socketDir, "tpm.sock")
	listener, err := net.Listen("unix", socket)
	ts.Check(err)

	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- n.sim.Serve(ctx, listener) }()
	ts.Defer(func() {
		stop()
		ts.Check(<-served)
	})
	ts.Setenv("TPM2TOOLS_TCTI", "cmd:tpmbridge "+socket)
}

// bridge is the program tpmbridge.
func bridge() {
	conn, err := net.Dial("unix", os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	go func() {
		_, _ = io.Copy(conn, os.Stdin)
		_ = conn.Close()
	}()
	_, _ = io.Copy(os.Stdout, conn)
}
