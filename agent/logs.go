package agent

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"strconv"

	"google.golang.org/grpc"

	"github.com/trustpool/trustpool/agent/internal/logs"
	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
	"github.com/trustpool/trustpool/verifier/eventlog"
)

// chunkSize is that of the pieces of a streamed log, in bytes. A log that fits into one travels inside a reply.
const chunkSize = 64 << 10

// logReferences names all logs, and carries those that are wanted, small enough and not known to the caller.
func logReferences(snapshots []logs.Snapshot, wanted map[string][]byte) []*agentv1.LogReference {
	references := make([]*agentv1.LogReference, 0, len(snapshots))

	for _, snapshot := range snapshots {
		reference := &agentv1.LogReference{
			Source: snapshot.Source,
			State:  logState(snapshot.State),
			Format: logFormat(snapshot.Format),
			Size:   uint64(snapshot.Size), // #nosec G115 -- a size
			Detail: snapshot.Detail,
		}

		if snapshot.Size > 0 {
			reference.Sha256 = snapshot.SHA256[:]
		}

		if known, isWanted := wanted[snapshot.Source]; isWanted && !bytes.Equal(known, snapshot.SHA256[:]) {
			reference.Content = snapshot.Raw
		}

		references = append(references, reference)
	}

	return references
}

// GetEventLog implements the RPC of that name.
func (s *quoteService) GetEventLog(request *agentv1.GetEventLogRequest, stream grpc.ServerStreamingServer[agentv1.GetEventLogResponse]) error {
	if len(request.GetSha256()) != sha256.Size {
		return refuse(agentv1.ErrorReason_ERROR_REASON_LOG_REQUEST_INVALID)
	}

	log, ok := s.logs.Open([sha256.Size]byte(request.GetSha256()))
	if !ok {
		return refuse(agentv1.ErrorReason_ERROR_REASON_LOG_UNAVAILABLE)
	}
	defer func() { _ = log.Close() }() // read only: nothing to lose

	if request.GetOffset() > uint64(log.Size()) { // #nosec G115 -- a size
		return refuse(agentv1.ErrorReason_ERROR_REASON_LOG_OFFSET_INVALID, "size", strconv.FormatInt(log.Size(), 10))
	}

	return sendLog(stream.Context(), log, int64(request.GetOffset()), stream.Send) // #nosec G115 -- not above the size
}

// sendLog sends a log from an offset on. It uses one chunk for all pieces: gRPC has encoded a piece before Send returns, and nothing here looks at it later.
func sendLog(ctx context.Context, log logs.LogReader, offset int64, send func(*agentv1.GetEventLogResponse) error) error {
	chunk := make([]byte, chunkSize)

	for offset < log.Size() {
		n, err := log.ReadAt(chunk, offset)

		switch {
		case errors.Is(err, logs.ErrChanged):
			return refuse(agentv1.ErrorReason_ERROR_REASON_LOG_CHANGED)
		case err != nil && !errors.Is(err, io.EOF):
			return refuse(agentv1.ErrorReason_ERROR_REASON_LOG_UNAVAILABLE)
		case ctx.Err() != nil:
			return edgeError(context.Cause(ctx))
		}

		if err := send(&agentv1.GetEventLogResponse{Offset: uint64(offset), Chunk: chunk[:n]}); err != nil { // #nosec G115 -- a size
			return err
		}

		offset += int64(n)
	}

	return nil
}

func logState(state logs.State) agentv1.LogState {
	switch state {
	case logs.Available:
		return agentv1.LogState_LOG_STATE_AVAILABLE
	case logs.NotPermitted:
		return agentv1.LogState_LOG_STATE_NOT_PERMITTED
	case logs.Empty:
		return agentv1.LogState_LOG_STATE_EMPTY
	case logs.Malformed:
		return agentv1.LogState_LOG_STATE_MALFORMED
	default:
		return agentv1.LogState_LOG_STATE_ABSENT
	}
}

func logFormat(format eventlog.Format) agentv1.LogFormat {
	switch format {
	case eventlog.FormatCryptoAgile:
		return agentv1.LogFormat_LOG_FORMAT_TCG_CRYPTO_AGILE
	case eventlog.FormatSHA1:
		return agentv1.LogFormat_LOG_FORMAT_TCG_SHA1
	case eventlog.FormatTXT:
		return agentv1.LogFormat_LOG_FORMAT_TXT_SINGLE
	default:
		return agentv1.LogFormat_LOG_FORMAT_UNSPECIFIED
	}
}
