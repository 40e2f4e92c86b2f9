package agent

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"

	"github.com/trustpool/trustpool/agent/internal/logs"
	"github.com/trustpool/trustpool/agent/internal/tpm"
	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
)

// quoteService answers callers. Who they are was checked before they get here.
type quoteService struct {
	agentv1.UnimplementedQuoteServiceServer

	tpm       *tpm.TPM
	logs      *logs.Store
	metrics   *metrics
	status    *statusBoard
	bootID    string
	simulated bool
	version   string
}

// quoteRequest is a request that may be carried out.
type quoteRequest struct {
	nonce      Nonce
	bindMode   agentv1.BindMode
	akName     []byte
	selections []tpm.Selection
	logs       map[string][]byte
	// aggregated says that the caller takes a quote that is signed together with others.
	aggregated bool
}

// Quote implements the RPC of that name.
func (s *quoteService) Quote(ctx context.Context, request *agentv1.QuoteRequest) (*agentv1.QuoteResponse, error) {
	response, err := s.quote(ctx, request)
	if err != nil {
		err = edgeError(err)
	}

	return response, err
}

func (s *quoteService) quote(ctx context.Context, request *agentv1.QuoteRequest) (*agentv1.QuoteResponse, error) {
	state, err := s.ready(ctx)
	if err != nil {
		return nil, err
	}

	parsed, err := s.parse(request, callerOf(ctx), state.Properties)
	if err != nil {
		return nil, err
	}

	snapshots, host := s.logs.Snapshots(), s.logs.Host()
	references := logReferences(snapshots, parsed.logs)

	quote, err := s.sign(ctx, parsed, references)
	if err != nil {
		return nil, err
	}

	launch := readLaunch(quote.Banks, host, snapshots)
	s.status.launched(launch.status)
	s.metrics.launched(launch.status)

	return &agentv1.QuoteResponse{
		Quoted:         quote.Quoted,
		QuoteSignature: quote.Signature,
		PcrBanks:       pcrBanks(quote.Banks),
		AkName:         quote.AK.Name(),
		AkPublic:       quote.AK.Public,
		AkCertificate:  unlessKnown(quote.AK.Record.Certificate, request.GetKnownAkCertificateDigest()),
		Logs:           references,
		Aggregation:    quote.aggregation,
		Hints: &agentv1.UnsignedHints{
			BootId:       s.bootID,
			LaunchStatus: launch.status,
			LaunchDetail: launch.detail,
			TxtRegisters: registerHints(host),
			Simulated:    s.simulated,
			AgentVersion: s.version,
		},
	}, nil
}

// sign has the TPM sign what the bind mode says. The AK is named in what is signed: should a rotation end just now, the next one is asked.
func (s *quoteService) sign(ctx context.Context, parsed quoteRequest, logs []*agentv1.LogReference) (signed, error) {
	for {
		akName := parsed.akName
		if len(akName) == 0 {
			state, err := s.ready(ctx)
			if err != nil {
				return signed{}, err
			}

			akName = state.AK.Name()
		}

		extraData, err := parsed.extraData(ctx, akName, logs)
		if err != nil {
			return signed{}, err
		}

		quote, err := s.signOne(ctx, parsed, akName, extraData)
		if len(parsed.akName) == 0 && errors.Is(err, tpm.ErrUnknownAK) {
			continue
		}

		return quote, err
	}
}

// ready returns the TPM's state, or why there can't be a quote.
func (s *quoteService) ready(ctx context.Context) (tpm.State, error) {
	state, err := s.tpm.Settled(ctx)
	if err != nil {
		return tpm.State{}, err
	}

	return state, state.Err
}

