package client

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
	"github.com/trustpool/trustpool/verifier"
)

// QuoteOptions say what to ask for.
type QuoteOptions struct {
	// Nonce is what the quote answers; NewNonce makes one.
	Nonce []byte
	// Raw asks for a quote of the bare nonce, for tools that need that and for unix sockets; the agent grants it as a right of its own. Otherwise the quote is bound to this
	// connection, which Evidence.Binding tells of.
	Raw bool
	// AcceptAggregation lets the node sign this quote together with those of others who ask at the same time, so that a crowd costs its TPM what one caller costs. Bound quotes only, and
	// the node's choice: Evidence.Aggregation tells. It proves the same (see verifier.Aggregation).
	AcceptAggregation bool
	// Selection names the PCRs to sign. Empty: SHA-256, PCR 17, 18 and 19, which the agent chooses.
	Selection []verifier.Selection
	// AKName is the Name of the AK that shall sign: the one in use, or the pending one of a rotation. Empty: the one in use.
	AKName []byte
	// WantLogs names the sources of the logs whose bytes are wanted (Capabilities has the list). None: references only. Large ones are fetched one by one
	// after the answer, at most 16 MiB together.
	WantLogs []string
	// KnownLogs holds logs that the caller has already, by source. The node is told their SHA-256 and leaves out the bytes of a log that is
	// still the same; the evidence then holds the caller's. It saves the transfer, nothing else. These sources count as wanted.
	KnownLogs map[string][]byte
	// Progress, if not nil, is called as the bytes of a large log come in: done of its Size are here.
	Progress func(log LogReference, done int)
}

// Reply is what a node answered to one challenge.
type Reply struct {
	// Evidence is what verifier.Verify judges. Its Nonce is the one that was asked with, its Logs are those whose bytes are here.
	Evidence verifier.Evidence
	// Logs tells of every log of the node, also of those without bytes, in the node's order. Nothing signs it.
	Logs []LogReference
}

// LogReference is what a node says of one of its logs.
type LogReference struct {
	// Source says where it comes from: lower-case letters, digits, dot, dash and underscore, at most 64, never a path.
	Source string
	// State and Format are the node's reading of it.
	State  agentv1.LogState
	Format agentv1.LogFormat
	// SHA256 is the digest of its bytes, nil if there are none.
	SHA256 []byte
	// Size is the number of its bytes, at most 16 MiB.
	Size int
	// Detail is for people: why it is not available, and what to do.
	Detail string
}

// StateWord returns State as a word: "available", "not_permitted".
func (r LogReference) StateWord() string {
	return enumWord(r.State.String(), "LOG_STATE_")
}

// FormatWord returns Format as a word: "tcg_crypto_agile".
func (r LogReference) FormatWord() string {
	return enumWord(r.Format.String(), "LOG_FORMAT_")
}

// Quote challenges the node. An error with a Reason is the node's refusal; one with ErrMalformed in its chain is an answer that is no evidence; any other is
// that of a node that could not be asked.
func (c *Client) Quote(ctx context.Context, opts QuoteOptions) (Reply, error) {
	var server peer.Peer
	resp, err := c.quotes.Quote(ctx, quoteRequest(opts), grpc.Peer(&server))
	if err != nil {
		return Reply{}, fmt.Errorf("asking %s for a quote: %w", c.address, newCallError(err))
	}

	reply, err := newReply(resp, opts)
	if err == nil && !opts.Raw {
		reply.Evidence.Binding, err = newBinding(server, reply.Logs)
	}
	if err == nil {
		err = c.fetchLogs(ctx, &reply, opts)
	}
	if err != nil {
		return Reply{}, fmt.Errorf("reading the quote of %s: %w", c.address, err)
	}
	hintMissing(reply.Evidence.Hints, reply.Logs, reply.Evidence.Logs)
	return reply, nil
}

// newBinding takes the channel binding from our own end of the connection that the answer came by (RFC 9266).
func newBinding(server peer.Peer, logs []LogReference) (*verifier.Binding, error) {
	info, ok := server.AuthInfo.(credentials.TLSInfo)
	if !ok || info.State.Version != tls.VersionTLS13 {
		return nil, errors.New("there is no TLS 1.3 connection that a quote could be bound to")
	}
	exporter, err := info.State.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32)
	if err != nil {
		return nil, fmt.Errorf("taking the channel binding: %w", err)
	}

	binding := &verifier.Binding{Exporter: exporter}
	for _, l := range logs {
		binding.Logs = append(binding.Logs, verifier.BoundLog{Source: l.Source, SHA256: l.SHA256})
	}
	return binding, nil
}

func quoteRequest(opts QuoteOptions) *agentv1.QuoteRequest {
	req := &agentv1.QuoteRequest{Nonce: opts.Nonce, BindMode: agentv1.BindMode_BIND_MODE_BOUND, AkName: opts.AKName, AcceptAggregation: opts.AcceptAggregation}
	if opts.Raw {
		req.BindMode, req.AcceptAggregation = agentv1.BindMode_BIND_MODE_RAW, false
	}

	for _, sel := range opts.Selection {
		wire := &agentv1.PcrSelection{HashAlgo: agentv1.HashAlgo(sel.Alg)}
		for _, pcr := range sel.PCRs {
			wire.PcrIndices = append(wire.PcrIndices, int32(pcr)) //nolint:gosec // the agent refuses what is not 0 to 23
		}
		req.PcrSelections = append(req.PcrSelections, wire)
	}

	for _, source := range slices.Sorted(maps.Keys(opts.KnownLogs)) {
		digest := sha256.Sum256(opts.KnownLogs[source])
		req.Logs = append(req.Logs, &agentv1.LogRequest{Source: source, KnownDigest: digest[:]})
	}
	for _, source := range opts.WantLogs {
		if _, known := opts.KnownLogs[source]; !known {
			req.Logs = append(req.Logs, &agentv1.LogRequest{Source: source})
		}
	}
	return req
}
