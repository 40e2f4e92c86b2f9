package verifier

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

// exporterSize is that of a TLS channel binding (RFC 9266, 4.2), in bytes.
const exporterSize = 32

// The extraData that say more than "I saw this nonce" are these two bytes and a SHA-256.
const (
	mark           = 0x7B
	markBound      = 0x01
	markAggregated = 0x02
)

// Binding is what the asking end of a bound challenge knows besides its nonce.
type Binding struct {
	// Exporter is the channel binding of the TLS 1.3 connection that the quote was asked for on: 32 bytes, RFC 9266, taken at the asking end and never from a message. In
	// saved evidence it is the collector's word.
	Exporter []byte
	// Logs are all logs that the reply named, in its order.
	Logs []BoundLog
}

// BoundLog is one log that a reply named.
type BoundLog struct {
	// Source is what the reply called it.
	Source string
	// SHA256 is the digest that the reply gave; empty if it gave none.
	SHA256 []byte
}

// bound returns the BOUND value for this nonce: the extraData of a quote for the caller alone.
func (e *exam) bound(nonce []byte) ([]byte, error) {
	binding := e.ev.Binding
	if binding == nil {
		return nil, errors.New("the quote was not asked for as a bound one: it may have been relayed")
	}
	if e.ak == nil || len(e.ak.name) == 0 {
		return nil, errors.New("the AK has no Name to be bound to")
	}
	if err := binding.check(e.ev.Logs); err != nil {
		return nil, err
	}
	return binding.extraData(nonce, e.ak.name), nil
}

// check wants a channel binding, and each log that is there to be one that the quote binds.
func (b *Binding) check(logs []Log) error {
	if len(b.Exporter) != exporterSize {
		return fmt.Errorf("the channel binding has %d bytes, not %d", len(b.Exporter), exporterSize)
	}
	if len(b.Logs) > maxLogs {
		return fmt.Errorf("the quote binds %d logs, more than %d", len(b.Logs), maxLogs)
	}

	bound := make(map[string][]byte, len(b.Logs))
	for _, l := range b.Logs {
		if _, twice := bound[l.Source]; twice || len(l.Source) > maxSource || len(l.SHA256) != 0 && len(l.SHA256) != sha256.Size {
			return fmt.Errorf("the bound log %s has an unfit name or digest, or is there twice", safeText(l.Source))
		}
		bound[l.Source] = l.SHA256
	}
	for _, l := range logs {
		if digest := sha256.Sum256(l.Raw); !bytes.Equal(digest[:], bound[l.Source]) {
			return mismatch{
				detail:   fmt.Sprintf("log %s is not the one that the quote binds", safeText(l.Source)),
				expected: bound[l.Source],
				got:      digest[:],
			}
		}
	}
	return nil
}

// maxSource bounds a log's name, in bytes.
const maxSource = 64

// extraData is that of the agent's contract for bound quotes: the mark 7B 01, then the SHA-256 of "trustpool-bound-v1", a zero byte, nonce, channel binding and AK Name,
// each behind its length, and the number of logs, each as its name behind its length and its digest, zeros where it has none. Lengths and the number are big-endian 16 bits.
func (b *Binding) extraData(nonce, akName []byte) []byte {
	h := sha256.New()
	part := func(p []byte) {
		h.Write(binary.BigEndian.AppendUint16(nil, uint16(len(p)))) //nolint:gosec // checked to be short, or a TPM's
		h.Write(p)
	}

	h.Write([]byte("trustpool-bound-v1\x00"))
	part(nonce)
	part(b.Exporter)
	part(akName)
	h.Write(binary.BigEndian.AppendUint16(nil, uint16(len(b.Logs)))) //nolint:gosec // at most maxLogs
	for _, l := range b.Logs {
		part([]byte(l.Source))
		if len(l.SHA256) == 0 {
			h.Write(make([]byte, sha256.Size))
		}
		h.Write(l.SHA256)
	}
	return h.Sum([]byte{mark, markBound})
}
