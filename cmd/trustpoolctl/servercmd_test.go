package main

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/trustpool/trustpool/cmd/internal/daemon"
	"github.com/trustpool/trustpool/server"
	"github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/verifier"
)

// attestation is a real attestation server. The zero value does not run.
type attestation struct {
	address string
	stop    context.CancelFunc
	stopped chan error
}

type attestationKey struct{}

// serverCommands are those of scripts with an attestation server.
func serverCommands() map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){
		"server":  runServer,
		"approve": approveSet,
		"settings": func(ts *testscript.TestScript, _ bool, args []string) {
			text := "server: " + args[1] + "\nca: " + args[2] + "\ntoken_file: token\n"
			ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
		},
	}
}

// runServer starts or stops the server. What trustpoolctl needs to ask it as an administrator is put into the environment.
func runServer(ts *testscript.TestScript, neg bool, args []string) {
	s := ts.Value(attestationKey{}).(*attestation)
	switch {
	case !neg && len(args) == 1 && args[0] == "start":
		ts.Check(s.start(ts.Getenv("WORK")))
		ts.Setenv("TRUSTPOOL_SERVER", "https://"+s.address)
		ts.Setenv("TRUSTPOOL_CA", ts.MkAbs("pki/ca.pem"))
		ts.Setenv("TRUSTPOOL_TOKEN_FILE", ts.MkAbs("admin.token"))
	case !neg && len(args) == 1 && args[0] == "stop":
		ts.Check(s.close())
	default:
		ts.Fatalf("usage: server start|stop")
	}
}

// start runs a server with the certificates in pki. Of each role there is a token in a file ROLE.token.
func (s *attestation) start(work string) error {
	pki := filepath.Join(work, "pki")
	config := server.DefaultConfig()
	config.Database = filepath.Join(work, "trustpool.db")
	config.TLS = server.TLSConfig{Certificate: filepath.Join(pki, "server.pem"), Key: filepath.Join(pki, "server-key.pem")}
	config.Nodes.Certificate, config.Nodes.Key, config.Nodes.CA = filepath.Join(pki, "client.pem"), filepath.Join(pki, "client-key.pem"), filepath.Join(pki, "ca.pem")
	config.Nodes.EKRoots = []string{filepath.Join(work, "ek-roots.pem")}
	logger := slog.New(slog.DiscardHandler)
	files, err := daemon.LoadTokenTLS(daemon.TLSFiles{Certificate: config.TLS.Certificate, Key: config.TLS.Key}, logger)
	if err != nil {
		return err
	}
	nodes, err := daemon.LoadClientTLS(daemon.ClientFiles{Certificate: config.Nodes.Certificate, Key: config.Nodes.Key, CA: config.Nodes.CA}, logger)
	if err != nil {
		return err
	}
	if err := addTokens(config.Database, work); err != nil {
		return err
	}

	ctx, stop := context.WithCancel(context.Background())
	attesting, err := server.New(ctx, config, server.Deps{Logger: logger, Registerer: prometheus.NewRegistry(), TLS: files.Config(), NodeTLS: nodes.Config})
	if err != nil {
		stop()
		return err
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		stop()
		return errors.Join(err, attesting.Close())
	}
	s.address, s.stop, s.stopped = tcp.Addr().String(), stop, make(chan error, 1)
	go func() { s.stopped <- attesting.Run(ctx, server.Listeners{TCP: tcp}) }()
	return nil
}

func addTokens(database, work string) error {
	for _, name := range []string{"reader", "operator", "admin"} {
		role, err := server.ParseRole(name)
		if err != nil {
			return err
		}
		text, err := server.AddToken(context.Background(), database, "test", name, role, time.Time{})
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(work, name+".token"), []byte(text+"\n"), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (s *attestation) close() error {
	if s.stop == nil {
		return nil
	}
	s.stop()
	s.stop = nil
	return <-s.stopped
}

// approveSet puts what a known-good file says of PCRs in force, as a set of the hypervisor in a pool.
func approveSet(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: approve SET POOL FILE")
	}
	known, err := verifier.ParseKnownGood([]byte(ts.ReadFile(args[2])))
	ts.Check(err)
	known.AKs = nil
	raw, err := known.Marshal()
	ts.Check(err)

	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(ts.ReadFile("pki/ca.pem")))
	client, err := api.NewClient(api.Config{URL: ts.Getenv("TRUSTPOOL_SERVER"), Token: strings.TrimSpace(ts.ReadFile("admin.token")), RootCAs: roots})
	ts.Check(err)
	defer client.Close()
	set, err := client.PutSet(context.Background(), args[0], api.SetSpec{Part: "hypervisor", Pools: []string{args[1]}, KnownGood: raw}, 0)
	ts.Check(err)
	_, err = client.ApproveSet(context.Background(), set.Name, set.Revision)
	ts.Check(err)
}
