package client

import (
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
)

const (
	// errorDomain is ErrorInfo.domain of every refusal that comes from an agent.
	errorDomain = "trustpool"
	// reasonPrefix is what ErrorReason's names have in front of the reason that travels.
	reasonPrefix = "ERROR_REASON_"
	// maxMessageText bounds the text of a refusal.
	maxMessageText = 2048
	// maxDetails and maxDetailText bound the details of a refusal, and the text of each.
	maxDetails    = 16
	maxDetailText = 512
	// maxRetryDelay bounds what a node may make a caller wait.
	maxRetryDelay = time.Hour
)

// ErrMalformed is in the chain of errors about an answer that no honest agent gives: a field beyond its bound, or bytes that do not have their
// digest. The node answered, and what it answered is no evidence.
var ErrMalformed = errors.New("malformed answer")

// Reason returns why the agent refused a call, ERROR_REASON_UNSPECIFIED if err is nil, is not a refusal, or has a reason that this version does not know.
// The gRPC code is there for status.Code.
func Reason(err error) agentv1.ErrorReason {
	if call, ok := errors.AsType[*callError](err); ok {
		return call.reason
	}
	return agentv1.ErrorReason_ERROR_REASON_UNSPECIFIED
}

// Details returns what the agent says of its Reason, such as max_nonce_size or active_banks (see ErrorReason); nil if it says nothing. The values are the node's words,
// freed of control characters and bounded.
func Details(err error) map[string]string {
	if call, ok := errors.AsType[*callError](err); ok {
		return maps.Clone(call.details)
	}
	return nil
}

// RetryDelay returns how long the agent asks to wait before the call is tried again, at most an hour; false if it does not say that waiting helps.
func RetryDelay(err error) (time.Duration, bool) {
	call, ok := errors.AsType[*callError](err)
	if !ok || call.retry <= 0 {
		return 0, false
	}
	return min(call.retry, maxRetryDelay), true
}

// callError is a gRPC status that reads as a sentence.
type callError struct {
	status  *status.Status
	reason  agentv1.ErrorReason
	details map[string]string
	retry   time.Duration
}

// newCallError takes the error of a gRPC call. Its details are the peer's words: only the first of a kind counts, and only those of an agent.
func newCallError(err error) error {
	st := status.Convert(err)
	call := &callError{status: st}

	for _, detail := range st.Details() {
		switch d := detail.(type) {
		case *errdetails.ErrorInfo:
			if d.GetDomain() == errorDomain && call.reason == 0 {
				call.reason = agentv1.ErrorReason(agentv1.ErrorReason_value[reasonPrefix+d.GetReason()])
				call.details = boundDetails(d.GetMetadata())
			}
		case *errdetails.RetryInfo:
			if call.retry == 0 {
				call.retry = d.GetRetryDelay().AsDuration()
			}
		}
	}
	return call
}

// boundDetails keeps what is short enough to be shown.
func boundDetails(metadata map[string]string) map[string]string {
	var details map[string]string
	if len(metadata) <= maxDetails {
		for name, value := range metadata {
			if len(name) > maxDetailText || len(value) > maxDetailText {
				continue
			}
			if details == nil {
				details = make(map[string]string)
			}
			details[printable(name)] = printable(value)
		}
	}
	return details
}

// Error gives the message of the agent, or of gRPC where no agent was reached, with its code.
func (e *callError) Error() string {
	message := printable(withoutWrapping(e.status.Message()))
	if len(message) > maxMessageText {
		message = strings.ToValidUTF8(message[:maxMessageText], "") + "..."
	}
	if message == "" {
		return e.status.Code().String()
	}
	if e.status.Code() == codes.Unknown {
		return message
	}
	return fmt.Sprintf("%s (%s)", message, e.status.Code())
}

// GRPCStatus lets status.Code and status.FromError see the status.
func (e *callError) GRPCStatus() *status.Status {
	return e.status
}

// withoutWrapping takes off what gRPC puts around the reason why there is no connection.
func withoutWrapping(message string) string {
	quoted, wrapped := strings.CutPrefix(message, "connection error: desc = ")
	if inner, err := strconv.Unquote(quoted); wrapped && err == nil {
		return inner
	}
	return message
}
