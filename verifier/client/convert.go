package client

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/eventlog"
)

// The most that is taken of each field, in bytes where nothing else is said. The structures of a TPM stay far below: its widest digest has 64 bytes,
// its widest key 512 (TPM 2.0 Part 2, 10.3 and 11.2.4).
const (
	maxQuoted    = 4 << 10
	maxSignature = 2 << 10
	maxPublic    = 2 << 10
	maxName      = 2 + 64
	maxPCRValue  = 64
	maxBanks     = 8
	maxPCRs      = 24 // TPM 2.0 PC Client Platform TPM Profile, 4.6: PCR 0 to 23
	maxAlg       = 0xFFFF
	maxLogs      = 16
	maxSalt      = 32
	maxAggregate = 1024 // callers that are answered by one quote
	maxProof     = 10   // levels of a tree of so many leaves
	maxHash      = 32
	maxLogBytes  = 16 << 20 // all logs of a reply together
)

// newReply takes an answer apart. What it keeps is bounded and shares no memory with the caller's options.
func newReply(resp *agentv1.QuoteResponse, opts QuoteOptions) (Reply, error) {
	if err := checkSizes(resp); err != nil {
		return Reply{}, err
	}

	banks, err := pcrBanks(resp.GetPcrBanks())
	if err != nil {
		return Reply{}, err
	}
	references, logs, err := eventLogs(resp.GetLogs(), opts.KnownLogs)
	if err != nil {
		return Reply{}, err
	}
	aggregated, err := aggregation(resp.GetAggregation())
	if err != nil {
		return Reply{}, err
	}
	hints, err := unsignedHints(resp.GetHints())
	if err != nil {
		return Reply{}, err
	}

	var certificates [][]byte
	if cert := resp.GetAkCertificate(); len(cert) > 0 {
		certificates = [][]byte{cert}
	}
	return Reply{
		Evidence: verifier.Evidence{
			AKCertificates: certificates,
			Quoted:         resp.GetQuoted(),
			Signature:      resp.GetQuoteSignature(),
			PCRs:           banks,
			AKPublic:       resp.GetAkPublic(),
			Nonce:          bytes.Clone(opts.Nonce),
			Aggregation:    aggregated,
			Logs:           logs,
			Hints:          hints,
		},
		Logs: references,
	}, nil
}

func checkSizes(resp *agentv1.QuoteResponse) error {
	return errors.Join(
		atMost("quoted", len(resp.GetQuoted()), maxQuoted),
		atMost("quote_signature", len(resp.GetQuoteSignature()), maxSignature),
		atMost("ak_public", len(resp.GetAkPublic()), maxPublic),
		atMost("ak_name", len(resp.GetAkName()), maxName),
		atMost("pcr_banks", len(resp.GetPcrBanks()), maxBanks),
		atMost("ak_certificate", len(resp.GetAkCertificate()), maxCertificate),
		atMost("logs", len(resp.GetLogs()), maxLogs),
	)
}

func pcrBanks(wire []*agentv1.PcrBank) ([]verifier.PCRBank, error) {
	banks := make([]verifier.PCRBank, 0, len(wire))
	for _, w := range wire {
		algo := w.GetHashAlgo()
		if algo <= 0 || algo > maxAlg {
			return nil, fmt.Errorf("%w: pcr_banks: hash_algo %d is no TPM_ALG_ID", ErrMalformed, algo)
		}
		values, err := pcrValues(w.GetPcrValues())
		if err != nil {
			return nil, err
		}
		banks = append(banks, verifier.PCRBank{Alg: eventlog.Alg(algo), Values: values})
	}
	return banks, nil
}

func pcrValues(wire []*agentv1.PcrValue) ([]verifier.PCRValue, error) {
	if err := atMost("pcr_values", len(wire), maxPCRs); err != nil {
		return nil, err
	}

	values := make([]verifier.PCRValue, 0, len(wire))
	for _, w := range wire {
		index := w.GetPcrIndex()
		if index < 0 || index >= maxPCRs {
			return nil, fmt.Errorf("%w: pcr_index is %d, not 0 to 23", ErrMalformed, index)
		}
		if err := atMost("value", len(w.GetValue()), maxPCRValue); err != nil {
			return nil, err
		}
		values = append(values, verifier.PCRValue{Index: int(index), Value: w.GetValue()})
	}
	return values, nil
}

