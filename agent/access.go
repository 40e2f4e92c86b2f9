package agent

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"

	apb "github.com/openconfig/attestz/proto/tpm_attestz"
	epb "github.com/openconfig/attestz/proto/tpm_enrollz"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"github.com/trustpool/trustpool/agent/attestz"
	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
)

// Role is what a caller may do.
type Role string

// The roles.
const (
	RoleQuote   Role = "quote"   // ask for quotes, logs and capabilities
	RoleRaw     Role = "raw"     // have the bare nonce signed
	RoleEnroll  Role = "enroll"  // read the identity and activate credentials
	RoleAdmin   Role = "admin"   // install and request certificates, rotate and replace the AK
	RoleObserve Role = "observe" // watch the status
	RoleAttestz Role = "attestz" // have the bare nonce signed through OpenConfig attestz
)

// Roles returns all of them.
func Roles() []Role {
	return []Role{RoleQuote, RoleRaw, RoleEnroll, RoleAdmin, RoleObserve, RoleAttestz}
}

// Caller is who makes a call.
type Caller struct {
	// Identity is the name that a rule matched, as dns:NAME, uri:URI or subject:NAME; unix:uid=N,gid=N for local callers; for a caller without rule the first name of
	// its certificate.
	Identity string
	// Address is where the call came from.
	Address string

	grants []grant
}

// Has says whether the caller has the role.
func (c Caller) Has(role Role) bool {
	return slices.ContainsFunc(c.grants, func(g grant) bool { return slices.Contains(g.roles, role) })
}

// mayQuote says whether the caller may have these PCRs quoted. A rule opens its PCRs only for the roles that it gives itself: two rules together never open
// more than each of them says.
func (c Caller) mayQuote(selections []*agentv1.PcrSelection, role Role) bool {
	if len(selections) == 0 {
		selections = []*agentv1.PcrSelection{{HashAlgo: agentv1.HashAlgo_HASH_ALGO_SHA256, PcrIndices: []int32{17, 18, 19}}}
	}

	var open pcrSet

	for _, g := range c.grants {
		if slices.Contains(g.roles, role) {
			open = open.with(g.pcrs)
		}
	}

	return open.cover(selections)
}

// limits are the most generous ones of all rules that match.
func (c Caller) limits() limits {
	var most limits
	for _, g := range c.grants {
		most = most.orMore(g.limits)
	}

	return most
}

// errNoRule says that no rule knows the caller.
var errNoRule = errors.New("no rule under clients has a name of this certificate")

// access decides who may come in and call what. The rules may be replaced while the agent runs, and what verifies certificates may change its mind as well: each
// call is decided anew.
type access struct {
	verify func(tls.ConnectionState) error
	rules  atomic.Pointer[rules]
}

// identify finds out who calls, and whether the certificate that got the caller in is still good.
func (a *access) identify(ctx context.Context) (Caller, error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return Caller{}, errors.New("no peer")
	}

	return a.callerAt(p.AuthInfo, p.Addr)
}

func (a *access) callerAt(info credentials.AuthInfo, address net.Addr) (Caller, error) {
	switch info := info.(type) {
	case peerCredentials:
		return a.rules.Load().local(info)
	case credentials.TLSInfo:
		caller, err := a.remote(info.State)
		caller.Address = address.String()

		return caller, err
	default:
		return Caller{Address: address.String()}, errors.New("neither TLS nor a unix socket")
	}
}

// remote finds out whose certificate a connection has.
func (a *access) remote(state tls.ConnectionState) (Caller, error) {
	if len(state.VerifiedChains) == 0 || len(state.PeerCertificates) == 0 {
		return Caller{}, errors.New("no verified client certificate")
	}

	caller := a.rules.Load().remote(state.PeerCertificates[0])

	if err := a.verify(state); err != nil {
		return caller, err
	}

	if len(caller.grants) == 0 {
		return caller, errNoRule
	}

	return caller, nil
}

// needed returns the role that a method needs; none for health checks and reflection. A method that is not listed can't be called.
func needed(method string) (role Role, known bool) {
	switch method {
	case agentv1.QuoteService_Quote_FullMethodName, agentv1.QuoteService_GetEventLog_FullMethodName,
		agentv1.QuoteService_GetCapabilities_FullMethodName:
		return RoleQuote, true
	case agentv1.QuoteService_WatchStatus_FullMethodName:
		return RoleObserve, true
	case agentv1.EnrollmentService_GetIdentity_FullMethodName, agentv1.EnrollmentService_ActivateCredential_FullMethodName:
		return RoleEnroll, true
	case agentv1.EnrollmentService_InstallCertificate_FullMethodName, agentv1.EnrollmentService_RotateAK_FullMethodName,
		agentv1.EnrollmentService_CommitAK_FullMethodName, agentv1.EnrollmentService_Reprovision_FullMethodName,
		agentv1.EnrollmentService_GetTLSCertificateRequest_FullMethodName:
		return RoleAdmin, true
	case apb.TpmAttestzService_Attest_FullMethodName, epb.TpmEnrollzService_GetControlCardVendorID_FullMethodName,
		epb.TpmEnrollzService_GetIakCert_FullMethodName, epb.TpmEnrollzService_Challenge_FullMethodName, epb.TpmEnrollzService_GetIdevidCsr_FullMethodName:
		return RoleAttestz, true
	case epb.TpmEnrollzService_RotateOIakCert_FullMethodName, epb.TpmEnrollzService_RotateAIKCert_FullMethodName:
		return RoleAdmin, true
	default:
		return "", strings.HasPrefix(method, "/grpc.health.v1.Health/") || strings.HasPrefix(method, "/grpc.reflection.v1")
	}
}