func (s *quoteService) parse(request *agentv1.QuoteRequest, caller Caller, properties tpm.Properties) (quoteRequest, error) {
	switch request.GetBindMode() {
	case agentv1.BindMode_BIND_MODE_UNSPECIFIED:
		return quoteRequest{}, refuse(agentv1.ErrorReason_ERROR_REASON_BIND_MODE_UNSPECIFIED)
	case agentv1.BindMode_BIND_MODE_BOUND:
	case agentv1.BindMode_BIND_MODE_RAW:
		if !caller.Has(RoleRaw) && !caller.Has(RoleAttestz) {
			return quoteRequest{}, refuse(agentv1.ErrorReason_ERROR_REASON_ROLE_MISSING)
		}
	default:
		return quoteRequest{}, refuse(agentv1.ErrorReason_ERROR_REASON_BIND_MODE_UNKNOWN)
	}

	nonce, err := ParseNonce(request.GetNonce(), properties.MaxNonce)
	if err != nil {
		return quoteRequest{}, err
	}

	selections, err := parseSelections(request.GetPcrSelections(), properties.Banks)
	if err != nil {
		return quoteRequest{}, err
	}

	if n := len(request.GetKnownAkCertificateDigest()); n != 0 && n != sha256.Size {
		return quoteRequest{}, refuse(agentv1.ErrorReason_ERROR_REASON_LOG_REQUEST_INVALID)
	}

	wanted, err := wantedLogs(request.GetLogs(), s.logs.Sources())
	if err != nil {
		return quoteRequest{}, err
	}

	return quoteRequest{nonce: nonce, bindMode: request.GetBindMode(), akName: request.GetAkName(), selections: selections, logs: wanted, aggregated: request.GetAcceptAggregation()}, nil
}

// extraData returns what is to be signed beside the PCRs.
func (r quoteRequest) extraData(ctx context.Context, akName []byte, logs []*agentv1.LogReference) ([]byte, error) {
	if r.bindMode == agentv1.BindMode_BIND_MODE_RAW {
		return r.nonce.bytes, nil
	}

	channel, err := exporter(ctx)
	if err != nil {
		return nil, err
	}

	return bound(r.nonce.bytes, channel, akName, logs), nil
}

// GetCapabilities implements the RPC of that name.
func (s *quoteService) GetCapabilities(ctx context.Context, _ *agentv1.GetCapabilitiesRequest) (*agentv1.GetCapabilitiesResponse, error) {
	state, err := s.ready(ctx)
	if err != nil {
		return nil, edgeError(err)
	}

	response := &agentv1.GetCapabilitiesResponse{
		MinNonceSize:       MinNonce,
		MaxNonceSize:       uint32(state.Properties.MaxNonce), // #nosec G115 -- at most 66
		AkName:             state.AK.Name(),
		AkPublic:           state.AK.Public,
		LogSources:         s.logs.Sources(),
		TpmManufacturer:    state.Properties.Manufacturer,
		TpmVendor:          state.Properties.Vendor,
		TpmFirmwareVersion: state.Properties.Firmware,
		Simulated:          s.simulated,
		AgentVersion:       s.version,
	}

	for _, bank := range state.Properties.Banks {
		response.PcrBanks = append(response.PcrBanks, agentv1.HashAlgo(bank))
	}

	if _, err := exporter(ctx); err == nil {
		response.BindModes = append(response.BindModes, agentv1.BindMode_BIND_MODE_BOUND)
	}

	if callerOf(ctx).Has(RoleRaw) {
		response.BindModes = append(response.BindModes, agentv1.BindMode_BIND_MODE_RAW)
	}

	return response, nil
}

// unlessKnown returns the certificate, or nothing if the caller has it already.
func unlessKnown(certificate, knownDigest []byte) []byte {
	if digest := sha256.Sum256(certificate); bytes.Equal(digest[:], knownDigest) {
		return nil
	}

	return certificate
}

func pcrBanks(banks []tpm.Bank) []*agentv1.PcrBank {
	list := make([]*agentv1.PcrBank, 0, len(banks))

	for _, bank := range banks {
		b := &agentv1.PcrBank{HashAlgo: agentv1.HashAlgo(bank.Selection.Bank)}
		for i, pcr := range bank.Selection.PCRs() {
			b.PcrValues = append(b.PcrValues, &agentv1.PcrValue{PcrIndex: int32(pcr), Value: bank.Values[i]}) // #nosec G115 -- 0 to 23
		}

		list = append(list, b)
	}

	return list
}
