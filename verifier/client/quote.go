package client

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"

	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
	"github.com/trustpool/trustpool/verifier"
)

// QuoteOptions say what to ask for.
type QuoteOptions struct {
	// Nonce is signed byte for byte; NewNonce makes one. It is a RAW quote: extraData is the nonce.
	Nonce []byte
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
	resp, err := c.quotes.Quote(ctx, quoteRequest(opts))
	if err != nil {
		return Reply{}, fmt.Errorf("asking %s for a quote: %w", c.address, newCallError(err))
	}

	reply, err := newReply(resp, opts)
	if err == nil {
		err = c.fetchLogs(ctx, &reply, opts)
	}
	if err != nil {
		return Reply{}, fmt.Errorf("reading the quote of %s: %w", c.address, err)
	}
	hintMissing(reply.Evidence.Hints, reply.Logs, reply.Evidence.Logs)
	return reply, nil
}

func quoteRequest(opts QuoteOptions) *agentv1.QuoteRequest {
	req := &agentv1.QuoteRequest{Nonce: opts.Nonce, BindMode: agentv1.BindMode_BIND_MODE_RAW, AkName: opts.AKName}

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
