package agent_test

import (
	"bytes"
	"testing"

	"google.golang.org/grpc/codes"

	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
	"github.com/trustpool/trustpool/tpmsim"
)

func TestBadRequestsAreRefusedAndTheNextGoodOneIsAnswered(t *testing.T) {
	t.Parallel()

	n := startNode(t, tpmsim.Trusted)
	client := n.as(t, rawer)

	pcrs := func(alg agentv1.HashAlgo, indices ...int32) *agentv1.PcrSelection {
		return &agentv1.PcrSelection{HashAlgo: alg, PcrIndices: indices}
	}
	const sha256 = agentv1.HashAlgo_HASH_ALGO_SHA256

	for name, test := range map[string]struct {
		change func(*agentv1.QuoteRequest)
		code   codes.Code
		reason agentv1.ErrorReason
	}{
		"no nonce": {
			func(r *agentv1.QuoteRequest) { r.Nonce = nil },
			codes.InvalidArgument, agentv1.ErrorReason_ERROR_REASON_NONCE_TOO_SHORT,
		},
		"nonce of 15 bytes": {
			func(r *agentv1.QuoteRequest) { r.Nonce = r.Nonce[:15] },
			codes.InvalidArgument, agentv1.ErrorReason_ERROR_REASON_NONCE_TOO_SHORT,
		},
		"nonce one byte longer than this TPM takes": {
			func(r *agentv1.QuoteRequest) { r.Nonce = make([]byte, maxNonce(t, client)+1) },
			codes.InvalidArgument, agentv1.ErrorReason_ERROR_REASON_NONCE_TOO_LONG,
		},
		"nonce of 1 MiB": {
			func(r *agentv1.QuoteRequest) { r.Nonce = make([]byte, 1<<20) },
			codes.InvalidArgument, agentv1.ErrorReason_ERROR_REASON_NONCE_TOO_LONG,
		},
		"nonce that looks bound": {
			func(r *agentv1.QuoteRequest) { r.Nonce = append([]byte{0x7B, 0x01}, make([]byte, 32)...) },
			codes.InvalidArgument, agentv1.ErrorReason_ERROR_REASON_NONCE_RESERVED,
		},
		"nonce that looks aggregated": {
			func(r *agentv1.QuoteRequest) { r.Nonce = append([]byte{0x7B, 0x02}, make([]byte, 32)...) },
			codes.InvalidArgument, agentv1.ErrorReason_ERROR_REASON_NONCE_RESERVED,
		},
		"nonce that looks like a certified key": {
			func(r *agentv1.QuoteRequest) { r.Nonce = append([]byte{0x7B, 0x03}, make([]byte, 32)...) },
			codes.InvalidArgument, agentv1.ErrorReason_ERROR_REASON_NONCE_RESERVED,
		},
		"no bind mode": {
			func(r *agentv1.QuoteRequest) { r.BindMode = 0 },
			codes.InvalidArgument, agentv1.ErrorReason_ERROR_REASON_BIND_MODE_UNSPECIFIED,
		},
		"unknown bind mode": {
			func(r *agentv1.QuoteRequest) { r.BindMode = 99 },
			codes.InvalidArgument, agentv1.ErrorReason_ERROR_REASON_BIND_MODE_UNKNOWN,
		},
		"unknown bank": {
			func(r *agentv1.QuoteRequest) { r.PcrSelections = []*agentv1.PcrSelection{pcrs(99, 17)} },
			codes.InvalidArgument, agentv1.ErrorReason_ERROR_REASON_BANK_UNKNOWN,
		},
		"no bank": {
			func(r *agentv1.QuoteRequest) { r.PcrSelections = []*agentv1.PcrSelection{pcrs(0, 17)} },
			codes.InvalidArgument, agentv1.ErrorReason_ERROR_REASON_BANK_UNKNOWN,
		},
		"inactive bank": {
			func(r *agentv1.QuoteRequest) {
				r.PcrSelections = []*agentv1.PcrSelection{pcrs(agentv1.HashAlgo_HASH_ALGO_SHA512, 17)}
			},
			codes.FailedPrecondition, agentv1.ErrorReason_ERROR_REASON_BANK_INACTIVE,
		},
		"PCR 24": {
			func(r *agentv1.QuoteRequest) { r.PcrSelections = []*agentv1.PcrSelection{pcrs(sha256, 24)} },
			codes.InvalidArgument, agentv1.ErrorReason_ERROR_REASON_PCR_OUT_OF_RANGE,
		},
		"negative PCR": {
			func(r *agentv1.QuoteRequest) { r.PcrSelections = []*agentv1.PcrSelection{pcrs(sha256, -1)} },
			codes.InvalidArgument, agentv1.ErrorReason_ERROR_REASON_PCR_OUT_OF_RANGE,
		},
		"repeated PCR": {
			func(r *agentv1.QuoteRequest) { r.PcrSelections = []*agentv1.PcrSelection{pcrs(sha256, 17, 18, 17)} },
			codes.InvalidArgument, agentv1.ErrorReason_ERROR_REASON_SELECTION_REPEATED,
		},
		"empty selection": {
			func(r *agentv1.QuoteRequest) { r.PcrSelections = []*agentv1.PcrSelection{pcrs(sha256)} },
			codes.InvalidArgument, agentv1.ErrorReason_ERROR_REASON_SELECTION_EMPTY,
		},
		"two selections of one bank": {
			func(r *agentv1.QuoteRequest) {
				r.PcrSelections = []*agentv1.PcrSelection{pcrs(sha256, 17), pcrs(sha256, 18)}
			},
			codes.InvalidArgument, agentv1.ErrorReason_ERROR_REASON_SELECTION_REPEATED,
		},
		"unknown log": {
			func(r *agentv1.QuoteRequest) { r.Logs = []*agentv1.LogRequest{{Source: "diary"}} },
			codes.InvalidArgument, agentv1.ErrorReason_ERROR_REASON_LOG_SOURCE_UNKNOWN,
		},
		"log digest of 31 bytes": {
			func(r *agentv1.QuoteRequest) {
				r.Logs = []*agentv1.LogRequest{{Source: "txt", KnownDigest: make([]byte, 31)}}
			},
			codes.InvalidArgument, agentv1.ErrorReason_ERROR_REASON_LOG_REQUEST_INVALID,
		},
		"log asked for twice": {
			func(r *agentv1.QuoteRequest) { r.Logs = []*agentv1.LogRequest{{Source: "txt"}, {Source: "txt"}} },
			codes.InvalidArgument, agentv1.ErrorReason_ERROR_REASON_LOG_REQUEST_INVALID,
		},
	} {
		t.Run(name, func(t *testing.T) {
			request := goodRequest()
			test.change(request)

			_, err := client.Quote(t.Context(), request)
			wantRefusal(t, err, test.code, test.reason)
			mustQuote(t, client, goodRequest())
		})
	}
}

func maxNonce(t testing.TB, client agentv1.QuoteServiceClient) int {
	t.Helper()

	capabilities, err := client.GetCapabilities(t.Context(), &agentv1.GetCapabilitiesRequest{})
	if err != nil {
		t.Fatal(err)
	}

	return int(capabilities.GetMaxNonceSize())
}

func TestTheLongestNonceIsSigned(t *testing.T) {
	t.Parallel()

	n := startNode(t, tpmsim.Trusted)
	client := n.as(t, rawer)
	request := goodRequest()
	request.Nonce = bytes.Repeat([]byte{0x7B}, maxNonce(t, client))
	mustQuote(t, client, request)
}
