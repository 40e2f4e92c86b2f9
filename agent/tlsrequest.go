package agent

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"net/url"
	"os"
	"strings"

	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
)

const (
	// maxSANs bounds the names of a certificate request, maxSAN each of them, in bytes. RFC 1035, 2.3.4, bounds a DNS name at 253 as text.
	maxSANs, maxSAN = 16, 260
	// maxCommonName is ub-common-name of RFC 5280, A.1.
	maxCommonName = 64
)

// GetTLSCertificateRequest implements the RPC of that name.
func (s *enrollmentService) GetTLSCertificateRequest(
	ctx context.Context, request *agentv1.GetTLSCertificateRequestRequest,
) (*agentv1.GetTLSCertificateRequestResponse, error) {
	der, err := s.certificateRequest(ctx, request.GetSans())
	if err != nil {
		return nil, edgeError(err)
	}

	return &agentv1.GetTLSCertificateRequestResponse{CertificateRequest: der}, nil
}

func (s *enrollmentService) certificateRequest(ctx context.Context, sans []string) ([]byte, error) {
	template, err := requestTemplate(sans)
	if err != nil {
		return nil, err
	}

	state, err := s.ready(ctx)
	if err != nil {
		return nil, err
	}

	if state.TLS == nil || s.tlsKey == nil {
		return nil, &refusal{reason: agentv1.ErrorReason_ERROR_REASON_TLS_KEY_UNAVAILABLE, cause: state.TLSErr}
	}

	signer, err := s.tlsKey.Signer(state.TLS.Key)
	if err != nil {
		return nil, err
	}

	return x509.CreateCertificateRequest(nil, template, signer)
}

// requestTemplate reads names. Without any it takes the host's.
func requestTemplate(sans []string) (*x509.CertificateRequest, error) {
	invalid := refuse(agentv1.ErrorReason_ERROR_REASON_SAN_INVALID)

	if len(sans) == 0 {
		name, err := os.Hostname()
		if err != nil {
			return nil, invalid
		}

		sans = []string{"dns:" + name}
	}

	if len(sans) > maxSANs {
		return nil, invalid
	}

	template := &x509.CertificateRequest{}

	for _, san := range sans {
		if len(san) > maxSAN || !addSAN(template, san) {
			return nil, invalid
		}
	}

	if names := template.DNSNames; len(names) > 0 && len(names[0]) <= maxCommonName {
		template.Subject = pkix.Name{CommonName: names[0]}
	}

	return template, nil
}

// addSAN says whether the name was one.
func addSAN(template *x509.CertificateRequest, san string) bool {
	kind, name, _ := strings.Cut(san, ":")

	switch kind {
	case "dns":
		template.DNSNames = append(template.DNSNames, name)

		return isDNSName(name)
	case "ip":
		ip := net.ParseIP(name)
		template.IPAddresses = append(template.IPAddresses, ip)

		return ip != nil
	case "uri":
		uri, err := url.Parse(name)
		template.URIs = append(template.URIs, uri)

		return err == nil && uri.IsAbs() && uri.Host != ""
	default:
		return false
	}
}

// isDNSName takes letters, digits, dashes and dots; what a CA makes of it is for the CA to say.
func isDNSName(name string) bool {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-."

	return name != "" && len(name) <= 253 && strings.Trim(name, allowed) == ""
}
