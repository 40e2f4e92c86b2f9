package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/trustpool/trustpool/agent/internal/tpm"
	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
)

// ErrorDomain is the domain of ErrorInfo in all refusals.
const ErrorDomain = "trustpool"

// refusal is an error as a caller gets it. What the agent's own operator should know besides goes to the log, never into it.
type refusal struct {
	reason   agentv1.ErrorReason
	metadata map[string]string
	retry    time.Duration // when to come again; zero: as the table says
	cause    error         // for the log only
}

// refuse returns the refusal for a reason, with metadata as pairs of key and value.
func refuse(reason agentv1.ErrorReason, metadata ...string) error {
	r := &refusal{reason: reason}

	for i := 0; i+1 < len(metadata); i += 2 {
		if r.metadata == nil {
			r.metadata = make(map[string]string)
		}

		r.metadata[metadata[i]] = metadata[i+1]
	}

	return r
}

// Error implements error. It is what the log gets; what the caller gets is in GRPCStatus.
func (r *refusal) Error() string {
	text := fmt.Sprintf("%s: %s", reasonName(r.reason), answerTo(r.reason).message)
	if r.cause != nil {
		text += ": " + r.cause.Error()
	}

	return text
}

// GRPCStatus makes gRPC send the refusal with its details.
func (r *refusal) GRPCStatus() *status.Status {
	a := answerTo(r.reason)
	details := []protoadapt.MessageV1{&errdetails.ErrorInfo{Domain: ErrorDomain, Reason: reasonName(r.reason), Metadata: r.metadata}}

	if retry := cmp.Or(r.retry, a.retry); retry > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(retry)})
	}

	plain := status.New(a.code, a.message)

	detailed, err := plain.WithDetails(details...)
	if err != nil {
		return plain
	}

	return detailed
}

// reasonName returns the reason as it stands in ErrorInfo.
func reasonName(reason agentv1.ErrorReason) string {
	return strings.TrimPrefix(reason.String(), "ERROR_REASON_")
}

// reasonOf finds the reason for an error of the TPM's owner.
func reasonOf(err error) agentv1.ErrorReason {
	for _, known := range []struct {
		err    error
		reason agentv1.ErrorReason
	}{
		{tpm.ErrQueueFull, agentv1.ErrorReason_ERROR_REASON_QUEUE_FULL},
		{tpm.ErrTooLate, agentv1.ErrorReason_ERROR_REASON_DEADLINE_TOO_SHORT},
		{tpm.ErrReplaced, agentv1.ErrorReason_ERROR_REASON_AK_INVALIDATED},
		{tpm.ErrForeignKey, agentv1.ErrorReason_ERROR_REASON_AK_INVALIDATED},
		{tpm.ErrAuthRequired, agentv1.ErrorReason_ERROR_REASON_AUTH_REQUIRED},
		{tpm.ErrRecord, agentv1.ErrorReason_ERROR_REASON_RECORD_UNREADABLE},
		{tpm.ErrUnrecorded, agentv1.ErrorReason_ERROR_REASON_RECORD_UNWRITABLE},
		{tpm.ErrUnknownAK, agentv1.ErrorReason_ERROR_REASON_AK_UNKNOWN},
		{tpm.ErrUnknownEK, agentv1.ErrorReason_ERROR_REASON_EK_UNKNOWN},
		{tpm.ErrTLSKey, agentv1.ErrorReason_ERROR_REASON_TLS_KEY_UNAVAILABLE},
		{tpm.ErrCredential, agentv1.ErrorReason_ERROR_REASON_CREDENTIAL_INVALID},
		{tpm.ErrCertificate, agentv1.ErrorReason_ERROR_REASON_CERTIFICATE_INVALID},
		{tpm.ErrHandleTaken, agentv1.ErrorReason_ERROR_REASON_HANDLE_TAKEN},
		{tpm.ErrHierarchyDisabled, agentv1.ErrorReason_ERROR_REASON_HIERARCHY_DISABLED},
		{tpm.ErrBankInactive, agentv1.ErrorReason_ERROR_REASON_BANK_INACTIVE},
		{tpm.ErrNonceTooLong, agentv1.ErrorReason_ERROR_REASON_NONCE_TOO_LONG},
		{tpm.ErrPCRRace, agentv1.ErrorReason_ERROR_REASON_PCR_RACE},
		{tpm.ErrBusy, agentv1.ErrorReason_ERROR_REASON_TPM_BUSY},
		{tpm.ErrAbsent, agentv1.ErrorReason_ERROR_REASON_TPM_ABSENT},
	} {
		if errors.Is(err, known.err) {
			return known.reason
		}
	}

	return agentv1.ErrorReason_ERROR_REASON_TPM_FAILED
}

// edgeError turns an error into what a caller may see.
func edgeError(err error) error {
	var r *refusal

	switch {
	case errors.As(err, &r):
		return r
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return status.FromContextError(err).Err()
	default:
		return &refusal{reason: reasonOf(err), retry: retryAfter(err), cause: err}
	}
}

// retryAfter returns when a call that was not let wait makes sense again; 0 if that is not known.
func retryAfter(err error) time.Duration {
	var queue *tpm.QueueError
	if !errors.As(err, &queue) || queue.Retry <= 0 {
		return 0
	}

	return queue.Retry.Truncate(time.Millisecond) + time.Millisecond
}
