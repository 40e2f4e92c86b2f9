package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
)

func refusal(t *testing.T, code codes.Code, message string, details ...protoadapt.MessageV1) error {
	t.Helper()

	st, err := status.New(code, message).WithDetails(details...)
	if err != nil {
		t.Fatal(err)
	}
	return st.Err()
}

func refusedQuote(t *testing.T, refusal error) error {
	t.Helper()

	c := dialNode(t, &hostileNode{quote: func(*agentv1.QuoteRequest) (*agentv1.QuoteResponse, error) { return nil, refusal }})
	_, err := c.Quote(t.Context(), QuoteOptions{Raw: true})
	if err == nil {
		t.Fatal("the refusal was lost")
	}
	return err
}

func TestARefusalCarriesItsReasonCodeAndWords(t *testing.T) {
	t.Parallel()

	err := refusedQuote(t, refusal(t, codes.ResourceExhausted, "32 calls are waiting already; try again later",
		&errdetails.ErrorInfo{Domain: "trustpool", Reason: "QUEUE_FULL"},
		&errdetails.RetryInfo{RetryDelay: durationpb.New(2 * time.Second)}))

	if got := Reason(fmt.Errorf("verifying: %w", err)); got != agentv1.ErrorReason_ERROR_REASON_QUEUE_FULL {
		t.Errorf("reason %v", got)
	}
	if got := status.Code(err); got != codes.ResourceExhausted {
		t.Errorf("code %v", got)
	}
	if delay, ok := RetryDelay(err); !ok || delay != 2*time.Second {
		t.Errorf("retry after %v, %v", delay, ok)
	}
	if want := "asking node for a quote: 32 calls are waiting already; try again later (ResourceExhausted)"; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
}

func TestReasonIsUnspecifiedFor(t *testing.T) {
	t.Parallel()

	for name, err := range map[string]error{
		"no error":                         nil,
		"another error":                    errors.New("disk full"),
		"a reason of a later version":      newCallError(refusal(t, codes.Internal, "x", &errdetails.ErrorInfo{Domain: "trustpool", Reason: "MOON_PHASE"})),
		"a reason of another domain":       newCallError(refusal(t, codes.Internal, "x", &errdetails.ErrorInfo{Domain: "example.com", Reason: "QUEUE_FULL"})),
		"the full name of an enum's value": newCallError(refusal(t, codes.Internal, "x", &errdetails.ErrorInfo{Domain: "trustpool", Reason: "ERROR_REASON_QUEUE_FULL"})),
		"a status without details":         newCallError(status.Error(codes.Unavailable, "connection refused")),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			if got := Reason(err); got != agentv1.ErrorReason_ERROR_REASON_UNSPECIFIED {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestRetryDelayIsBounded(t *testing.T) {
	t.Parallel()

	for name, test := range map[string]struct {
		asked time.Duration
		want  time.Duration
		ok    bool
	}{
		"a year":   {365 * 24 * time.Hour, time.Hour, true},
		"negative": {-time.Second, 0, false},
		"zero":     {0, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			err := newCallError(refusal(t, codes.Unavailable, "x", &errdetails.RetryInfo{RetryDelay: durationpb.New(test.asked)}))
			if got, ok := RetryDelay(err); got != test.want || ok != test.ok {
				t.Errorf("got %v, %v, want %v, %v", got, ok, test.want, test.ok)
			}
		})
	}
}

func TestARefusalsTextIsBoundedAndPrintable(t *testing.T) {
	t.Parallel()

	err := refusedQuote(t, status.Error(codes.Internal, "\x1b[2J"+strings.Repeat("ü", maxMessageText)))

	if text := err.Error(); len(text) > maxMessageText+100 || strings.ContainsRune(text, '\x1b') || !strings.HasSuffix(text, "... (Internal)") {
		t.Errorf("%d bytes: %.40q", len(text), text)
	}
}

func TestACallThatItsContextEndedSaysSo(t *testing.T) {
	t.Parallel()

	c := dialNode(t, &hostileNode{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()

	if _, err := c.Capabilities(ctx); status.Code(err) != codes.Canceled || errors.Is(err, ErrMalformed) {
		t.Errorf("got %v", err)
	}
}

func TestTheDetailsOfARefusalAreTheAgentsAndBounded(t *testing.T) {
	t.Parallel()

	details := func(domain string, metadata map[string]string) map[string]string {
		return Details(newCallError(refusal(t, codes.InvalidArgument, "x", &errdetails.ErrorInfo{Domain: domain, Reason: "BANK_INACTIVE", Metadata: metadata})))
	}
	if got := details("trustpool", map[string]string{"active_banks": "sha1\x1b[2J", "long": strings.Repeat("x", maxDetailText+1)}); len(got) != 1 ||
		!strings.HasPrefix(got["active_banks"], "sha1") || strings.Contains(got["active_banks"], "\x1b") {
		t.Errorf("got %q", got)
	}
	if got := details("example.com", map[string]string{"active_banks": "sha1"}); got != nil {
		t.Errorf("of another domain: %q", got)
	}
	many := make(map[string]string)
	for n := range maxDetails + 1 {
		many[fmt.Sprint(n)] = "x"
	}
	if got := details("trustpool", many); got != nil {
		t.Errorf("too many: %q", got)
	}
	if got := Details(errors.New("disk full")); got != nil {
		t.Errorf("of another error: %q", got)
	}
}