// mayCall refuses the caller that has not the role that the method needs.
func mayCall(caller Caller, method string) error {
	role, known := needed(method)
	if !known || role != "" && !caller.Has(role) {
		return refuse(agentv1.ErrorReason_ERROR_REASON_ROLE_MISSING)
	}

	return nil
}

// mayAsk refuses the request for a quote of PCRs that are not the caller's to see.
func mayAsk(caller Caller, request any) error {
	if attest, ok := request.(*apb.AttestRequest); ok && !caller.mayQuote(attestz.Selections(attest), RoleAttestz) {
		return refuse(agentv1.ErrorReason_ERROR_REASON_ROLE_MISSING)
	}

	quote, ok := request.(*agentv1.QuoteRequest)
	if !ok {
		return nil
	}

	isRaw := quote.GetBindMode() == agentv1.BindMode_BIND_MODE_RAW
	if !caller.mayQuote(quote.GetPcrSelections(), RoleQuote) || isRaw && !caller.mayQuote(quote.GetPcrSelections(), RoleRaw) {
		return refuse(agentv1.ErrorReason_ERROR_REASON_ROLE_MISSING)
	}

	return nil
}

type callerKey struct{}

// callerOf returns who makes this call, as the guard found out.
func callerOf(ctx context.Context) Caller {
	caller, _ := ctx.Value(callerKey{}).(Caller)

	return caller
}

// mutual returns the config that each connection is made with: the owner's, with our own look at who is there. It refuses configs that let anybody in without a
// certificate, whenever they come.
func (a *access) mutual(config *tls.Config) *tls.Config {
	outer := config.Clone()
	outer.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		inner := config

		if config.GetConfigForClient != nil {
			chosen, err := config.GetConfigForClient(hello)
			if err != nil {
				return nil, err
			}

			if chosen != nil {
				inner = chosen
			}
		}

		if err := checkMutual(inner); err != nil {
			return nil, err
		}

		verify := inner.VerifyConnection // its own: it may be stricter than the one that is asked for every call
		inner = inner.Clone()
		inner.GetConfigForClient = nil
		inner.VerifyConnection = func(state tls.ConnectionState) error {
			caller, err := a.remote(state)
			if err == nil {
				err = verify(state)
			}

			if err != nil {
				return &strangerError{identity: caller.Identity, err: err}
			}

			return nil
		}
		signForHandshake(inner, hello)

		return inner, nil
	}

	return outer
}

// verifying returns the config with a VerifyConnection. That of crypto/tls itself is skipped when a session is resumed, and is content with a certificate that says
// nothing of its use.
func verifying(config *tls.Config) *tls.Config {
	if config == nil || config.VerifyConnection != nil || config.ClientCAs == nil {
		return config
	}

	config = config.Clone()
	config.VerifyConnection = func(state tls.ConnectionState) error { return verifyChain(state.PeerCertificates, config.ClientCAs) }

	return config
}

func verifyChain(chain []*x509.Certificate, authorities *x509.CertPool) error {
	if len(chain) == 0 || !slices.Contains(chain[0].ExtKeyUsage, x509.ExtKeyUsageClientAuth) {
		return errors.New("the certificate is not for clients: its extended key usage has no clientAuth")
	}

	intermediates := x509.NewCertPool()
	for _, certificate := range chain[1:] {
		intermediates.AddCert(certificate)
	}

	_, err := chain[0].Verify(x509.VerifyOptions{Roots: authorities, Intermediates: intermediates, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})

	return err
}

// checkMutual refuses a config that is not for mutual TLS 1.3.
func checkMutual(config *tls.Config) error {
	if config == nil || config.ClientAuth != tls.RequireAndVerifyClientCert || config.MinVersion < tls.VersionTLS13 {
		return errors.New("TLS 1.3 with verified client certificates is required on a TCP listener")
	}

	if config.VerifyConnection == nil {
		return errors.New("a TLS config without VerifyConnection does not look at the certificates of resumed sessions")
	}

	return nil
}

// strangerError says who was not let in, and why.
type strangerError struct {
	identity string
	err      error
}

// Error implements error.
func (e *strangerError) Error() string { return fmt.Sprintf("%s: %v", e.identity, e.err) }

// Unwrap gives the reason.
func (e *strangerError) Unwrap() error { return e.err }
