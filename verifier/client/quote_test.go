package client

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/eventlog"
)

func TestQuoteTakesAnswersAtTheBounds(t *testing.T) {
	t.Parallel()

	resp := honest()
	resp.Logs = append(resp.Logs, logOf(strings.Repeat("z", maxSource), make([]byte, maxLogBytes-len("a log"))))
	c := dialNode(t, &hostileNode{quote: func(*agentv1.QuoteRequest) (*agentv1.QuoteResponse, error) { return resp, nil }})

	reply, err := c.Quote(t.Context(), QuoteOptions{Raw: true, Nonce: []byte("a nonce of my own")})
	if err != nil {
		t.Fatal(err)
	}
	if got := len(reply.Evidence.Logs); got != 2 {
		t.Errorf("%d logs, want 2", got)
	}
	if got := len(reply.Evidence.PCRs[0].Values); got != maxPCRs {
		t.Errorf("%d PCRs, want %d", got, maxPCRs)
	}
	want := &verifier.Aggregation{Salt: make([]byte, 32), Index: 1024, Size: 1024, Proof: hashes(10)}
	if diff := cmp.Diff(want, reply.Evidence.Aggregation); diff != "" {
		t.Errorf("aggregation (-want +got):\n%s", diff)
	}
	if string(reply.Evidence.Nonce) != "a nonce of my own" {
		t.Errorf("the evidence's nonce is %q", reply.Evidence.Nonce)
	}
}

func TestAnAnswerLargerThanAllBoundsTogetherIsNotRead(t *testing.T) {
	t.Parallel()

	resp := honest()
	resp.Hints.BootId = strings.Repeat("a", maxMessage)
	c := dialNode(t, &hostileNode{quote: func(*agentv1.QuoteRequest) (*agentv1.QuoteResponse, error) { return resp, nil }})

	_, err := c.Quote(t.Context(), QuoteOptions{Raw: true})
	if err == nil || errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), "larger than max") {
		t.Errorf("got %v", err)
	}
}

func TestQuoteAsksForWhatItIsTold(t *testing.T) {
	t.Parallel()

	known := []byte("known")
	digest := sha256.Sum256(known)
	var got *agentv1.QuoteRequest
	c := dialNode(t, &hostileNode{quote: func(req *agentv1.QuoteRequest) (*agentv1.QuoteResponse, error) {
		got = req
		return honest(), nil
	}})

	_, err := c.Quote(t.Context(), QuoteOptions{
		Raw:       true,
		Nonce:     []byte("0123456789abcdef"),
		Selection: []verifier.Selection{{Alg: eventlog.AlgSHA384, PCRs: []int{17, 18}}, {Alg: eventlog.AlgSHA1, PCRs: []int{0}}},
		WantLogs:  []string{"firmware", "txt"},
		KnownLogs: map[string][]byte{"txt": known},
	})
	if err != nil {
		t.Fatal(err)
	}

	want := &agentv1.QuoteRequest{
		Nonce:    []byte("0123456789abcdef"),
		BindMode: agentv1.BindMode_BIND_MODE_RAW,
		PcrSelections: []*agentv1.PcrSelection{
			{HashAlgo: agentv1.HashAlgo_HASH_ALGO_SHA384, PcrIndices: []int32{17, 18}},
			{HashAlgo: agentv1.HashAlgo_HASH_ALGO_SHA1, PcrIndices: []int32{0}},
		},
		Logs: []*agentv1.LogRequest{{Source: "txt", KnownDigest: digest[:]}, {Source: "firmware"}},
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
}

func TestOnlyBoundQuotesAreAskedForTogetherWithOthers(t *testing.T) {
	t.Parallel()

	for _, raw := range []bool{true, false} {
		for _, accept := range []bool{true, false} {
			req := quoteRequest(QuoteOptions{Raw: raw, AcceptAggregation: accept})
			if want := accept && !raw; req.GetAcceptAggregation() != want {
				t.Errorf("raw %t, accepted %t: the node is told %t", raw, accept, req.GetAcceptAggregation())
			}
		}
	}
}

func TestQuoteUsesTheCallersLogOnlyIfItIsTheNodes(t *testing.T) {
	t.Parallel()

	now := []byte("the log as it is now")
	for name, test := range map[string]struct {
		known []byte
		same  bool
	}{
		"the same":       {now, true},
		"an older one":   {[]byte("the log as it was.."), false},
		"one more byte":  {append(bytes.Clone(now), 0), false},
		"nothing at all": {nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			resp := honest()
			resp.Logs = []*agentv1.LogReference{logOf("txt", now)}
			resp.Logs[0].Content = nil
			fetched := false
			c := dialNode(t, &hostileNode{
				quote: func(*agentv1.QuoteRequest) (*agentv1.QuoteResponse, error) { return resp, nil },
				eventLog: func(_ *agentv1.GetEventLogRequest, send sender) error {
					fetched = true
					return send(&agentv1.GetEventLogResponse{Chunk: now})
				},
			})

			reply, err := c.Quote(t.Context(), QuoteOptions{Raw: true, KnownLogs: map[string][]byte{"txt": test.known}})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]verifier.Log{{Source: "txt", Raw: now}}, reply.Evidence.Logs); diff != "" {
				t.Errorf("logs (-want +got):\n%s", diff)
			}
			if fetched == test.same {
				t.Errorf("fetched: %t", fetched)
			}
		})
	}
}

