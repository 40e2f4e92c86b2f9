package main

import (
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/trustpool/trustpool/cmd/internal/daemon"
	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
	"github.com/trustpool/trustpool/verifier/client"
)

// hintFor returns what to do about err, empty if its own words say so already, as those of an agent's refusal do.
func hintFor(err error) string {
	if hint := console.Hint(err); hint != "" {
		return hint
	}
	if _, ok := errors.AsType[daemon.UsageError](err); ok {
		return "See the command's --help."
	}
	switch details := client.Details(err); client.Reason(err) {
	case agentv1.ErrorReason_ERROR_REASON_UNSPECIFIED:
	case agentv1.ErrorReason_ERROR_REASON_BANK_INACTIVE:
		return detailHint(details, "active_banks", "The banks that are active there: %s. Choose them with --pcrs.")
	case agentv1.ErrorReason_ERROR_REASON_NONCE_TOO_LONG:
		return detailHint(details, "max_nonce_size", "A nonce may have at most %s bytes there.")
	case agentv1.ErrorReason_ERROR_REASON_CERTIFICATE_INVALID:
		return detailHint(details, "problem", "The agent says: %s.")
	case agentv1.ErrorReason_ERROR_REASON_BINDING_UNAVAILABLE:
		return "Ask by --address host:port, or say --raw if a quote that may have been relayed will do."
	default:
		return ""
	}
	return connectionHint(status.Code(err), err.Error())
}

// detailHint tells a detail of a refusal, if the agent gave it.
func detailHint(details map[string]string, name, format string) string {
	if details[name] == "" {
		return ""
	}
	return fmt.Sprintf(format, console.Printable(details[name]))
}

// connectionHint reads what gRPC says when no agent answered; it has no type for it.
func connectionHint(code codes.Code, message string) string {
	switch {
	case code == codes.DeadlineExceeded:
		return "The node did not answer in time. Give it longer with --timeout, or look at its trustpool-agent."
	case code == codes.Unimplemented:
		return "Something answers there, but not a trustpool-agent that knows this call. Check --address and the agent's version."
	case code != codes.Unavailable:
		return ""
	case strings.Contains(message, "has expired or is not yet valid"):
		return "The node's certificate, or that of a CA above it, has ended or has not begun; or a clock is wrong: compare the times here and on the node. What has ended has to be renewed."
	case strings.Contains(message, "failed to verify certificate"):
		return "The node's certificate is not what --ca and --server-name (by default the host in --address) ask for. --server-uri is for a node that has a SPIFFE ID in its place."
	case strings.Contains(message, "checking the node's certificate"):
		return "The node's certificate is not what --ca and --server-uri ask for: it has to be of one of these CAs, and for this URI alone."
	case strings.Contains(message, "remote error: tls: internal error"):
		return "The agent can't begin TLS, as when the Workload API gives it no certificate, or the one that it had has ended. Its log says why."
	case strings.Contains(message, "remote error: tls:"):
		return "The agent does not know this client certificate. Check --cert and --key, and tls.client_ca, tls.crl and clients in the agent's configuration."
	case strings.Contains(message, "broken pipe"), strings.Contains(message, "connection reset"), strings.Contains(message, "EOF"):
		// In TLS 1.3 the refusal of a client certificate comes after the handshake, and the hang-up may overtake it.
		return "The agent hung up, perhaps since it does not know this client certificate. Check --cert and --key, and tls.client_ca, tls.crl and clients in the agent's configuration."
	case strings.Contains(message, "no such file"), strings.Contains(message, "permission denied"):
		return "Check the path of the socket, and that you may open it."
	case strings.Contains(message, "connection refused"), strings.Contains(message, "no such host"):
		return "Nothing listens there. Check --address, and that trustpool-agent runs on the node."
	}
	return ""
}
