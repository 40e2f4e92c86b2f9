package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/trustpool/trustpool/cmd/internal/daemon"
	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/client"
)

// connection is how to reach a node's agent: the flags of every command that does.
type connection struct {
	address    string
	tlsDir     string
	ca         string
	cert       string
	key        string
	serverName string
	serverURI  string
	timeout    time.Duration
	raw        bool
	alone      bool
}

func (c *connection) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&c.address, "address", "", "the agent: `host:port`, or unix:///path on this machine")
	flags.StringVar(&c.tlsDir, "tls-dir", "", "`folder` with ca.pem, client.pem and client-key.pem")
	flags.StringVar(&c.ca, "ca", "", "PEM `file` with the CAs of the nodes")
	flags.StringVar(&c.cert, "cert", "", "PEM `file` with the client certificate")
	flags.StringVar(&c.key, "key", "", "PEM `file` with the client certificate's key")
	flags.StringVar(&c.serverName, "server-name", "", "`name` in the node's certificate (default: the host in --address)")
	flags.StringVar(&c.serverURI, "server-uri", "", "`URI` in the node's certificate, such as its SPIFFE ID, in place of a name")
	flags.DurationVar(&c.timeout, "timeout", 30*time.Second, "how long to wait for the node")
}

// registerQuote is for commands that ask for a quote.
func (c *connection) registerQuote(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&c.raw, "raw", false, "have the bare nonce signed, not bound to the TLS connection: for unix sockets, and tools that need it")
	cmd.Flags().BoolVar(&c.alone, "no-aggregation", false, "refuse a quote that was signed together with those of others who asked at the same time")
}

// bindMode is what the flags ask for.
func (c *connection) bindMode() verifier.BindMode {
	if c.raw {
		return verifier.BindRaw
	}
	return verifier.BindBound
}

// challenge asks the node for a quote over nonce, with all its logs.
func (c *connection) challenge(ctx context.Context, nonce []byte, selection []verifier.Selection, out *console.Output) (client.Reply, error) {
	if c.timeout <= 0 {
		return client.Reply{}, console.Usagef("--timeout has to be more than 0")
	}
	agent, err := c.dial()
	if err != nil {
		return client.Reply{}, err
	}
	defer func() { _ = agent.Close() }() // all answers are in

	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()

	capabilities, err := agent.Capabilities(ctx)
	if err != nil {
		return client.Reply{}, err
	}
	progress := newProgress(out)
	defer progress.clear()
	return agent.Quote(ctx, client.QuoteOptions{
		Nonce: nonce, Raw: c.raw, AcceptAggregation: !c.alone, Selection: selection, WantLogs: capabilities.GetLogSources(), Progress: progress.show,
	})
}

func (c *connection) dial() (*client.Client, error) {
	if c.address == "" {
		return nil, console.WithHint(console.Usagef("--address is missing"), "Write --address host:port, or --address unix:///path for an agent on this machine.")
	}

	config, err := c.tlsConfig()
	if err != nil {
		return nil, err
	}
	agent, err := client.Dial(client.Options{Address: c.address, TLS: config, ServerURI: c.serverURI})
	if err != nil {
		return nil, daemon.UsageError{Err: err}
	}
	return agent, nil
}

// tlsConfig returns nil for a unix socket.
func (c *connection) tlsConfig() (*tls.Config, error) {
	ca, cert, key, err := c.files()
	if err != nil || ca == "" {
		return nil, err
	}

	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, c.hintFiles(fmt.Errorf("loading the client certificate: %w", err))
	}
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, c.hintFiles(fmt.Errorf("loading the CAs of the nodes: %w", err))
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("loading the CAs of the nodes: %s holds no PEM certificate", ca)
	}

	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		RootCAs:      roots,
		Certificates: []tls.Certificate{pair},
		ServerName:   c.serverName,
	}, nil
}

// hintFiles says what a folder has to hold that lacks something.
func (c *connection) hintFiles(err error) error {
	if c.tlsDir == "" || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return console.WithHint(err, "--tls-dir needs ca.pem, client.pem and client-key.pem; --ca, --cert and --key name files of other names.")
}

// files returns the three PEM files, single flags before the folder, and none for a unix socket.
func (c *connection) files() (ca, cert, key string, err error) {
	if strings.HasPrefix(c.address, "unix:") {
		if c.tlsDir+c.ca+c.cert+c.key+c.serverName+c.serverURI != "" {
			return "", "", "", console.Usagef("a unix socket takes no TLS: leave out --tls-dir, --ca, --cert, --key, --server-name and --server-uri")
		}
		return "", "", "", nil
	}
	if c.serverName != "" && c.serverURI != "" {
		return "", "", "", console.Usagef("give --server-uri or --server-name, not both")
	}
	if c.serverURI != "" {
		if err := client.CheckServerURI(c.serverURI); err != nil {
			return "", "", "", console.Usagef("--server-uri: %w", err)
		}
	}

	ca, cert, key = c.ca, c.cert, c.key
	if c.tlsDir != "" {
		ca = cmp.Or(ca, filepath.Join(c.tlsDir, "ca.pem"))
		cert = cmp.Or(cert, filepath.Join(c.tlsDir, "client.pem"))
		key = cmp.Or(key, filepath.Join(c.tlsDir, "client-key.pem"))
	}
	if ca+cert+key == "" {
		return "", "", "", console.WithHint(console.Usagef("the client certificate is missing: agents answer nobody whom they do not know"),
			"Give --tls-dir, or --ca, --cert and --key.")
	}
	for _, flag := range []struct{ name, value string }{{"ca", ca}, {"cert", cert}, {"key", key}} {
		if flag.value == "" {
			return "", "", "", console.WithHint(console.Usagef("--%s is missing", flag.name), "--ca, --cert and --key go together; or give --tls-dir.")
		}
	}
	return ca, cert, key, nil
}
