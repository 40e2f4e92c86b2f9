// Package attestz serves the agent's evidence as OpenConfig attestz, the device side of github.com/openconfig/attestz: TpmAttestzService, and of TpmEnrollzService what a host can do. Its
// contract is the protos of that module; what they leave open is said at each call.
//
// A host is one control card, and that card is the active one. Whoever calls was let in by the agent, by a role of its own: the nonce is signed bare, so that whoever has a reply can
// show it as an answer to themselves. A verifier of ours asks the agent's own service for a quote that is bound to the connection.
//
// The key that signs is the agent's AK. To attestz it is an IAK, whose certificate by the owner's CA is the oIAK certificate. It was not made from the TCG's template for IAKs, so what attestz
// proves by that template (Challenge, GetIdevidCsr) is not served, nor is anything of TPM 1.2.
package attestz

import (
	"context"

	cpb "github.com/openconfig/attestz/proto/common_definitions"
	apb "github.com/openconfig/attestz/proto/tpm_attestz"
	epb "github.com/openconfig/attestz/proto/tpm_enrollz"

	"github.com/trustpool/trustpool/agent/internal/logs"
	"github.com/trustpool/trustpool/agent/internal/tpm"
	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
)

// Options are what the services are made from.
type Options struct {
	// TPM owns the AK.
	TPM *tpm.TPM
	// Quote answers as QuoteService's RPC of that name does, and refuses what that refuses: nonces that could be taken for something else, for one.
	Quote func(context.Context, *agentv1.QuoteRequest) (*agentv1.QuoteResponse, error)
	// Install keeps a certificate (DER) for the AK, and those of the authorities above it, its issuer's first.
	Install func(ctx context.Context, certificate []byte, chain [][]byte) error
	// Host tells what SMBIOS says.
	Host func() logs.Host
	// IAKCertificate reads the vendor's certificate of the AK, with its chain (PEM). Nil: there is none.
	IAKCertificate func() ([]byte, error)
	// Refuse makes the error of a reason, with metadata as pairs of key and value, and Edge makes of any error what a caller may see.
	Refuse func(reason agentv1.ErrorReason, metadata ...string) error
	Edge   func(error) error
}

// New returns what serves the two.
func New(options Options) (apb.TpmAttestzServiceServer, epb.TpmEnrollzServiceServer) {
	return &attestService{options: options}, &enrollService{options: options}
}

// ready returns the AK that signs now, or why there is none.
func (o Options) ready(ctx context.Context) (*tpm.AK, error) {
	state, err := o.TPM.Settled(ctx)
	if err != nil {
		return nil, err
	}

	if state.Err != nil {
		return nil, state.Err
	}

	return state.AK, nil
}

// card returns what identifies this host, if it is the card that was asked for. No selection means the only one that there is.
func (o Options) card(selection *cpb.ControlCardSelection) (*cpb.ControlCardVendorId, error) {
	host := o.Host()

	isThis := false

	switch id := selection.GetControlCardId().(type) {
	case nil:
		isThis = true
	case *cpb.ControlCardSelection_Role:
		isThis = id.Role == cpb.ControlCardRole_CONTROL_CARD_ROLE_ACTIVE
	case *cpb.ControlCardSelection_Serial:
		isThis = id.Serial != "" && id.Serial == host.Serial
	}

	if !isThis {
		return nil, o.Refuse(agentv1.ErrorReason_ERROR_REASON_CONTROL_CARD_UNKNOWN)
	}

	return &cpb.ControlCardVendorId{
		ControlCardRole:     cpb.ControlCardRole_CONTROL_CARD_ROLE_ACTIVE,
		ControlCardSerial:   host.Serial,
		ChassisManufacturer: host.Manufacturer,
		ChassisPartNumber:   host.Product,
		ChassisSerialNumber: host.ChassisSerial,
	}, nil
}
