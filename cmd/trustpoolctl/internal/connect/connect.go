// Package connect reaches an attestation server, as flags, the environment and a file say.
package connect

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/trustpool/trustpool/cmd/internal/daemon"
	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/server/api"
)

// Explanations are for the help of a group of commands that ask an attestation server.
const Explanations = `Where the server is, and who is asking, is said by flags, else by the environment, else by ~/.config/trustpool/ctl.yaml:
  --server       TRUSTPOOL_SERVER       server:       https://HOST:PORT
  --token-file   TRUSTPOOL_TOKEN_FILE   token_file:   file with a bearer token (trustpoolctl token add)
  --cert         TRUSTPOOL_CERT         cert:         or a client certificate ...
  --key          TRUSTPOOL_KEY          key:          ... and its key
  --ca           TRUSTPOOL_CA           ca:           CAs of the server; without: those of the system
  --server-name  TRUSTPOOL_SERVER_NAME  server_name:  name in the server's certificate, if it is not HOST

Who is asking, by a token or by a certificate, counts as a whole: a --token-file leaves out the certificate of the environment and the file. Paths in
the file count from its folder. A token is never an argument, which every user of the machine could read.`

// Flags are those of each command that asks an attestation server.
type Flags struct {
	given   settings
	timeout time.Duration
	out     *console.Output
}

// New returns Flags that warn by out.
func New(out *console.Output) *Flags { return &Flags{out: out} }

// Register gives the flags to a command and all below it.
func (f *Flags) Register(cmd *cobra.Command) {
	flags := cmd.PersistentFlags()
	flags.StringVar(&f.given.Server, "server", "", "`URL` of the attestation server, https://HOST:PORT")
	flags.StringVar(&f.given.TokenFile, "token-file", "", "`file` with the bearer token")
	flags.StringVar(&f.given.CA, "ca", "", "PEM `file` with the CAs of the server (default: those of the system)")
	flags.StringVar(&f.given.Cert, "cert", "", "PEM `file` with the client certificate")
	flags.StringVar(&f.given.Key, "key", "", "PEM `file` with the client certificate's key")
	flags.StringVar(&f.given.ServerName, "server-name", "", "`name` in the server's certificate (default: the host in --server)")
	flags.DurationVar(&f.timeout, "timeout", time.Minute, "how long to wait for the server")
}

// Do has a command ask the server, within --timeout. An error of the server, or on the way there, says what to do about it.
func (f *Flags) Do(ctx context.Context, ask func(context.Context, *api.Client) error) error {
	if f.timeout <= 0 {
		return console.Usagef("--timeout has to be more than 0")
	}
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	return f.Stay(ctx, ask)
}

// Stay is Do without an end, for what goes on until somebody interrupts it.
func (f *Flags) Stay(ctx context.Context, ask func(context.Context, *api.Client) error) error {
	client, err := f.client()
	if err != nil {
		return err
	}
	defer client.Close()
	return explain(ask(ctx, client))
}

// client returns a client of the server. It does not dial.
func (f *Flags) client() (*api.Client, error) {
	s, err := f.settings(os.Getenv, configFile())
	if err != nil {
		return nil, err
	}
	config := api.Config{URL: s.Server, ServerName: s.ServerName, UserAgent: "trustpoolctl/" + daemon.Version()}
	if s.TokenFile != "" {
		if config.Token, err = f.readToken(s.TokenFile); err != nil {
			return nil, err
		}
	}
	if s.Cert != "" {
		pair, err := tls.LoadX509KeyPair(s.Cert, s.Key)
		if err != nil {
			return nil, fmt.Errorf("loading the client certificate: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	if s.CA != "" {
		if config.RootCAs, err = readCAs(s.CA); err != nil {
			return nil, err
		}
	}
	client, err := api.NewClient(config)
	if err != nil {
		return nil, daemon.UsageError{Err: err}
	}
	return client, nil
}

// maxToken bounds a file with a token, in bytes.
const maxToken = 4 << 10

// readToken reads a file that has one token in one line.
func (f *Flags) readToken(path string) (string, error) {
	file, err := os.Open(path) // #nosec G304 -- the operator names the file
	if err != nil {
		return "", console.WithHint(fmt.Errorf("reading the token: %w", err), "Write the token that trustpoolctl token add printed into that file, or name another with --token-file.")
	}
	defer func() { _ = file.Close() }() // read only: nothing to lose

	raw, err := io.ReadAll(io.LimitReader(file, maxToken+1))
	if err != nil {
		return "", fmt.Errorf("reading the token: %w", err)
	}
	token := strings.TrimSpace(string(raw))
	if token == "" || len(raw) > maxToken || strings.ContainsAny(token, " \t\r\n") {
		return "", console.WithHint(fmt.Errorf("reading the token: %s does not hold one token, and nothing else", path), "Write the token that trustpoolctl token add printed into that file.")
	}
	if info, err := file.Stat(); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
		f.out.Warn("other users may read the token in %s: chmod 600 it", console.Printable(path))
	}
	return token, nil
}

func readCAs(path string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(path) // #nosec G304 -- the operator names the file
	if err != nil {
		return nil, fmt.Errorf("loading the CAs of the server: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("loading the CAs of the server: %s holds no PEM certificate", path)
	}
	return roots, nil
}
