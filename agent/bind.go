package agent

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
)

// exporterSize is that of the channel binding of RFC 9266, in bytes.
const exporterSize = 32

// exporter returns the channel binding of the TLS 1.3 connection that a call came by (RFC 9266, 4.2). Without such a connection there is nothing to bind to, and an empty value
// must never be signed in its place.
func exporter(ctx context.Context) ([]byte, error) {
	unavailable := refuse(agentv1.ErrorReason_ERROR_REASON_BINDING_UNAVAILABLE)

	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil, unavailable
	}

	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || info.State.Version != tls.VersionTLS13 {
		return nil, unavailable
	}

	value, err := info.State.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, exporterSize)
	if err != nil || len(value) != exporterSize {
		return nil, unavailable
	}

	return value, nil
}

// bound returns the extraData of BIND_MODE_BOUND, as that is defined there.
func bound(nonce, exporter, akName []byte, logs []*agentv1.LogReference) []byte {
	message := append([]byte("trustpool-bound-v1"), 0)
	for _, part := range [][]byte{nonce, exporter, akName} {
		message = appendPart(message, part)
	}

	message = binary.BigEndian.AppendUint16(message, uint16(len(logs))) // #nosec G115 -- a few

	for _, log := range logs {
		message = appendPart(message, []byte(log.GetSource()))

		digest := make([]byte, sha256.Size)
		copy(digest, log.GetSha256())
		message = append(message, digest...)
	}

	sum := sha256.Sum256(message)

	return append([]byte{mark, markBound}, sum[:]...)
}

// appendPart appends u16 length || part. All parts are short.
func appendPart(message, part []byte) []byte {
	message = binary.BigEndian.AppendUint16(message, uint16(len(part))) // #nosec G115 -- bounded where it came in

	return append(message, part...)
}
