package client

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"slices"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
)

// large is a log of more than one piece, no two of which are alike.
func large() []byte {
	raw := make([]byte, 3*maxChunk+17)
	for i := range raw {
		raw[i] = byte(i * 31 >> 7)
	}
	return raw
}

// sendFrom sends a log as an honest node does.
func sendFrom(raw []byte, offset uint64, send sender) error {
	for int(offset) < len(raw) {
		n := min(maxChunk, len(raw)-int(offset))
		if err := send(&agentv1.GetEventLogResponse{Offset: offset, Chunk: raw[offset:][:n]}); err != nil {
			return err
		}
		offset += uint64(n)
	}
	return nil
}

func TestALogIsTakenUpAgainWhereItsStreamBroke(t *testing.T) {
	t.Parallel()

	raw := large()
	digest := sha256.Sum256(raw)
	var offsets []uint64
	c := dialNode(t, &hostileNode{eventLog: func(req *agentv1.GetEventLogRequest, send sender) error {
		offsets = append(offsets, req.GetOffset())
		if len(offsets) == 4 {
			return sendFrom(raw, req.GetOffset(), send)
		}
		if err := send(&agentv1.GetEventLogResponse{Offset: req.GetOffset(), Chunk: raw[req.GetOffset():][:1000]}); err != nil {
			return err
		}
		return status.Error([]codes.Code{codes.Unavailable, codes.Internal, codes.Aborted}[len(offsets)-1], "broken")
	}})

	var got bytes.Buffer
	if err := c.EventLog(t.Context(), digest[:], len(raw), &got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), raw) {
		t.Error("another log came")
	}
	if want := []uint64{0, 1000, 2000, 3000}; !slices.Equal(offsets, want) {
		t.Errorf("asked for offsets %v, want %v", offsets, want)
	}
}

func TestALogIsAskedForAFewTimesOnly(t *testing.T) {
	t.Parallel()

	raw := large()
	digest := sha256.Sum256(raw)
	for name, test := range map[string]struct {
		err  error
		want int
	}{
		"breaks for ever":                 {status.Error(codes.Unavailable, "broken"), maxStreams},
		"a refusal":                       {refusal(t, codes.Unavailable, "gone", &errdetails.ErrorInfo{Domain: "trustpool", Reason: "LOG_UNAVAILABLE"}), 1},
		"an agent that has not this call": {status.Error(codes.Unimplemented, "what?"), 1},
		"a caller whom it does not know":  {status.Error(codes.PermissionDenied, "no"), 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			asked := 0
			c := dialNode(t, &hostileNode{eventLog: func(*agentv1.GetEventLogRequest, sender) error {
				asked++
				return test.err
			}})
			err := c.EventLog(t.Context(), digest[:], len(raw), &bytes.Buffer{})
			if status.Code(err) != status.Code(test.err) || asked != test.want {
				t.Errorf("asked %d times, want %d: %v", asked, test.want, err)
			}
		})
	}
}

func TestALogThatIsNotTheAskedOneIsRefused(t *testing.T) {
	t.Parallel()

	raw := large()
	digest := sha256.Sum256(raw)
	piece := func(offset int, chunk []byte) *agentv1.GetEventLogResponse {
		return &agentv1.GetEventLogResponse{Offset: uint64(offset), Chunk: chunk}
	}
	for name, test := range map[string]struct {
		send func(sender) error
		want string
	}{
		"it begins elsewhere": {func(s sender) error { return s(piece(1, raw[1:100])) }, "begins at 1, not at 0"},
		"it has a gap": {func(s sender) error {
			return errors.Join(s(piece(0, raw[:100])), s(piece(101, raw[101:200])))
		}, "begins at 101, not at 100"},
		"a piece comes twice": {func(s sender) error {
			return errors.Join(s(piece(0, raw[:100])), s(piece(0, raw[:100])))
		}, "begins at 0, not at 100"},
		"an empty piece":      {func(s sender) error { return s(piece(0, nil)) }, "0 bytes, not 1 to 65536"},
		"a piece over 64 KiB": {func(s sender) error { return s(piece(0, raw[:maxChunk+1])) }, "65537 bytes, not 1 to 65536"},
		"more than announced": {func(s sender) error { return sendFrom(append(bytes.Clone(raw), 0), 0, s) }, "more than the 196625 bytes"},
		"less than announced": {func(s sender) error { return sendFrom(raw[:len(raw)-1], 0, s) }, "ends after 196624 bytes of 196625"},
		"nothing":             {func(sender) error { return nil }, "ends after 0 bytes"},
		"other bytes":         {func(s sender) error { return sendFrom(make([]byte, len(raw)), 0, s) }, "has the SHA-256"},
		"small pieces for ever": {func(s sender) error {
			for i := range raw {
				if err := s(piece(i, raw[i:i+1])); err != nil {
					return err
				}
			}
			return nil
		}, "more than 256 pieces"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			c := dialNode(t, &hostileNode{eventLog: func(_ *agentv1.GetEventLogRequest, send sender) error { return test.send(send) }})
			err := c.EventLog(t.Context(), digest[:], len(raw), &bytes.Buffer{})
			if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want ErrMalformed and %q", err, test.want)
			}
		})
	}
}

