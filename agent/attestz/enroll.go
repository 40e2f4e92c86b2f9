package attestz

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"

	epb "github.com/openconfig/attestz/proto/tpm_enrollz"
	"google.golang.org/grpc"

	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
)

// enrollService is TpmEnrollzService.
type enrollService struct {
	epb.UnimplementedTpmEnrollzServiceServer

	options Options
}

// maxCertificates bounds the certificates of one chain, maxPEM its text in bytes.
const (
	maxCertificates = 8
	maxPEM          = 64 << 10
)

// GetControlCardVendorID implements the RPC of that name. What SMBIOS does not tell is empty.
func (s *enrollService) GetControlCardVendorID(
	_ context.Context, request *epb.GetControlCardVendorIDRequest,
) (*epb.GetControlCardVendorIDResponse, error) {
	card, err := s.options.card(request.GetControlCardSelection())
	if err != nil {
		return nil, s.options.Edge(err)
	}

	return &epb.GetControlCardVendorIDResponse{ControlCardId: card}, nil
}

// GetIakCert implements the RPC of that name, where the operator has a vendor's certificate for the AK. There is no IDevID, so there is no certificate of one.
func (s *enrollService) GetIakCert(ctx context.Context, request *epb.GetIakCertRequest) (*epb.GetIakCertResponse, error) {
	response, err := s.iakCert(ctx, request)
	if err != nil {
		return nil, s.options.Edge(err)
	}

	return response, nil
}

func (s *enrollService) iakCert(ctx context.Context, request *epb.GetIakCertRequest) (*epb.GetIakCertResponse, error) {
	card, err := s.options.card(request.GetControlCardSelection())
	if err != nil {
		return nil, err
	}

	if s.options.IAKCertificate == nil {
		return nil, s.unsupported("a vendor's certificate for the AK: the node's operator names one in attestz.iak_certificate")
	}

	ak, err := s.options.ready(ctx)
	if err != nil {
		return nil, err
	}

	text, err := s.options.IAKCertificate()
	if err != nil {
		return nil, fmt.Errorf("reading attestz.iak_certificate: %w", err)
	}

	chain, problem := parseChain(string(text))
	if problem == "" && !ak.IsKeyOf(chain[0]) {
		problem = "the one in attestz.iak_certificate is for another key than this node's AK"
	}

	if problem != "" {
		return nil, s.options.Refuse(agentv1.ErrorReason_ERROR_REASON_CERTIFICATE_INVALID, "problem", problem)
	}

	return &epb.GetIakCertResponse{ControlCardId: card, IakCert: encode(chain)}, nil
}

// RotateOIakCert implements the RPC of that name: it keeps the owner's certificate for the AK, or for the one that is to follow it. It takes one update, since there is one card, and no
// certificate of an IDevID, since there is none.
func (s *enrollService) RotateOIakCert(ctx context.Context, request *epb.RotateOIakCertRequest) (*epb.RotateOIakCertResponse, error) {
	if err := s.rotate(ctx, request); err != nil {
		return nil, s.options.Edge(err)
	}

	return &epb.RotateOIakCertResponse{}, nil
}

func (s *enrollService) rotate(ctx context.Context, request *epb.RotateOIakCertRequest) error {
	update := &epb.ControlCardCertUpdate{ // as callers of before there were updates send it
		ControlCardSelection: request.GetControlCardSelection(), OiakCert: request.GetOiakCert(), OidevidCert: request.GetOidevidCert(), //nolint:staticcheck // deprecated
	}

	switch updates := request.GetUpdates(); {
	case len(updates) > 1:
		return s.unsupported("a second control card")
	case len(updates) == 1 && (update.GetOiakCert() != "" || update.GetOidevidCert() != ""):
		return s.options.Refuse(agentv1.ErrorReason_ERROR_REASON_CERTIFICATE_INVALID, "problem", "it is there twice, in updates and beside them: send it in updates alone")
	case len(updates) == 1:
		update = updates[0]
	}

	if _, err := s.options.card(update.GetControlCardSelection()); err != nil {
		return err
	}

	if update.GetOidevidCert() != "" || request.GetSslProfileId() != "" {
		return s.unsupported("an IDevID: send neither oidevid_cert nor ssl_profile_id")
	}

	chain, problem := parseChain(update.GetOiakCert())
	if problem != "" {
		return s.options.Refuse(agentv1.ErrorReason_ERROR_REASON_CERTIFICATE_INVALID, "problem", problem)
	}

	var above [][]byte
	for _, certificate := range chain[1:] {
		above = append(above, certificate.Raw)
	}

	return s.options.Install(ctx, chain[0].Raw, above)
}

// RotateAIKCert implements the RPC of that name.
func (s *enrollService) RotateAIKCert(grpc.BidiStreamingServer[epb.RotateAIKCertRequest, epb.RotateAIKCertResponse]) error {
	return s.options.Edge(s.unsupported("a TPM 1.2"))
}

// GetIdevidCsr implements the RPC of that name.
func (s *enrollService) GetIdevidCsr(context.Context, *epb.GetIdevidCsrRequest) (*epb.GetIdevidCsrResponse, error) {
	return nil, s.options.Edge(s.unsupported("an IDevID"))
}

// Challenge implements the RPC of that name.
func (s *enrollService) Challenge(context.Context, *epb.ChallengeRequest) (*epb.ChallengeResponse, error) {
	return nil, s.options.Edge(s.unsupported("an IAK of the TCG's template, which is what the reply would have to certify: enrol the AK with trustpoolctl, by TPM2_ActivateCredential"))
}

func (s *enrollService) unsupported(missing string) error {
	return s.options.Refuse(agentv1.ErrorReason_ERROR_REASON_NOT_SUPPORTED, "missing", missing)
}

// parseChain reads certificates (PEM), each signed by the next. It says what is wrong with them, if anything is.
func parseChain(text string) (chain []*x509.Certificate, problem string) {
	if len(text) > maxPEM {
		return nil, "it is too large"
	}

	for rest := []byte(text); len(bytes.TrimSpace(rest)) > 0; {
		var block *pem.Block

		if block, rest = pem.Decode(rest); block == nil || block.Type != "CERTIFICATE" || len(chain) == maxCertificates {
			return nil, fmt.Sprintf("it is not PEM with 1 to %d certificates and nothing else", maxCertificates)
		}

		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, "it is not X.509"
		}

		if n := len(chain); n > 0 && chain[n-1].CheckSignatureFrom(certificate) != nil {
			return nil, "its certificates are not in order: each one has to be signed by the next"
		}

		chain = append(chain, certificate)
	}

	if len(chain) == 0 {
		return nil, "it is empty"
	}

	return chain, ""
}

// encode returns certificates as PEM.
func encode(chain []*x509.Certificate) string {
	var text []byte

	for _, certificate := range chain {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})...)
	}

	return string(text)
}
