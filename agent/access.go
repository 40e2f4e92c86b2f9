package agent

import (
	"context"
	"crypto/x509"
	"net/url"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
)

// Role is what a caller may do.
type Role string

// The roles.
const (
	RoleQuote   Role = "quote"   // ask for quotes, logs and capabilities
	RoleRaw     Role = "raw"     // have the bare nonce signed
	RoleEnroll  Role = "enroll"  // read the identity and activate credentials
	RoleAdmin   Role = "admin"   // install certificates, rotate and replace the AK
	RoleObserve Role = "observe" // watch the status
)

// Roles returns all of them.
func Roles() []Role {
	return []Role{RoleQuote, RoleRaw, RoleEnroll, RoleAdmin, RoleObserve}
}

// Caller is who makes a call.
type Caller struct {
	// Identity is the name that a rule matched, as dns:NAME or uri:URI; unix:uid=N,gid=N for local callers; for a caller without rule the first name of its
	// certificate.
	Identity string
	// Address is where the call came from.
	Address string

	roles []Role
}

// Has says whether the caller has the role.
func (c Caller) Has(role Role) bool {
	return slices.Contains(c.roles, role)
}

// identify finds out who calls.
func identify(ctx context.Context, rules []ClientRule) Caller {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return Caller{}
	}

	if local, ok := p.AuthInfo.(peerCredentials); ok {
		return Caller{Identity: local.identity(), Address: "unix", roles: local.roles()}
	}

	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok {
		return Caller{Address: p.Addr.String()}
	}

	caller := Caller{Address: p.Addr.String()}
	if len(info.State.VerifiedChains) == 0 {
		return caller
	}

	return rolesOf(info.State.PeerCertificates[0], rules, caller)
}

// rolesOf gives the caller the roles of all rules that match a name of its certificate.
func rolesOf(certificate *x509.Certificate, rules []ClientRule, caller Caller) Caller {
	names := namesOf(certificate)
	if len(names) > 0 {
		caller.Identity = names[0]
	}

	for _, rule := range rules {
		for _, name := range names {
			if !slices.Contains(rule.SAN, name) {
				continue
			}

			if len(caller.roles) == 0 {
				caller.Identity = name
			}

			caller.roles = append(caller.roles, rule.Roles...)

			break
		}
	}

	return caller
}

// namesOf returns the names of a certificate as rules write them.
func namesOf(certificate *x509.Certificate) []string {
	var names []string
	for _, name := range certificate.DNSNames {
		names = append(names, "dns:"+strings.ToLower(name))
	}

	for _, uri := range certificate.URIs {
		names = append(names, "uri:"+(*url.URL).String(uri))
	}

	return names
}

type callerKey struct{}

// callerOf returns who makes this call, as authorize found out.
func callerOf(ctx context.Context) Caller {
	caller, _ := ctx.Value(callerKey{}).(Caller)

	return caller
}

// needed returns the role that a method needs. A method that is not listed can't be called.
func needed(method string) (Role, bool) {
	switch method {
	case agentv1.QuoteService_Quote_FullMethodName, agentv1.QuoteService_GetEventLog_FullMethodName,
		agentv1.QuoteService_GetCapabilities_FullMethodName:
		return RoleQuote, true
	case agentv1.QuoteService_WatchStatus_FullMethodName:
		return RoleObserve, true
	case agentv1.EnrollmentService_GetIdentity_FullMethodName, agentv1.EnrollmentService_ActivateCredential_FullMethodName:
		return RoleEnroll, true
	case agentv1.EnrollmentService_InstallCertificate_FullMethodName, agentv1.EnrollmentService_RotateAK_FullMethodName,
		agentv1.EnrollmentService_CommitAK_FullMethodName, agentv1.EnrollmentService_Reprovision_FullMethodName:
		return RoleAdmin, true
	default:
		return "", false
	}
}

// authorize says who calls, or refuses the caller that has not the role that the method needs. Health checks need no more than a certificate.
func authorize(ctx context.Context, method string, rules []ClientRule) (context.Context, error) {
	caller := identify(ctx, rules)

	if !strings.HasPrefix(method, "/grpc.health.v1.Health/") {
		role, known := needed(method)
		if !known || !caller.Has(role) {
			return nil, refuse(agentv1.ErrorReason_ERROR_REASON_ROLE_MISSING)
		}
	}

	return context.WithValue(ctx, callerKey{}, caller), nil
}

// authorizeUnary guards calls with one reply.
func authorizeUnary(rules []ClientRule) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		ctx, err := authorize(ctx, info.FullMethod, rules)
		if err != nil {
			return nil, err
		}

		return handler(ctx, request)
	}
}

// authorizeStream guards calls with many replies. They end when the agent does: those who watch would otherwise hold it up for as long as they like.
func authorizeStream(rules []ClientRule, stopping <-chan struct{}) grpc.StreamServerInterceptor {
	return func(service any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		ctx, err := authorize(stream.Context(), info.FullMethod, rules)
		if err != nil {
			return err
		}

		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)

		done := make(chan error, 1)
		go func() { done <- handler(service, boundStream{stream, ctx}) }()

		select {
		case err = <-done:
			return err
		case <-stopping:
			end := refuse(agentv1.ErrorReason_ERROR_REASON_SHUTTING_DOWN)
			cancel(end)
			_ = <-done // whatever it says, it says it because of us

			return end
		}
	}
}

// boundStream is a stream with a context of our own.
type boundStream struct {
	grpc.ServerStream

	ctx context.Context //nolint:containedctx // grpc.ServerStream's own shape
}

// Context implements grpc.ServerStream.
func (s boundStream) Context() context.Context { return s.ctx }
