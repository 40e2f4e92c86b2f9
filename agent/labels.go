package agent

import (
	"errors"
	"slices"
	"strings"

	"github.com/google/go-tpm/tpm2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/trustpool/trustpool/agent/internal/tpm"
	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
)

// Label values of the metrics. Each label has a closed set of them.
const (
	resultOK, resultRefused, resultFailed = "ok", "refused", "failed"
	reasonNone                            = "none"
	reasonCanceled, reasonLate            = "canceled", "deadline_exceeded"
	stageQueue, stageTPM, stageTotal      = "queue", "tpm", "total"
	codeOther, codeUnreachable            = "other", "unreachable"
)

// resultOf returns in one word what became of a call: ok, or the reason why not.
func resultOf(err error) string {
	if err == nil {
		return resultOK
	}

	if r, ok := err.(*refusal); ok { //nolint:errorlint // edgeError returns it unwrapped
		return strings.ToLower(reasonName(r.reason))
	}

	switch code := status.Code(err); code {
	case codes.Canceled:
		return reasonCanceled
	case codes.DeadlineExceeded:
		return reasonLate
	default:
		return strings.ToLower(code.String())
	}
}

// quoteReasons are those that a call of Quote can end with.
func quoteReasons() []string {
	reasons := []string{reasonNone, reasonCanceled, reasonLate}

	for number := range agentv1.ErrorReason_name {
		reason := agentv1.ErrorReason(number)
		if reason != agentv1.ErrorReason_ERROR_REASON_UNSPECIFIED && !isOfOthers(reason) {
			reasons = append(reasons, strings.ToLower(reasonName(reason)))
		}
	}

	slices.Sort(reasons)

	return reasons
}

// isOfOthers tells reasons that no call of Quote ends with once it was let in.
func isOfOthers(reason agentv1.ErrorReason) bool {
	switch reason {
	case agentv1.ErrorReason_ERROR_REASON_RATE_LIMITED, agentv1.ErrorReason_ERROR_REASON_TOO_MANY_CALLS,
		agentv1.ErrorReason_ERROR_REASON_LOG_UNAVAILABLE, agentv1.ErrorReason_ERROR_REASON_LOG_OFFSET_INVALID, agentv1.ErrorReason_ERROR_REASON_LOG_CHANGED,
		agentv1.ErrorReason_ERROR_REASON_EK_UNKNOWN, agentv1.ErrorReason_ERROR_REASON_CREDENTIAL_INVALID, agentv1.ErrorReason_ERROR_REASON_CERTIFICATE_INVALID,
		agentv1.ErrorReason_ERROR_REASON_TLS_KEY_UNAVAILABLE, agentv1.ErrorReason_ERROR_REASON_SAN_INVALID,
		agentv1.ErrorReason_ERROR_REASON_RECORD_UNWRITABLE, agentv1.ErrorReason_ERROR_REASON_NOT_SUPPORTED:
		return true
	default:
		return false
	}
}

// resultFor says whose doing a reason is: the caller's, who asked for what can't be, or the node's.
func resultFor(reason string) string {
	switch reason {
	case reasonNone:
		return resultOK
	case reasonCanceled, reasonLate:
		return resultFailed
	}

	number, known := agentv1.ErrorReason_value["ERROR_REASON_"+strings.ToUpper(reason)]
	if !known {
		return resultFailed
	}

	switch answerTo(agentv1.ErrorReason(number)).code {
	case codes.InvalidArgument, codes.PermissionDenied, codes.NotFound, codes.OutOfRange:
		return resultRefused
	}

	switch agentv1.ErrorReason(number) {
	case agentv1.ErrorReason_ERROR_REASON_BANK_INACTIVE, agentv1.ErrorReason_ERROR_REASON_BINDING_UNAVAILABLE, agentv1.ErrorReason_ERROR_REASON_AK_HASH_MISMATCH:
		return resultRefused
	default:
		return resultFailed
	}
}