func TestAnEmptyLogIsNoEvidence(t *testing.T) {
	t.Parallel()

	resp := honest()
	resp.Logs = []*agentv1.LogReference{logOf("txt", nil)}
	c := dialNode(t, &hostileNode{quote: func(*agentv1.QuoteRequest) (*agentv1.QuoteResponse, error) { return resp, nil }})

	reply, err := c.Quote(t.Context(), QuoteOptions{Raw: true, WantLogs: []string{"txt"}, KnownLogs: map[string][]byte{"txt": nil}})
	if err != nil {
		t.Fatal(err)
	}
	if len(reply.Evidence.Logs) != 0 || len(reply.Logs) != 1 {
		t.Errorf("%d logs and %d references, want 0 and 1", len(reply.Evidence.Logs), len(reply.Logs))
	}
}

func TestHintsHoldTheNodesWordsWithoutControlCharacters(t *testing.T) {
	t.Parallel()

	resp := honest()
	resp.Hints.BootId = "boot\x1b[2J\u202eid\n"
	resp.Logs[1].Detail = "none\rhere"
	resp.Logs[0].Content = nil
	c := dialNode(t, &hostileNode{quote: func(*agentv1.QuoteRequest) (*agentv1.QuoteResponse, error) { return resp, nil }})

	reply, err := c.Quote(t.Context(), QuoteOptions{Raw: true})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		HintBootID:           "boot\ufffd[2J\ufffdid\ufffd",
		HintLaunchStatus:     "launched",
		HintSimulated:        "false",
		HintAgentVersion:     "v0.1.0",
		HintLog + "txt":      "available, 5 bytes that were not sent",
		HintLog + "firmware": "absent: none\ufffdhere",
	}
	if diff := cmp.Diff(want, reply.Evidence.Hints); diff != "" {
		t.Errorf("hints (-want +got):\n%s", diff)
	}
}

func TestAnAnswerWithNothingInItIsTakenApart(t *testing.T) {
	t.Parallel()

	c := dialNode(t, &hostileNode{quote: func(*agentv1.QuoteRequest) (*agentv1.QuoteResponse, error) {
		return &agentv1.QuoteResponse{PcrBanks: []*agentv1.PcrBank{{HashAlgo: 11}}}, nil
	}})

	if _, err := c.Quote(t.Context(), QuoteOptions{Raw: true}); err != nil {
		t.Errorf("an empty answer is the verifier's to refuse, got %v", err)
	}
}
