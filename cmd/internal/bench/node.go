package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/trustpool/trustpool/tpmsim/pki"
	"github.com/trustpool/trustpool/verifier/client"
)

// The kinds of keys, by the names of tpm.ak.algorithm.
const (
	ecdsa = "ecdsa-p256"
	rsa   = "rsa-2048"
)

// node is the real daemon on a software TPM.
type node struct {
	*process

	binary  string
	dir     string
	tpm     *softTPM
	tap     *tap // nil: the daemon talks to the TPM directly
	ca      *pki.CA
	address string // host:port
	unix    string // unix:///path
}

// nodeOptions say how to make a node.
type nodeOptions struct {
	binary string
	dir    string // a folder of its own
	kind   string
	// tapped puts a tap between daemon and TPM, which adds delay to each quote.
	tapped bool
	delay  time.Duration
}

// newNode starts a TPM and the daemon on it, and waits until it has answered a quote: the key is in the TPM then.
func newNode(ctx context.Context, o nodeOptions) (_ *node, err error) {
	n := &node{binary: o.binary, dir: o.dir}

	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("making a node: %w", err), n.close())
		}
	}()

	if _, err := newDir(o.dir, daemonState); err != nil {
		return nil, err
	}

	if n.tpm, err = startTPM(ctx, o.dir); err != nil {
		return nil, err
	}

	device := n.tpm.socket

	if o.tapped {
		if n.tap, err = newTap(n.tpm, o.delay); err != nil {
			return nil, err
		}

		device = n.tap.socket
	}

	if err := n.configure(device, o.kind); err != nil {
		return nil, err
	}

	if err := n.start(ctx); err != nil {
		return nil, err
	}

	return n, n.ask(ctx)
}

// daemonState is the folder in a node's folder where the daemon keeps its state.
const daemonState = "state"

// start starts the daemon and waits until it listens.
func (n *node) start(ctx context.Context) error {
	p, err := start(n.dir, "agent", n.binary, "--config", filepath.Join(n.dir, "agent.yaml"))
	if err != nil {
		return err
	}

	n.process = p

	return reachable(ctx, "unix", n.socket())
}

// ask asks for one quote over the unix socket.
func (n *node) ask(ctx context.Context) error {
	c, err := client.Dial(client.Options{Address: n.unix})
	if err != nil {
		return err
	}

	_, err = c.Quote(ctx, client.QuoteOptions{Nonce: newNonce(), Raw: true})

	return errors.Join(err, c.Close())
}

// halt ends the daemon and leaves the TPM.
func (n *node) halt() error {
	if n.process == nil {
		return nil
	}

	p := n.process
	n.process = nil

	return p.stop()
}

// close ends all of it.
func (n *node) close() error {
	err := n.halt()

	if n.tap != nil {
		err = errors.Join(err, n.tap.close())
	}

	if n.tpm != nil {
		err = errors.Join(err, n.tpm.stop())
	}

	return err
}

// socket is the path of the daemon's unix socket.
func (n *node) socket() string { return filepath.Join(n.dir, "agent.sock") }

// configure writes what an operator would write for callers as hasty as these: limits, connections and queue far above the defaults.
func (n *node) configure(device, kind string) error {
	port, err := freePort()
	if err != nil {
		return err
	}

	n.address, n.unix = fmt.Sprintf("127.0.0.1:%d", port), "unix://"+n.socket()

	if n.ca, err = pki.New("trustpool bench"); err != nil {
		return err
	}

	server, err := n.ca.Issue(pki.Leaf{IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, Server: true})
	if err != nil {
		return err
	}

	certificates := filepath.Join(n.dir, "pki")
	if err := pki.WriteDir(certificates, n.ca, server, nil); err != nil {
		return err
	}

	type section map[string]any

	limits := func(rule section) []section {
		rule["roles"] = []string{"quote", "raw"}
		rule["rate"], rule["burst"], rule["concurrent"] = 1_000_000, 1_000_000, 4096

		return []section{rule}
	}

	text, err := yaml.Marshal(section{
		"tpm": section{"device": device, "queue": 4096, "ak": section{"algorithm": kind}},
		"listen": section{
			"address": n.address, "unix": n.socket(), "unix_clients": limits(section{"uid": os.Getuid()}),
			"max_connections": 4096, "max_connections_per_address": 4096,
		},
		"tls": section{
			"certificate": filepath.Join(certificates, "server.pem"), "key": filepath.Join(certificates, "server-key.pem"),
			"client_ca": filepath.Join(certificates, "ca.pem"),
		},
		"clients":   limits(section{"san": []string{"uri:spiffe://bench.example/caller/*"}}),
		"logs":      section{"root": "", "collected": ""},
		"state_dir": filepath.Join(n.dir, daemonState),
		"admin":     section{"address": ""},
	})
	if err != nil {
		return err
	}

	return os.WriteFile(filepath.Join(n.dir, "agent.yaml"), text, 0o600)
}

// callerTLS returns the TLS settings of one caller, with a certificate and a name of its own: limits and fairness are by name.
func (n *node) callerTLS(number int) (*tls.Config, error) {
	name, err := url.Parse(fmt.Sprintf("spiffe://bench.example/caller/%d", number))
	if err != nil {
		return nil, err
	}

	pair, err := n.ca.Issue(pki.Leaf{URIs: []*url.URL{name}, Client: true})
	if err != nil {
		return nil, err
	}

	return &tls.Config{RootCAs: n.ca.Pool(), Certificates: []tls.Certificate{pair.Certificate}, MinVersion: tls.VersionTLS13}, nil
}

// dial prepares a connection over mutual TLS for one caller.
func (n *node) dial(number int) (*client.Client, error) {
	config, err := n.callerTLS(number)
	if err != nil {
		return nil, err
	}

	return client.Dial(client.Options{Address: n.address, TLS: config})
}
