package challenge

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"time"

	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
	"github.com/trustpool/trustpool/server/internal/trust"
	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/client"
)

// Roots say which TPM makers are trusted at enrolments, as in verifier.EnrollPolicy.
type Roots struct {
	Roots verifier.EKRoots
	CRLs  []verifier.CRL
}

// Enroll returns an Enroller that asks the nodes' agents.
func (a *Agents) Enroll(roots func() (Roots, error)) Enroller {
	return func(ctx context.Context, node *trust.Node, refused []verifier.Hex) (verifier.NodeRecord, trust.Suggestions, error) {
		agent, err := a.dial(node)
		if err != nil {
			return verifier.NodeRecord{}, trust.Suggestions{}, err
		}
		nonce, err := client.NewNonce()
		if err != nil {
			return verifier.NodeRecord{}, trust.Suggestions{}, err
		}
		reply, err := agent.Identity(ctx, nonce)
		if err != nil {
			return verifier.NodeRecord{}, trust.Suggestions{}, a.failed(node, agent, err)
		}

		policy, err := enrollPolicy(node, refused, roots)
		if err != nil {
			return verifier.NodeRecord{}, trust.Suggestions{}, err
		}
		policy.Nonce, policy.At, policy.ServerNames, policy.ServerKey = nonce, time.Now(), reply.ServerNames, reply.ServerKey
		if agent.peer.Named {
			policy.ServerNames = []string{node.Name}
		}
		record, err := a.finish(ctx, node, agent, verifier.Enroll(reply.Identity, policy))
		said := trust.Suggestions{HostNames: reply.Identity.HostNames, SMBIOSUUID: reply.Identity.SMBIOSUUID, SMBIOSSerial: reply.Identity.SMBIOSSerial}
		return record, said, err
	}
}

// enrollPolicy is what the administrator demands of this node.
func enrollPolicy(node *trust.Node, refused []verifier.Hex, roots func() (Roots, error)) (verifier.EnrollPolicy, error) {
	trusted, err := roots()
	if err != nil {
		return verifier.EnrollPolicy{}, fmt.Errorf("reading which TPM makers are trusted: %w", err)
	}
	policy := verifier.EnrollPolicy{Node: node.Name, Binding: node.Binding, RefusedAKs: refused}
	if node.Binding == verifier.BindingChain || node.EK.Serial != nil {
		policy.Roots, policy.CRLs = trusted.Roots, trusted.CRLs
	}
	if node.Binding == verifier.BindingInventory {
		if policy.Inventory, err = inventory(node); err != nil {
			return verifier.EnrollPolicy{}, err
		}
	}
	return policy, nil
}

// inventory is that of the one node.
func inventory(node *trust.Node) (verifier.Inventory, error) {
	serial := ""
	if node.EK.Serial != nil {
		serial = node.EK.Serial.Text(16)
	}
	var lines bytes.Buffer
	w := csv.NewWriter(&lines)
	err := w.WriteAll([][]string{{"node", "ek_name", "ek_serial", "ek_issuer"}, {node.Name, node.EK.Name.String(), serial, node.EK.Issuer}})
	if err != nil {
		return verifier.Inventory{}, err
	}
	return verifier.ParseInventory(lines.Bytes())
}

// finish has the TPM prove that it holds both keys.
func (a *Agents) finish(ctx context.Context, node *trust.Node, agent *agent, e *verifier.Enrollment) (verifier.NodeRecord, error) {
	refusal := func(err error) error { return &RefusalError{Reason: trust.NotEnrolled, Err: err} }
	challenge, err := e.Challenge()
	if err != nil {
		return verifier.NodeRecord{}, refusal(err)
	}
	secret, err := agent.ActivateCredential(ctx, challenge)
	if err != nil {
		switch client.Reason(err) {
		case agentv1.ErrorReason_ERROR_REASON_CREDENTIAL_INVALID, agentv1.ErrorReason_ERROR_REASON_EK_UNKNOWN, agentv1.ErrorReason_ERROR_REASON_AK_UNKNOWN:
			return verifier.NodeRecord{}, refusal(errors.Join(errors.New("its TPM does not open the credential"), err))
		default:
			return verifier.NodeRecord{}, a.failed(node, agent, err)
		}
	}
	record, err := e.Finish(secret, node.Address, time.Now())
	if err != nil {
		return verifier.NodeRecord{}, refusal(err)
	}
	return record, nil
}