func TestALogBeyondTheBoundIsNotAskedFor(t *testing.T) {
	t.Parallel()

	c := dialNode(t, &hostileNode{})
	for name, test := range map[string]struct {
		digest []byte
		size   int
	}{
		"over 16 MiB":    {make([]byte, 32), maxLogBytes + 1},
		"negative":       {make([]byte, 32), -1},
		"a short digest": {make([]byte, 31), 1},
	} {
		if err := c.EventLog(t.Context(), test.digest, test.size, &bytes.Buffer{}); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLargeLogsComeWithTheQuoteIfTheyAreWanted(t *testing.T) {
	t.Parallel()

	raw := large()
	resp := honest()
	big := logOf("big", raw)
	big.Content = nil
	resp.Logs = []*agentv1.LogReference{big, logOf("txt", []byte("a log"))}
	c := dialNode(t, &hostileNode{
		quote:    func(*agentv1.QuoteRequest) (*agentv1.QuoteResponse, error) { return resp, nil },
		eventLog: func(req *agentv1.GetEventLogRequest, send sender) error { return sendFrom(raw, req.GetOffset(), send) },
	})

	var steps []int
	reply, err := c.Quote(t.Context(), QuoteOptions{Raw: true, WantLogs: []string{"big", "txt"}, Progress: func(_ LogReference, done int) { steps = append(steps, done) }})
	if err != nil {
		t.Fatal(err)
	}
	logs := reply.Evidence.Logs
	if len(logs) != 2 || logs[0].Source != "big" || !bytes.Equal(logs[0].Raw, raw) || logs[1].Source != "txt" {
		t.Errorf("%d logs", len(logs))
	}
	if _, hinted := reply.Evidence.Hints[HintLog+"big"]; hinted {
		t.Error("the log is here, and a hint says that it is not")
	}
	if len(steps) != 4 || steps[3] != len(raw) {
		t.Errorf("progress %v", steps)
	}

	if reply, err = c.Quote(t.Context(), QuoteOptions{Raw: true, WantLogs: []string{"txt"}}); err != nil || len(reply.Evidence.Logs) != 1 {
		t.Errorf("not wanted: %d logs, %v", len(reply.Evidence.Logs), err)
	}
}

func TestLargeLogsTogetherAreBounded(t *testing.T) {
	t.Parallel()

	resp := honest()
	resp.Logs = nil
	for _, source := range []string{"a", "b"} {
		resp.Logs = append(resp.Logs, &agentv1.LogReference{Source: source, Sha256: make([]byte, 32), Size: maxLogBytes/2 + 1})
	}
	asked := 0
	c := dialNode(t, &hostileNode{
		quote: func(*agentv1.QuoteRequest) (*agentv1.QuoteResponse, error) { return resp, nil },
		eventLog: func(*agentv1.GetEventLogRequest, sender) error {
			asked++
			return status.Error(codes.DataLoss, "no")
		},
	})
	resp.Logs[0].Size, resp.Logs[1].Size = maxLogBytes/2+1, maxLogBytes/2+1
	resp.Logs[0].Content = make([]byte, maxLogBytes/2+1)
	digest := sha256.Sum256(resp.Logs[0].Content)
	resp.Logs[0].Sha256 = digest[:]

	_, err := c.Quote(t.Context(), QuoteOptions{Raw: true, WantLogs: []string{"a", "b"}})
	if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), "the logs together") || asked != 0 {
		t.Errorf("asked %d times, %v", asked, err)
	}
}
