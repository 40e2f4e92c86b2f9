package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/verifier/client"
)

func newInstallCertificate(out *console.Output) *cobra.Command {
	var (
		where connection
		path  string
	)
	cmd := &cobra.Command{
		Use:   "install-certificate --address ADDRESS --certificate FILE",
		Short: "Give a node the certificate of its attestation key",
		Long: `install-certificate gives a node a certificate of your CA for its attestation key (see enroll --csr). The node refuses one
that is for another key. From then on it comes with each quote. Needs the role admin.

Exit codes:
  0  installed
  1  failed: the node could not be asked, or refused the certificate
  2  wrong usage`,
		Example: `  trustpoolctl install-certificate --address node1.example:9443 --tls-dir /etc/trustpool --certificate ak-cert.pem`,
		Args:    console.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return installCertificate(cmd.Context(), where, path, out)
		},
	}
	where.register(cmd)
	cmd.Flags().StringVar(&path, "certificate", "", "`file` with one certificate, PEM or DER")
	return cmd
}

func installCertificate(ctx context.Context, where connection, path string, out *console.Output) error {
	if path == "" {
		return console.Usagef("--certificate is missing: name the file")
	}
	cert, err := readCertificate(path)
	if err != nil {
		return fmt.Errorf("reading the certificate: %w", err)
	}
	if err := where.ask(ctx, func(ctx context.Context, agent *client.Client) error {
		return agent.InstallCertificate(ctx, cert.Raw)
	}); err != nil {
		return err
	}

	view := &installView{Address: where.address, Subject: cert.Subject.String(), Issuer: cert.Issuer.String(), NotAfter: cert.NotAfter.UTC()}
	return out.Print(view, view.text)
}

// readCertificate reads a file that holds one certificate and nothing else.
func readCertificate(path string) (*x509.Certificate, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if block, rest := pem.Decode(raw); block != nil {
		if block.Type != "CERTIFICATE" || bytes.Contains(rest, []byte("-----BEGIN ")) {
			return nil, errors.New("the file has to hold one certificate and nothing else")
		}
		raw = block.Bytes
	}
	return x509.ParseCertificate(raw)
}

// installView is what install-certificate prints.
type installView struct {
	Address  string    `json:"address"`
	Subject  string    `json:"subject"`
	Issuer   string    `json:"issuer"`
	NotAfter time.Time `json:"not_after"`
}

func (v *installView) text(p *console.Page) {
	p.Line("%s on %s", p.Good("Installed"), console.Printable(v.Address))
	p.Field("subject", "%s", console.Printable(v.Subject))
	p.Field("issuer", "%s", console.Printable(v.Issuer))
	p.Field("ends", "%s", v.NotAfter.Format(time.DateOnly))
}
