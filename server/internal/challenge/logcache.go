package challenge

import (
	"context"
	"crypto/sha256"
	"sync"

	"github.com/trustpool/trustpool/server/internal/trust"
	"github.com/trustpool/trustpool/verifier"
)

// maxCached bounds the logs in memory, in bytes. Nodes that booted alike share theirs.
const maxCached = 64 << 20

// logCache keeps event logs by their SHA-256, so that each challenge need not read them from the store.
type logCache struct {
	mu   sync.Mutex
	size int
	raw  map[[sha256.Size]byte][]byte
}

func newLogCache() *logCache { return &logCache{raw: make(map[[sha256.Size]byte][]byte)} }

// keep keeps logs, and returns their digests by source.
func (c *logCache) keep(logs []verifier.Log) map[string][sha256.Size]byte {
	digests := make(map[string][sha256.Size]byte, len(logs))
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, log := range logs {
		digest := sha256.Sum256(log.Raw)
		digests[log.Source] = digest
		if _, have := c.raw[digest]; have || len(log.Raw) > maxCached {
			continue
		}
		for other, raw := range c.raw { // any: what is used comes back
			if c.size+len(log.Raw) <= maxCached {
				break
			}
			delete(c.raw, other)
			c.size -= len(raw)
		}
		c.raw[digest] = log.Raw
		c.size += len(log.Raw)
	}
	return digests
}

// get returns the logs of these digests; false if one is not there.
func (c *logCache) get(digests map[string][sha256.Size]byte) (map[string][]byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	logs := make(map[string][]byte, len(digests))
	for source, digest := range digests {
		raw, have := c.raw[digest]
		if !have {
			return nil, false
		}
		logs[source] = raw
	}
	return logs, true
}

// knownLogs returns the node's logs of the last time.
func (s *Schedule) knownLogs(ctx context.Context, node *trust.Node) (map[string][]byte, error) {
	if m := s.memo(node.ID); m.logs != nil {
		if logs, ok := s.logs.get(m.logs); ok {
			return logs, nil
		}
	}
	return s.deps.Store.Logs(ctx, node.ID)
}
