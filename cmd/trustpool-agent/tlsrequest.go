package main

import (
	"context"
	"encoding/pem"

	"github.com/spf13/cobra"

	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
)

func identityTLSRequest(configPath *string) *cobra.Command {
	var sans []string

	command := &cobra.Command{
		Use:   "tls-csr",
		Short: "Print a certificate request for the TLS key in the TPM",
		Long: `tls-csr prints a PKCS #10 certificate request (PEM), signed by the server's TLS key in the TPM. It needs tls.key: tpm in the config; the file of tls.certificate
may still be missing. The CA has to give the certificate the extended key usage serverAuth; write it to tls.certificate, and it is taken over at once.`,
		Example: "  trustpool-agent identity tls-csr --san dns:node1.example --san ip:192.0.2.7 >node1.csr",
		Args:    usageArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withNode(cmd.Context(), *configPath, func(ctx context.Context, node agentv1.EnrollmentServiceClient) error {
				response, err := node.GetTLSCertificateRequest(ctx, &agentv1.GetTLSCertificateRequestRequest{Sans: sans})
				if err != nil {
					return err
				}

				return pem.Encode(cmd.OutOrStdout(), &pem.Block{Type: "CERTIFICATE REQUEST", Bytes: response.GetCertificateRequest()})
			})
		},
	}
	command.Flags().StringArrayVar(&sans, "san", nil, "subject alternative `name` as dns:NAME, ip:ADDRESS or uri:URI; may be repeated (default: the host name)")

	return command
}
