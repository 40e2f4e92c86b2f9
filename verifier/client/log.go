package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
	"github.com/trustpool/trustpool/verifier"
)

const (
	// maxChunk bounds one piece of a log, as the contract has it.
	maxChunk = 64 << 10
	// maxStreams bounds how often one log is asked for, the first time counted.
	maxStreams = 5
	// minChunk is the least average size of pieces: a node that sends single bytes would keep the caller busy for hours. sparePieces may be smaller.
	minChunk    = 1 << 10
	sparePieces = 64
)

// EventLog writes the log with this SHA-256 and size to w, both from a LogReference. A stream that breaks is taken up again where it stopped, a few times.
//
// An error with a Reason is the node's refusal; one with ErrMalformed in its chain says that the node did not send that log. What w got before an error is not to
// be used. A call without a deadline waits as long as the node makes it wait.
func (c *Client) EventLog(ctx context.Context, digest []byte, size int, w io.Writer) error {
	t := &transfer{want: digest, size: size, to: w, hash: sha256.New()}
	if err := c.transfer(ctx, t); err != nil {
		return fmt.Errorf("fetching a log of %s: %w", c.address, err)
	}
	return nil
}

// transfer is one log on its way.
type transfer struct {
	want     []byte
	size     int
	to       io.Writer
	hash     hash.Hash
	offset   int
	pieces   int
	progress func(done int) // may be nil
}

func (c *Client) transfer(ctx context.Context, t *transfer) error {
	if len(t.want) != sha256.Size || t.size < 0 || t.size > maxLogBytes {
		return fmt.Errorf("%w: a log of %d bytes with a digest of %d: at most %d bytes, and a SHA-256, are taken", ErrMalformed, t.size, len(t.want), maxLogBytes)
	}

	for n := 1; ; n++ {
		err := c.stream(ctx, t, n > 1)
		if err == nil {
			break
		}
		if n == maxStreams || ctx.Err() != nil || !brokeOff(err) {
			return err
		}
	}
	if digest := t.hash.Sum(nil); !bytes.Equal(digest, t.want) {
		return fmt.Errorf("%w: the log has the SHA-256 %x, not %x", ErrMalformed, digest, t.want)
	}
	return nil
}

// brokeOff tells whether a stream ended for a reason that the next may not have. A refusal is not one, nor is anything that the node sent.
func brokeOff(err error) bool {
	if Reason(err) != agentv1.ErrorReason_ERROR_REASON_UNSPECIFIED {
		return false
	}
	switch status.Code(err) {
	case codes.Unavailable, codes.Internal, codes.Aborted:
		return true
	default:
		return false
	}
}

// stream takes pieces from where t is until the log is whole. Once the node was there, it is waited for while it comes back.
func (c *Client) stream(ctx context.Context, t *transfer, again bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the stream on every path

	request := &agentv1.GetEventLogRequest{Sha256: t.want, Offset: uint64(t.offset)} //nolint:gosec // 0 to size
	stream, err := c.quotes.GetEventLog(ctx, request, grpc.WaitForReady(again), grpc.MaxCallRecvMsgSize(2*maxChunk))
	if err != nil {
		return newCallError(err)
	}
	for {
		piece, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return t.end()
		}
		if err != nil {
			return newCallError(err)
		}
		if err := t.take(piece); err != nil {
			return err
		}
	}
}

// take writes one piece, which has to be the next.
func (t *transfer) take(piece *agentv1.GetEventLogResponse) error {
	chunk := piece.GetChunk()
	t.pieces++
	switch {
	case piece.GetOffset() != uint64(t.offset): //nolint:gosec // 0 to size
		return fmt.Errorf("%w: a piece of the log begins at %d, not at %d", ErrMalformed, piece.GetOffset(), t.offset)
	case len(chunk) == 0 || len(chunk) > maxChunk:
		return fmt.Errorf("%w: a piece of the log has %d bytes, not 1 to %d", ErrMalformed, len(chunk), maxChunk)
	case len(chunk) > t.size-t.offset:
		return fmt.Errorf("%w: the log has more than the %d bytes of its reference", ErrMalformed, t.size)
	case t.pieces > sparePieces+t.size/minChunk:
		return fmt.Errorf("%w: the log comes in more than %d pieces", ErrMalformed, t.pieces-1)
	}

	if _, err := t.to.Write(chunk); err != nil {
		return fmt.Errorf("keeping the log: %w", err)
	}
	t.hash.Write(chunk)
	t.offset += len(chunk)
	if t.progress != nil {
		t.progress(t.offset)
	}
	return nil
}

func (t *transfer) end() error {
	if t.offset != t.size {
		return fmt.Errorf("%w: the log ends after %d bytes of %d", ErrMalformed, t.offset, t.size)
	}
	return nil
}

// fetchLogs gets the wanted logs that were too large for the answer, and puts them in their place among the others.
func (c *Client) fetchLogs(ctx context.Context, reply *Reply, opts QuoteOptions) error {
	total := 0
	for _, l := range reply.Evidence.Logs {
		total += len(l.Raw)
	}

	var logs []verifier.Log
	for _, ref := range reply.Logs {
		here := slices.IndexFunc(reply.Evidence.Logs, func(l verifier.Log) bool { return l.Source == ref.Source })
		if here >= 0 {
			logs = append(logs, reply.Evidence.Logs[here])
			continue
		}
		if ref.Size == 0 || !opts.wants(ref.Source) {
			continue
		}
		total += ref.Size
		if err := atMost("the logs together", total, maxLogBytes); err != nil {
			return err
		}
		raw, err := c.fetchLog(ctx, ref, opts.Progress)
		if err != nil {
			return fmt.Errorf("fetching log %s: %w", ref.Source, err)
		}
		logs = append(logs, verifier.Log{Source: ref.Source, Raw: raw})
	}
	reply.Evidence.Logs = logs
	return nil
}

// fetchLog keeps a log in memory, which grows with what arrives and not with what the node announces.
func (c *Client) fetchLog(ctx context.Context, ref LogReference, progress func(LogReference, int)) ([]byte, error) {
	var raw bytes.Buffer
	t := &transfer{want: ref.SHA256, size: ref.Size, to: &raw, hash: sha256.New()}
	if progress != nil {
		t.progress = func(done int) { progress(ref, done) }
	}
	if err := c.transfer(ctx, t); err != nil {
		return nil, err
	}
	return raw.Bytes(), nil
}

// wants tells whether the bytes of a log are to be in the evidence.
func (o *QuoteOptions) wants(source string) bool {
	_, known := o.KnownLogs[source]
	return known || slices.Contains(o.WantLogs, source)
}
