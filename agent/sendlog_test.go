package agent

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/trustpool/trustpool/agent/internal/logs"
	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
)

func TestALargeLogCostsAFewChunks(t *testing.T) { //nolint:paralleltest // it measures what the whole process allocates
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, bytes.Repeat([]byte("not a log. "), logs.MaxSize/11), 0o600); err != nil {
		t.Fatal(err)
	}

	var before, after runtime.MemStats

	runtime.ReadMemStats(&before)

	store := logs.New(logs.Options{Files: []logs.File{{Name: "big", Path: path}}})

	log, ok := store.Open(store.Snapshots()[0].SHA256)
	if !ok {
		t.Fatal("the log is gone")
	}
	defer log.Close()

	var sent int64

	err := sendLog(context.Background(), log, 0, func(piece *agentv1.GetEventLogResponse) error {
		sent += int64(len(piece.GetChunk()))

		return nil
	})
	if err != nil || sent != log.Size() {
		t.Fatalf("%d bytes of %d were sent: %v", sent, log.Size(), err)
	}

	runtime.ReadMemStats(&after)

	if cost := after.TotalAlloc - before.TotalAlloc; cost > 8*chunkSize {
		t.Errorf("reading and sending %d bytes allocated %d", sent, cost)
	}
}
