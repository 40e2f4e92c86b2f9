package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
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

// answer is how a reason is told.
type answer struct {
	code    codes.Code
	message string
	retry   time.Duration
}

// answerTo is the one table of what callers are told.
func answerTo(reason agentv1.ErrorReason) answer {
	switch reason {
	case agentv1.ErrorReason_ERROR_REASON_NONCE_TOO_SHORT:
		return answer{codes.InvalidArgument, "the nonce is too short: send at least 16 fresh random bytes", 0}
	case agentv1.ErrorReason_ERROR_REASON_NONCE_TOO_LONG:
		return answer{codes.InvalidArgument, "the nonce is too long for this TPM: send at most max_nonce_size bytes (see GetCapabilities)", 0}
	case agentv1.ErrorReason_ERROR_REASON_NONCE_RESERVED:
		return answer{codes.InvalidArgument, "34-byte nonces that begin with 7B 01, 7B 02 or 7B 03 are reserved: send other random bytes, 32 are enough", 0}
	case agentv1.ErrorReason_ERROR_REASON_BIND_MODE_UNSPECIFIED:
		return answer{codes.InvalidArgument, "bind_mode is not set: choose one of bind_modes (see GetCapabilities)", 0}
	case agentv1.ErrorReason_ERROR_REASON_BIND_MODE_UNKNOWN:
		return answer{codes.InvalidArgument, "bind_mode is not known to this agent: choose one of bind_modes (see GetCapabilities)", 0}
	case agentv1.ErrorReason_ERROR_REASON_SELECTION_EMPTY:
		return answer{codes.InvalidArgument, "a PCR selection names no PCR: name at least one, or send no selection at all for sha256:17,18,19", 0}
	case agentv1.ErrorReason_ERROR_REASON_PCR_OUT_OF_RANGE:
		return answer{codes.InvalidArgument, "a PCR index is out of range: PCRs are 0 to 23", 0}
	case agentv1.ErrorReason_ERROR_REASON_SELECTION_REPEATED:
		return answer{codes.InvalidArgument, "a bank or a PCR is selected twice: send one selection a bank and each PCR once", 0}
	case agentv1.ErrorReason_ERROR_REASON_BANK_UNKNOWN:
		return answer{codes.InvalidArgument, "hash_algo is not known: choose one of pcr_banks (see GetCapabilities)", 0}
	case agentv1.ErrorReason_ERROR_REASON_BANK_INACTIVE:
		return answer{codes.FailedPrecondition, "this bank is not active in the node's TPM: choose one of pcr_banks (see GetCapabilities), or activate it in the firmware setup", 0}
	case agentv1.ErrorReason_ERROR_REASON_LOG_SOURCE_UNKNOWN:
		return answer{codes.InvalidArgument, "a log source is not known: choose from log_sources (see GetCapabilities)", 0}
	case agentv1.ErrorReason_ERROR_REASON_LOG_REQUEST_INVALID:
		return answer{codes.InvalidArgument, "a log request is wrong: name each source once, known_digest is empty or a SHA-256 of 32 bytes", 0}
	case agentv1.ErrorReason_ERROR_REASON_ROLE_MISSING:
		return answer{codes.PermissionDenied, "this identity may not do that: ask the node's operator for a rule under clients", 0}
	case agentv1.ErrorReason_ERROR_REASON_RATE_LIMITED:
		return answer{codes.ResourceExhausted, "this identity makes more calls than its rule allows: try again when RetryInfo says, or ask the node's operator for a higher rate", time.Second}
	case agentv1.ErrorReason_ERROR_REASON_TOO_MANY_CALLS:
		return answer{codes.ResourceExhausted, "this identity has as many calls under way as its rule allows: wait for one to end", time.Second}
	case agentv1.ErrorReason_ERROR_REASON_QUEUE_FULL:
		return answer{codes.ResourceExhausted, "too many callers wait for the TPM: try again later", time.Second}
	case agentv1.ErrorReason_ERROR_REASON_DEADLINE_TOO_SHORT:
		return answer{codes.ResourceExhausted, "so many wait for the TPM that the call's deadline can't be met: try again when RetryInfo says, or with a longer deadline", time.Second}
	case agentv1.ErrorReason_ERROR_REASON_TPM_BUSY:
		return answer{codes.Unavailable, "the TPM is busy with something else: try again later", time.Second}
	case agentv1.ErrorReason_ERROR_REASON_TPM_ABSENT:
		return answer{codes.Unavailable, "the agent can't reach the TPM and keeps trying: try again later, or look at the agent's log on the node", 5 * time.Second}
	case agentv1.ErrorReason_ERROR_REASON_PCR_RACE:
		return answer{codes.Aborted, "the PCRs changed while they were quoted: try again", 100 * time.Millisecond}
	case agentv1.ErrorReason_ERROR_REASON_HANDLE_TAKEN:
		return answer{codes.FailedPrecondition, "another object sits at the AK's handle: the node's operator has to choose another tpm.ak.handle", 0}
	case agentv1.ErrorReason_ERROR_REASON_HIERARCHY_DISABLED:
		return answer{codes.FailedPrecondition, "the TPM's endorsement hierarchy is switched off: enable it in the node's firmware setup", 0}
	case agentv1.ErrorReason_ERROR_REASON_AK_INVALIDATED:
		return answer{codes.FailedPrecondition, "the node's TPM does not have the AK that it had: its operator has to look why, and run trustpool-agent identity reprovision if that is right", 0}
	case agentv1.ErrorReason_ERROR_REASON_AUTH_REQUIRED:
		return answer{codes.FailedPrecondition, "the TPM's endorsement hierarchy has an authorisation value: the node's operator has to set tpm.endorsement_auth_file", 0}
	case agentv1.ErrorReason_ERROR_REASON_RECORD_UNREADABLE:
		return answer{codes.FailedPrecondition, "the agent's record of its AK can't be read: the node's operator has to restore it, or run trustpool-agent identity reprovision", 0}
	case agentv1.ErrorReason_ERROR_REASON_RECORD_UNWRITABLE:
		return answer{codes.FailedPrecondition, "the agent can't write its record of its AK: the node's operator has to make room in state_dir, or let the agent's user write there", 0}
	case agentv1.ErrorReason_ERROR_REASON_AK_UNKNOWN:
		return answer{codes.NotFound, "no AK of this node has this Name: ask GetIdentity which there are", 0}
	case agentv1.ErrorReason_ERROR_REASON_EK_UNKNOWN:
		return answer{codes.NotFound, "no EK of this node has this public area: ask GetIdentity which there are", 0}
	case agentv1.ErrorReason_ERROR_REASON_CREDENTIAL_INVALID:
		return answer{codes.InvalidArgument, "the TPM does not open this credential: make it anew for an EK and an AK of this node", 0}
	case agentv1.ErrorReason_ERROR_REASON_CERTIFICATE_INVALID:
		return answer{codes.InvalidArgument, "this is not one valid X.509 certificate (DER) for the key of an AK of this node", 0}
	case agentv1.ErrorReason_ERROR_REASON_LOG_UNAVAILABLE:
		return answer{codes.NotFound, "no log has this digest: ask for a quote again to learn which there are", 0}
	case agentv1.ErrorReason_ERROR_REASON_LOG_OFFSET_INVALID:
		return answer{codes.OutOfRange, "the offset is above the log's size", 0}
	case agentv1.ErrorReason_ERROR_REASON_LOG_CHANGED:
		return answer{codes.Aborted, "the log changed while it was read: ask for a quote again", time.Second}
	case agentv1.ErrorReason_ERROR_REASON_BINDING_UNAVAILABLE:
		return answer{codes.FailedPrecondition, "there is no TLS 1.3 connection to bind to: call over mutual TLS, or ask for BIND_MODE_RAW", 0}
	case agentv1.ErrorReason_ERROR_REASON_TLS_KEY_UNAVAILABLE:
		return answer{codes.FailedPrecondition, "the node has no usable TLS key in its TPM: its operator has to set tls.key to tpm, or finds in the agent's log what is wrong with the key", 0}
	case agentv1.ErrorReason_ERROR_REASON_SAN_INVALID:
		return answer{codes.InvalidArgument, "a subject alternative name can't be in a certificate: write at most 16 as dns:NAME, ip:ADDRESS or uri:URI", 0}
	case agentv1.ErrorReason_ERROR_REASON_SHUTTING_DOWN:
		return answer{codes.Unavailable, "the agent is shutting down: try again later", 5 * time.Second}
	case agentv1.ErrorReason_ERROR_REASON_AGENT_FAILED:
		return answer{codes.Internal, "the agent failed at this call by a mistake of its own: the node's operator finds it in the agent's log, please report it", 0}
	default:
		return answer{codes.Internal, "the TPM refused the command: the node's operator finds the reason in the agent's log", 0}
	}
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