// aggregation returns nil if there is none. Whether it was asked for, and fits, is not looked at.
func aggregation(wire *agentv1.Aggregation) (*verifier.Aggregation, error) {
	if wire == nil {
		return nil, nil
	}
	if err := errors.Join(
		atMost("salt", len(wire.GetSalt()), maxSalt),
		atMost("index", wire.GetIndex(), maxAggregate),
		atMost("size", wire.GetSize(), maxAggregate),
		atMost("inclusion_proof", len(wire.GetInclusionProof()), maxProof),
	); err != nil {
		return nil, err
	}
	for _, h := range wire.GetInclusionProof() {
		if err := atMost("a hash of inclusion_proof", len(h), maxHash); err != nil {
			return nil, err
		}
	}
	return &verifier.Aggregation{Salt: wire.GetSalt(), Index: wire.GetIndex(), Size: wire.GetSize(), Proof: wire.GetInclusionProof()}, nil
}

// eventLogs returns all references, and the logs whose bytes came or are the caller's.
func eventLogs(wire []*agentv1.LogReference, known map[string][]byte) ([]LogReference, []verifier.Log, error) {
	var (
		references []LogReference
		logs       []verifier.Log
		total      int
	)
	for _, w := range wire {
		ref, err := logReference(w)
		if err != nil {
			return nil, nil, err
		}
		if slices.ContainsFunc(references, func(r LogReference) bool { return r.Source == ref.Source }) {
			return nil, nil, fmt.Errorf("%w: two logs are called %s", ErrMalformed, ref.Source)
		}
		raw, err := logBytes(ref, w.GetContent(), known[ref.Source])
		if err != nil {
			return nil, nil, err
		}

		total += len(raw)
		if err := atMost("the logs together", total, maxLogBytes); err != nil {
			return nil, nil, err
		}
		references = append(references, ref)
		if len(raw) > 0 {
			logs = append(logs, verifier.Log{Source: ref.Source, Raw: raw})
		}
	}
	return references, logs, nil
}

func logReference(w *agentv1.LogReference) (LogReference, error) {
	if !isSource(w.GetSource()) {
		return LogReference{}, fmt.Errorf("%w: %q is no name of a log", ErrMalformed, shorten(w.GetSource()))
	}
	if w.GetSize() > maxLogBytes {
		return LogReference{}, fmt.Errorf("%w: log %s has %d bytes, at most %d are taken", ErrMalformed, w.GetSource(), w.GetSize(), maxLogBytes)
	}
	if n := len(w.GetSha256()); n != 0 && n != sha256.Size {
		return LogReference{}, fmt.Errorf("%w: log %s: sha256 has %d bytes", ErrMalformed, w.GetSource(), n)
	}
	detail, err := text("detail", w.GetDetail(), maxDetail)
	if err != nil {
		return LogReference{}, err
	}

	return LogReference{
		Source: w.GetSource(),
		State:  w.GetState(),
		Format: w.GetFormat(),
		SHA256: w.GetSha256(),
		Size:   int(w.GetSize()), //nolint:gosec // bounded above
		Detail: detail,
	}, nil
}

// logBytes returns the log that ref names: what the node sent, else what the caller has if it is the same log, else nil.
func logBytes(ref LogReference, sent, known []byte) ([]byte, error) {
	if len(sent) == 0 {
		digest := sha256.Sum256(known)
		if len(known) == ref.Size && bytes.Equal(digest[:], ref.SHA256) {
			return bytes.Clone(known), nil
		}
		return nil, nil
	}

	if len(sent) != ref.Size {
		return nil, fmt.Errorf("%w: log %s has %d bytes, its reference says %d", ErrMalformed, ref.Source, len(sent), ref.Size)
	}
	if digest := sha256.Sum256(sent); !bytes.Equal(digest[:], ref.SHA256) {
		return nil, fmt.Errorf("%w: log %s has the SHA-256 %x, its reference says %x", ErrMalformed, ref.Source, digest, ref.SHA256)
	}
	return sent, nil
}

// atMost returns an error if n is more than bound.
func atMost[N int | uint32](what string, n, bound N) error {
	if n <= bound {
		return nil
	}
	return fmt.Errorf("%w: %s: %d, at most %d are taken", ErrMalformed, what, n, bound)
}
