package agent

import (
	"context"
	"crypto/x509"
	"errors"
	"os"
	"time"

	"github.com/trustpool/trustpool/agent/internal/logs"
	"github.com/trustpool/trustpool/agent/internal/tpm"
	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
)

// enrollmentService binds the AK to the TPM and replaces it. Who calls was checked before.
type enrollmentService struct {
	agentv1.UnimplementedEnrollmentServiceServer

	tpm  *tpm.TPM
	logs *logs.Store
	// tlsKey is nil if the server's key is in a file.
	tlsKey *TLSKey
}

// maxCredential bounds each part of a credential, in bytes: a TPM2B_ENCRYPTED_SECRET of RSA-4096 has 512, a TPM2B_ID_OBJECT less.
const maxCredential = 1024

// GetIdentity implements the RPC of that name.
func (s *enrollmentService) GetIdentity(ctx context.Context, request *agentv1.GetIdentityRequest) (*agentv1.GetIdentityResponse, error) {
	identity, err := s.identity(ctx, request.GetNonce())
	if err != nil {
		return nil, edgeError(err)
	}

	host := s.logs.Host()
	response := &agentv1.GetIdentityResponse{SmbiosUuid: host.UUID, SmbiosSerial: host.Serial}

	if name, err := os.Hostname(); err == nil {
		response.HostNames = append(response.HostNames, name)
	}

	for _, ek := range identity.EKs {
		response.EndorsementKeys = append(response.EndorsementKeys, &agentv1.EndorsementKey{
			Public: ek.Public, Certificate: ek.Certificate, Chain: ek.Chain,
			KeySource: ek.KeySource, CertificateSource: ek.CertificateSource, Detail: ek.Detail,
		})
	}

	if identity.TLS != nil {
		response.TlsKey = &agentv1.TlsKey{Public: identity.TLS.Public}
	}

	for _, ak := range identity.AKs {
		if identity.TLS != nil {
			response.TlsKey.Certifications = append(response.TlsKey.Certifications, &agentv1.TlsKeyCertification{
				AkName: ak.AK.Name(), CertifyInfo: ak.TLSInfo, CertifySignature: ak.TLSSignature,
			})
		}

		response.AttestationKeys = append(response.AttestationKeys, &agentv1.AttestationKey{
			Name: ak.AK.Name(), Public: ak.AK.Public, Certificate: ak.AK.Record.Certificate, Generation: ak.AK.Record.Generation, Pending: ak.Pending,
			CreationData: ak.Data, CertifyInfo: ak.Info, CertifySignature: ak.Signature,
		})
	}

	return response, nil
}

func (s *enrollmentService) identity(ctx context.Context, nonce []byte) (*tpm.Identity, error) {
	state, err := s.ready(ctx)
	if err != nil {
		return nil, err
	}

	parsed, err := ParseNonce(nonce, state.Properties.MaxNonce)
	if err != nil {
		return nil, err
	}

	return s.tpm.Identity(ctx, parsed.bytes, tlsExtraData(parsed.bytes))
}

// ActivateCredential implements the RPC of that name.
func (s *enrollmentService) ActivateCredential(
	ctx context.Context, request *agentv1.ActivateCredentialRequest,
) (*agentv1.ActivateCredentialResponse, error) {
	secret, err := s.activate(ctx, request)
	if err != nil {
		return nil, edgeError(err)
	}

	return &agentv1.ActivateCredentialResponse{Secret: secret}, nil
}

func (s *enrollmentService) activate(ctx context.Context, request *agentv1.ActivateCredentialRequest) ([]byte, error) {
	if _, err := s.ready(ctx); err != nil {
		return nil, err
	}

	blob, secret := request.GetCredentialBlob(), request.GetEncryptedSecret()
	if len(blob) == 0 || len(blob) > maxCredential || len(secret) == 0 || len(secret) > maxCredential {
		return nil, refuse(agentv1.ErrorReason_ERROR_REASON_CREDENTIAL_INVALID)
	}

	if len(request.GetAkName()) == 0 {
		return nil, refuse(agentv1.ErrorReason_ERROR_REASON_AK_UNKNOWN)
	}

	return s.tpm.Activate(ctx, request.GetEkPublic(), request.GetAkName(), blob, secret)
}

// InstallCertificate implements the RPC of that name.
func (s *enrollmentService) InstallCertificate(
	ctx context.Context, request *agentv1.InstallCertificateRequest,
) (*agentv1.InstallCertificateResponse, error) {
	err := s.install(ctx, request.GetCertificate(), nil)
	if err != nil {
		return nil, edgeError(err)
	}

	return &agentv1.InstallCertificateResponse{}, nil
}

// install keeps a certificate for the AK, and those of the authorities above it, which nobody here relies on: verifiers get them.
func (s *enrollmentService) install(ctx context.Context, der []byte, chain [][]byte) error {
	if _, err := s.ready(ctx); err != nil {
		return err
	}

	invalid := func(problem string) error {
		return refuse(agentv1.ErrorReason_ERROR_REASON_CERTIFICATE_INVALID, "problem", problem)
	}

	const maxCertificate = 16 << 10
	if len(der) > maxCertificate {
		return invalid("it is too large")
	}

	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return invalid("it is not one X.509 certificate in DER")
	}

	if now := time.Now(); now.Before(certificate.NotBefore) || now.After(certificate.NotAfter) {
		return invalid("it is not valid now")
	}

	err = s.tpm.InstallCertificate(ctx, der, chain...)
	if errors.Is(err, tpm.ErrCertificate) {
		return invalid("it is for another key than this node's AK; after a rotation, ask for a new one")
	}

	return err
}

// RotateAK implements the RPC of that name.
func (s *enrollmentService) RotateAK(ctx context.Context, _ *agentv1.RotateAKRequest) (*agentv1.RotateAKResponse, error) {
	_, err := s.ready(ctx)

	var ak *tpm.AK
	if err == nil {
		ak, err = s.tpm.Rotate(ctx)
	}

	if err != nil {
		return nil, edgeError(err)
	}

	return &agentv1.RotateAKResponse{AkName: ak.Name()}, nil
}

// CommitAK implements the RPC of that name.
func (s *enrollmentService) CommitAK(ctx context.Context, request *agentv1.CommitAKRequest) (*agentv1.CommitAKResponse, error) {
	_, err := s.ready(ctx)
	if err == nil && len(request.GetAkName()) == 0 {
		err = refuse(agentv1.ErrorReason_ERROR_REASON_AK_UNKNOWN)
	}

	if err == nil {
		err = s.tpm.Commit(ctx, request.GetAkName())
	}

	if err != nil {
		return nil, edgeError(err)
	}

	return &agentv1.CommitAKResponse{}, nil
}

// Reprovision implements the RPC of that name.
func (s *enrollmentService) Reprovision(ctx context.Context, _ *agentv1.ReprovisionRequest) (*agentv1.ReprovisionResponse, error) {
	// In whatever state the TPM is: that is what reprovisioning is for.
	_, err := s.tpm.Settled(ctx)

	var ak *tpm.AK
	if err == nil {
		ak, err = s.tpm.Reprovision(ctx)
	}

	if err != nil {
		return nil, edgeError(err)
	}

	return &agentv1.ReprovisionResponse{AkName: ak.Name()}, nil
}

// ready returns the TPM's state, or why it can't be used.
func (s *enrollmentService) ready(ctx context.Context) (tpm.State, error) {
	state, err := s.tpm.Settled(ctx)
	if err != nil {
		return tpm.State{}, err
	}

	return state, state.Err
}
