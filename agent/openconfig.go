package agent

import (
	"os"

	apb "github.com/openconfig/attestz/proto/tpm_attestz"
	epb "github.com/openconfig/attestz/proto/tpm_enrollz"
	"google.golang.org/grpc"

	"github.com/trustpool/trustpool/agent/attestz"
)

// openconfig is OpenConfig attestz, if it is to be served; else both are nil.
type openconfig struct {
	attest apb.TpmAttestzServiceServer
	enroll epb.TpmEnrollzServiceServer
}

// newAttestz lets attestz answer from the agent's own services.
func newAttestz(config AttestzConfig, quotes *quoteService, enrollment *enrollmentService) openconfig {
	if !config.Enabled {
		return openconfig{}
	}

	options := attestz.Options{TPM: quotes.tpm, Quote: quotes.quote, Install: enrollment.install, Host: quotes.logs.Host, Refuse: refuse, Edge: edgeError}
	if config.IAKCertificate != "" {
		options.IAKCertificate = func() ([]byte, error) { return os.ReadFile(config.IAKCertificate) }
	}

	attest, enroll := attestz.New(options)

	return openconfig{attest, enroll}
}

// register puts the two services on a server, behind the guard.
func (o openconfig) register(server *grpc.Server, g *guard) {
	if o.attest == nil {
		return
	}

	server.RegisterService(g.waiting(apb.TpmAttestzService_ServiceDesc), o.attest)
	server.RegisterService(g.waiting(epb.TpmEnrollzService_ServiceDesc), o.enroll)
}
