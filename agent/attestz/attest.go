package attestz

import (
	"context"
	"crypto"
	"encoding/pem"
	"strings"

	cpb "github.com/openconfig/attestz/proto/common_definitions"
	apb "github.com/openconfig/attestz/proto/tpm_attestz"

	"github.com/trustpool/trustpool/agent/internal/tpm"
	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
)

// attestService is TpmAttestzService.
type attestService struct {
	apb.UnimplementedTpmAttestzServiceServer

	options Options
}

// Attest implements the RPC of that name. hash_algo chooses the bank, and has to be the hash of the AK's scheme as well: verifiers of attestz make pcrDigest with the bank's hash, and the TPM makes it with
// the scheme's (TPM 2.0 Part 3, 18.4). quoted is TPMS_ATTEST without a size, which verifiers hash as it is; quote_signature is TPMT_SIGNATURE.
func (s *attestService) Attest(ctx context.Context, request *apb.AttestRequest) (*apb.AttestResponse, error) {
	response, err := s.attest(ctx, request)
	if err != nil {
		return nil, s.options.Edge(err)
	}

	return response, nil
}

func (s *attestService) attest(ctx context.Context, request *apb.AttestRequest) (*apb.AttestResponse, error) {
	card, err := s.options.card(request.GetControlCardSelection())
	if err != nil {
		return nil, err
	}

	if len(request.GetPcrIndices()) == 0 {
		return nil, s.options.Refuse(agentv1.ErrorReason_ERROR_REASON_SELECTION_EMPTY)
	}

	ak, err := s.options.ready(ctx)
	if err != nil {
		return nil, err
	}

	if err := s.options.suits(ak, request.GetHashAlgo()); err != nil {
		return nil, err
	}

	quote, err := s.options.Quote(ctx, &agentv1.QuoteRequest{
		Nonce:         request.GetNonce(),
		BindMode:      agentv1.BindMode_BIND_MODE_RAW,
		AkName:        ak.Name(),
		PcrSelections: Selections(request),
	})
	if err != nil {
		return nil, err
	}

	return &apb.AttestResponse{
		ControlCardId:  card,
		PcrValues:      values(quote.GetPcrBanks()),
		Quoted:         quote.GetQuoted(),
		QuoteSignature: quote.GetQuoteSignature(),
		AttestationCert: &apb.AttestResponse_AttestationCert{
			Value: &apb.AttestResponse_AttestationCert_OiakCert{OiakCert: certificates(ak)},
		},
		Format: apb.AttestResponse_ATTESTATION_FORMAT_TPM_RAW,
	}, nil
}

// suits refuses AKs of another hash, and those without a certificate.
func (o Options) suits(ak *tpm.AK, algo cpb.Tpm20HashAlgo) error {
	hash, known := map[cpb.Tpm20HashAlgo]crypto.Hash{
		cpb.Tpm20HashAlgo_TPM_2_0_HASH_ALGO_SHA1:   crypto.SHA1,
		cpb.Tpm20HashAlgo_TPM_2_0_HASH_ALGO_SHA256: crypto.SHA256,
		cpb.Tpm20HashAlgo_TPM_2_0_HASH_ALGO_SHA384: crypto.SHA384,
		cpb.Tpm20HashAlgo_TPM_2_0_HASH_ALGO_SHA512: crypto.SHA512,
	}[algo]

	switch {
	case !known:
		return o.Refuse(agentv1.ErrorReason_ERROR_REASON_BANK_UNKNOWN)
	case hash != ak.Hash():
		return o.Refuse(agentv1.ErrorReason_ERROR_REASON_AK_HASH_MISMATCH, "ak_hash", ak.Hash().String())
	case len(ak.Record.Certificate) == 0:
		return o.Refuse(agentv1.ErrorReason_ERROR_REASON_AK_CERTIFICATE_MISSING)
	default:
		return nil
	}
}

// Selections returns what a request asks to have quoted, in the agent's own terms. A hash that is not known is HASH_ALGO_UNSPECIFIED.
func Selections(request *apb.AttestRequest) []*agentv1.PcrSelection {
	algo := map[cpb.Tpm20HashAlgo]agentv1.HashAlgo{
		cpb.Tpm20HashAlgo_TPM_2_0_HASH_ALGO_SHA1:   agentv1.HashAlgo_HASH_ALGO_SHA1,
		cpb.Tpm20HashAlgo_TPM_2_0_HASH_ALGO_SHA256: agentv1.HashAlgo_HASH_ALGO_SHA256,
		cpb.Tpm20HashAlgo_TPM_2_0_HASH_ALGO_SHA384: agentv1.HashAlgo_HASH_ALGO_SHA384,
		cpb.Tpm20HashAlgo_TPM_2_0_HASH_ALGO_SHA512: agentv1.HashAlgo_HASH_ALGO_SHA512,
	}[request.GetHashAlgo()]

	return []*agentv1.PcrSelection{{HashAlgo: algo, PcrIndices: request.GetPcrIndices()}}
}

// values returns the PCRs of the one bank that was asked for.
func values(banks []*agentv1.PcrBank) map[int32][]byte {
	all := make(map[int32][]byte)

	for _, bank := range banks {
		for _, value := range bank.GetPcrValues() {
			all[value.GetPcrIndex()] = value.GetValue()
		}
	}

	return all
}

// certificates returns the AK's certificate and its chain (PEM).
func certificates(ak *tpm.AK) string {
	var text strings.Builder

	for _, der := range append([][]byte{ak.Record.Certificate}, ak.Record.Chain...) {
		text.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}

	return text.String()
}
