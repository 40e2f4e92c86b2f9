package agent_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"testing"

	"google.golang.org/grpc/codes"

	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
	"github.com/trustpool/trustpool/tpmsim"
)

// fetch streams a log and returns what came.
func fetch(t testing.TB, client agentv1.QuoteServiceClient, digest []byte, offset uint64) ([]byte, error) {
	t.Helper()

	stream, err := client.GetEventLog(t.Context(), &agentv1.GetEventLogRequest{Sha256: digest, Offset: offset})
	if err != nil {
		t.Fatal(err)
	}

	var got bytes.Buffer

	for {
		piece, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return got.Bytes(), nil
		}

		if err != nil {
			return got.Bytes(), err
		}

		if piece.GetOffset() != offset+uint64(got.Len()) || len(piece.GetChunk()) > 64<<10 {
			t.Fatalf("a piece of %d bytes at %d after %d bytes", len(piece.GetChunk()), piece.GetOffset(), got.Len())
		}

		got.Write(piece.GetChunk())
	}
}

// bigLog is no log at all, and sixteen times sixteen chunks long.
func bigLog(t testing.TB, path string) []byte {
	t.Helper()

	log := bytes.Repeat([]byte("not a log. "), 16<<20/11)
	if err := os.WriteFile(path, log, 0o600); err != nil {
		t.Fatal(err)
	}

	return log
}

func TestALargeLogThatDoesNotParseIsSentWhole(t *testing.T) {
	t.Parallel()

	n := startNode(t, tpmsim.NoLaunch)
	want := bigLog(t, n.log)
	client := n.as(t, rawer)

	request := goodRequest()
	request.Logs = []*agentv1.LogRequest{{Source: "txt"}}

	reference := mustQuote(t, client, request).GetLogs()[0]
	if reference.GetState() != agentv1.LogState_LOG_STATE_MALFORMED || reference.GetSize() != uint64(len(want)) || len(reference.GetContent()) != 0 {
		t.Fatalf("reference is %v", reference)
	}

	got, err := fetch(t, client, reference.GetSha256(), 0)
	if err != nil || sha256.Sum256(got) != sha256.Sum256(want) {
		t.Errorf("%d bytes came, %v", len(got), err)
	}

	tail, err := fetch(t, client, reference.GetSha256(), uint64(len(want)-100))
	if err != nil || !bytes.Equal(tail, want[len(want)-100:]) {
		t.Errorf("the last bytes are %q, %v", tail, err)
	}

	if rest, err := fetch(t, client, reference.GetSha256(), uint64(len(want))); err != nil || len(rest) != 0 {
		t.Errorf("after the end: %d bytes, %v", len(rest), err)
	}

	_, err = fetch(t, client, reference.GetSha256(), uint64(len(want)+1))
	wantRefusal(t, err, codes.OutOfRange, agentv1.ErrorReason_ERROR_REASON_LOG_OFFSET_INVALID)
}

func TestALogThatIsNotThereIsRefused(t *testing.T) {
	t.Parallel()

	n := startNode(t, tpmsim.Trusted)
	client := n.as(t, rawer)

	_, err := fetch(t, client, make([]byte, 32), 0)
	wantRefusal(t, err, codes.NotFound, agentv1.ErrorReason_ERROR_REASON_LOG_UNAVAILABLE)

	_, err = fetch(t, client, make([]byte, 31), 0)
	wantRefusal(t, err, codes.InvalidArgument, agentv1.ErrorReason_ERROR_REASON_LOG_REQUEST_INVALID)

	_, err = fetch(t, n.as(t, observer), make([]byte, 32), 0)
	wantRefusal(t, err, codes.PermissionDenied, agentv1.ErrorReason_ERROR_REASON_ROLE_MISSING)
}

func TestALogThatChangesUnderAReaderIsNotPassedOff(t *testing.T) {
	t.Parallel()

	n := startNode(t, tpmsim.NoLaunch)
	log := bigLog(t, n.log)
	client := n.as(t, rawer)
	digest := mustQuote(t, client, goodRequest()).GetLogs()[0].GetSha256()

	stream, err := client.GetEventLog(t.Context(), &agentv1.GetEventLogRequest{Sha256: digest})
	if err != nil {
		t.Fatal(err)
	}

	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}

	if err := os.WriteFile(n.log, append(log[:len(log)-1], '!'), 0o600); err != nil {
		t.Fatal(err)
	}

	for err == nil {
		_, err = stream.Recv()
	}

	wantRefusal(t, err, codes.Aborted, agentv1.ErrorReason_ERROR_REASON_LOG_CHANGED)
}

func TestAWatcherHearsThePresentAndEachChange(t *testing.T) {
	t.Parallel()

	n := startNode(t, tpmsim.Trusted)
	client := n.as(t, rawer)

	stream, err := client.WatchStatus(t.Context(), &agentv1.WatchStatusRequest{})
	if err != nil {
		t.Fatal(err)
	}

	status, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}

	if status.GetAkState() != agentv1.AkState_AK_STATE_FRESH || status.GetEvent() != 0 || len(status.GetAkName()) != 34 || status.GetBootId() == "" {
		t.Errorf("the present is %v", status)
	}

	mustQuote(t, client, goodRequest())

	if status, err = stream.Recv(); err != nil {
		t.Fatal(err)
	}

	if status.GetEvent() != agentv1.StatusEvent_STATUS_EVENT_LAUNCH_CHANGED || status.GetLaunchStatus() != agentv1.LaunchStatus_LAUNCH_STATUS_LAUNCHED {
		t.Errorf("after the first quote: %v", status)
	}

	n.stop()

	_, err = stream.Recv()
	wantRefusal(t, err, codes.Unavailable, agentv1.ErrorReason_ERROR_REASON_SHUTTING_DOWN)
}

func TestOnlyObserversWatch(t *testing.T) {
	t.Parallel()

	n := startNode(t, tpmsim.Trusted)

	stream, err := n.as(t, quoter).WatchStatus(t.Context(), &agentv1.WatchStatusRequest{})
	if err != nil {
		t.Fatal(err)
	}

	_, err = stream.Recv()
	wantRefusal(t, err, codes.PermissionDenied, agentv1.ErrorReason_ERROR_REASON_ROLE_MISSING)
}
