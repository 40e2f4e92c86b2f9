package agent

import (
	"time"

	"google.golang.org/grpc/codes"

	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
)

// answer is how a reason is told.
type answer struct {
	code    codes.Code
	message string
	retry   time.Duration // when the caller may come again; zero: that is no help
}

// answerTo is the one table of what callers are told. What is not in it, the TPM is said to have refused.
func answerTo(reason agentv1.ErrorReason) answer {
	answers := [...]answer{
		agentv1.ErrorReason_ERROR_REASON_NONCE_TOO_SHORT:        {codes.InvalidArgument, "the nonce is too short: send at least 16 fresh random bytes", 0},
		agentv1.ErrorReason_ERROR_REASON_NONCE_TOO_LONG:         {codes.InvalidArgument, "the nonce is too long for this TPM: send at most max_nonce_size bytes (see GetCapabilities)", 0},
		agentv1.ErrorReason_ERROR_REASON_NONCE_RESERVED:         {codes.InvalidArgument, "34-byte nonces that begin with 7B 01, 7B 02 or 7B 03 are reserved: send other random bytes, 32 are enough", 0},
		agentv1.ErrorReason_ERROR_REASON_BIND_MODE_UNSPECIFIED:  {codes.InvalidArgument, "bind_mode is not set: choose one of bind_modes (see GetCapabilities)", 0},
		agentv1.ErrorReason_ERROR_REASON_BIND_MODE_UNKNOWN:      {codes.InvalidArgument, "bind_mode is not known to this agent: choose one of bind_modes (see GetCapabilities)", 0},
		agentv1.ErrorReason_ERROR_REASON_SELECTION_EMPTY:        {codes.InvalidArgument, "a PCR selection names no PCR: name at least one, or send no selection at all for sha256:17,18,19", 0},
		agentv1.ErrorReason_ERROR_REASON_PCR_OUT_OF_RANGE:       {codes.InvalidArgument, "a PCR index is out of range: PCRs are 0 to 23", 0},
		agentv1.ErrorReason_ERROR_REASON_SELECTION_REPEATED:     {codes.InvalidArgument, "a bank or a PCR is selected twice: send one selection a bank and each PCR once", 0},
		agentv1.ErrorReason_ERROR_REASON_BANK_UNKNOWN:           {codes.InvalidArgument, "hash_algo is not known: choose one of pcr_banks (see GetCapabilities)", 0},
		agentv1.ErrorReason_ERROR_REASON_BANK_INACTIVE:          {codes.FailedPrecondition, "this bank is not active in the node's TPM: choose one of pcr_banks (see GetCapabilities), or activate it in the firmware setup", 0},
		agentv1.ErrorReason_ERROR_REASON_LOG_SOURCE_UNKNOWN:     {codes.InvalidArgument, "a log source is not known: choose from log_sources (see GetCapabilities)", 0},
		agentv1.ErrorReason_ERROR_REASON_LOG_REQUEST_INVALID:    {codes.InvalidArgument, "a log request is wrong: name each source once, known_digest is empty or a SHA-256 of 32 bytes", 0},
		agentv1.ErrorReason_ERROR_REASON_ROLE_MISSING:           {codes.PermissionDenied, "this identity may not do that: ask the node's operator for a rule under clients", 0},
		agentv1.ErrorReason_ERROR_REASON_RATE_LIMITED:           {codes.ResourceExhausted, "this identity makes more calls than its rule allows: try again when RetryInfo says, or ask the node's operator for a higher rate", time.Second},
		agentv1.ErrorReason_ERROR_REASON_TOO_MANY_CALLS:         {codes.ResourceExhausted, "this identity has as many calls under way as its rule allows: wait for one to end", time.Second},
		agentv1.ErrorReason_ERROR_REASON_QUEUE_FULL:             {codes.ResourceExhausted, "too many callers wait for the TPM: try again later", time.Second},
		agentv1.ErrorReason_ERROR_REASON_DEADLINE_TOO_SHORT:     {codes.ResourceExhausted, "so many wait for the TPM that the call's deadline can't be met: try again when RetryInfo says, or with a longer deadline", time.Second},
		agentv1.ErrorReason_ERROR_REASON_TPM_BUSY:               {codes.Unavailable, "the TPM is busy with something else: try again later", time.Second},
		agentv1.ErrorReason_ERROR_REASON_TPM_ABSENT:             {codes.Unavailable, "the agent can't reach the TPM and keeps trying: try again later, or look at the agent's log on the node", 5 * time.Second},
		agentv1.ErrorReason_ERROR_REASON_PCR_RACE:               {codes.Aborted, "the PCRs changed while they were quoted: try again", 100 * time.Millisecond},
		agentv1.ErrorReason_ERROR_REASON_HANDLE_TAKEN:           {codes.FailedPrecondition, "another object sits at the AK's handle: the node's operator has to choose another tpm.ak.handle", 0},
		agentv1.ErrorReason_ERROR_REASON_HIERARCHY_DISABLED:     {codes.FailedPrecondition, "the TPM's endorsement hierarchy is switched off: enable it in the node's firmware setup", 0},
		agentv1.ErrorReason_ERROR_REASON_AK_INVALIDATED:         {codes.FailedPrecondition, "the node's TPM does not have the AK that it had: its operator has to look why, and run trustpool-agent identity reprovision if that is right", 0},
		agentv1.ErrorReason_ERROR_REASON_AUTH_REQUIRED:          {codes.FailedPrecondition, "the TPM's endorsement hierarchy has an authorisation value: the node's operator has to set tpm.endorsement_auth_file", 0},
		agentv1.ErrorReason_ERROR_REASON_RECORD_UNREADABLE:      {codes.FailedPrecondition, "the agent's record of its AK can't be read: the node's operator has to restore it, or run trustpool-agent identity reprovision", 0},
		agentv1.ErrorReason_ERROR_REASON_RECORD_UNWRITABLE:      {codes.FailedPrecondition, "the agent can't write its record of its AK: the node's operator has to make room in state_dir, or let the agent's user write there", 0},
		agentv1.ErrorReason_ERROR_REASON_AK_UNKNOWN:             {codes.NotFound, "no AK of this node has this Name: ask GetIdentity which there are", 0},
		agentv1.ErrorReason_ERROR_REASON_EK_UNKNOWN:             {codes.NotFound, "no EK of this node has this public area: ask GetIdentity which there are", 0},
		agentv1.ErrorReason_ERROR_REASON_CREDENTIAL_INVALID:     {codes.InvalidArgument, "the TPM does not open this credential: make it anew for an EK and an AK of this node", 0},
		agentv1.ErrorReason_ERROR_REASON_CERTIFICATE_INVALID:    {codes.InvalidArgument, "this is not one valid X.509 certificate (DER) for the key of an AK of this node", 0},
		agentv1.ErrorReason_ERROR_REASON_LOG_UNAVAILABLE:        {codes.NotFound, "no log has this digest: ask for a quote again to learn which there are", 0},
		agentv1.ErrorReason_ERROR_REASON_LOG_OFFSET_INVALID:     {codes.OutOfRange, "the offset is above the log's size", 0},
		agentv1.ErrorReason_ERROR_REASON_LOG_CHANGED:            {codes.Aborted, "the log changed while it was read: ask for a quote again", time.Second},
		agentv1.ErrorReason_ERROR_REASON_BINDING_UNAVAILABLE:    {codes.FailedPrecondition, "there is no TLS 1.3 connection to bind to: call over mutual TLS, or ask for BIND_MODE_RAW", 0},
		agentv1.ErrorReason_ERROR_REASON_TLS_KEY_UNAVAILABLE:    {codes.FailedPrecondition, "the node has no usable TLS key in its TPM: its operator has to set tls.key to tpm, or finds in the agent's log what is wrong with the key", 0},
		agentv1.ErrorReason_ERROR_REASON_SAN_INVALID:            {codes.InvalidArgument, "a subject alternative name can't be in a certificate: write at most 16 as dns:NAME, ip:ADDRESS or uri:URI", 0},
		agentv1.ErrorReason_ERROR_REASON_SHUTTING_DOWN:          {codes.Unavailable, "the agent is shutting down: try again later", 5 * time.Second},
		agentv1.ErrorReason_ERROR_REASON_AGENT_FAILED:           {codes.Internal, "the agent failed at this call by a mistake of its own: the node's operator finds it in the agent's log, please report it", 0},
		agentv1.ErrorReason_ERROR_REASON_AK_HASH_MISMATCH:       {codes.FailedPrecondition, "the AK signs with another hash than hash_algo: ask for the one in ak_hash, or have the node's operator choose another tpm.ak.algorithm and rotate", 0},
		agentv1.ErrorReason_ERROR_REASON_AK_CERTIFICATE_MISSING: {codes.FailedPrecondition, "no certificate is installed for the AK: enrol the node first, with RotateOIakCert or trustpoolctl", 0},
		agentv1.ErrorReason_ERROR_REASON_CONTROL_CARD_UNKNOWN:   {codes.NotFound, "this node is one control card, the active one: select it by that role, by its serial number, or not at all", 0},
		agentv1.ErrorReason_ERROR_REASON_NOT_SUPPORTED:          {codes.Unimplemented, "this node can't do that, for what it has not", 0},
		agentv1.ErrorReason_ERROR_REASON_TPM_FAILED:             {codes.Internal, "the TPM refused the command: the node's operator finds the reason in the agent's log", 0},
	}

	if i := int(reason); i >= 0 && i < len(answers) && answers[i].message != "" {
		return answers[i]
	}

	return answers[agentv1.ErrorReason_ERROR_REASON_TPM_FAILED]
}