// denialReasons are why connections and calls are not let in.
func denialReasons() []string {
	return []string{
		"certificate", "connections", "connections_arriving", "connections_per_address", "handshake", "no_longer", "no_rule", "rate_limited", "role_missing",
		"too_many_calls",
	}
}

// akStates are the names of AkState.
func akStates() []string {
	var names []string

	for number := range agentv1.AkState_name {
		if state := agentv1.AkState(number); state != agentv1.AkState_AK_STATE_UNSPECIFIED {
			names = append(names, akStateName(state))
		}
	}

	return names
}

func akStateName(state agentv1.AkState) string {
	return strings.ToLower(strings.TrimPrefix(state.String(), "AK_STATE_"))
}

// launchStates are the names of LaunchStatus.
func launchStates() []string {
	var names []string
	for number := range agentv1.LaunchStatus_name {
		names = append(names, launchName(agentv1.LaunchStatus(number)))
	}

	return names
}

func launchName(status agentv1.LaunchStatus) string {
	if status == agentv1.LaunchStatus_LAUNCH_STATUS_UNSPECIFIED {
		return "unknown"
	}

	return strings.ToLower(strings.TrimPrefix(status.String(), "LAUNCH_STATUS_"))
}

// akEvents are the names of what can befall the AK.
func akEvents() []string {
	var names []string
	for _, event := range []tpm.Event{tpm.EventCleared, tpm.EventReplaced, tpm.EventRotation, tpm.EventCertificate} {
		names = append(names, eventName(event))
	}

	return names
}

func eventName(event tpm.Event) string {
	return strings.ToLower(strings.TrimPrefix(statusEvent(event).String(), "STATUS_EVENT_"))
}

// tpmCodes are the response codes that are counted by name (TPM 2.0 Part 2, 6.6.3): those that the agent's commands meet, and those of a TPM in trouble.
func tpmCodes() []tpm2.TPMRC {
	return []tpm2.TPMRC{
		tpm2.TPMRCAttributes, tpm2.TPMRCAuthFail, tpm2.TPMRCAuthUnavailable, tpm2.TPMRCBadAuth, tpm2.TPMRCCanceled, tpm2.TPMRCCommandCode, tpm2.TPMRCFailure,
		tpm2.TPMRCHandle, tpm2.TPMRCHierarchy, tpm2.TPMRCInitialize, tpm2.TPMRCIntegrity, tpm2.TPMRCLockout, tpm2.TPMRCMemory, tpm2.TPMRCNVDefined,
		tpm2.TPMRCNVLocked, tpm2.TPMRCNVSpace, tpm2.TPMRCNVUnavailable, tpm2.TPMRCNVUninitialized, tpm2.TPMRCObjectHandles, tpm2.TPMRCObjectMemory,
		tpm2.TPMRCReferenceH0, tpm2.TPMRCScheme, tpm2.TPMRCSessionHandles, tpm2.TPMRCSessionMemory, tpm2.TPMRCSize, tpm2.TPMRCValue,
	}
}

// retriedCodes are those after which a command is repeated.
func retriedCodes() []tpm2.TPMRC {
	return []tpm2.TPMRC{tpm2.TPMRCNVRate, tpm2.TPMRCRetry, tpm2.TPMRCTesting, tpm2.TPMRCYielded}
}

// codeLabel names why a command was not carried out.
func codeLabel(err error) string {
	var code tpm2.TPMRC
	if !errors.As(err, &code) {
		return codeUnreachable
	}

	for _, known := range tpmCodes() {
		if errors.Is(code, known) { // whatever parameter, handle or session it is about
			return codeName(known)
		}
	}

	return codeOther
}

// codeName returns a known code as "handle" of TPM_RC_HANDLE.
func codeName(code tpm2.TPMRC) string {
	name, _, _ := strings.Cut(code.Error(), ":")
	name, _, _ = strings.Cut(name, " ")

	return strings.ToLower(strings.TrimPrefix(name, "TPM_RC_"))
}
