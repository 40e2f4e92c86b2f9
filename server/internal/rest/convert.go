package rest

import (
	"encoding/hex"
	"fmt"
	"math/big"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/server/internal/store"
	"github.com/trustpool/trustpool/server/internal/trust"
	"github.com/trustpool/trustpool/verifier"
)

func verdictOf(v *trust.Verdict, evidence int64) api.Verdict {
	out := api.Verdict{
		Trust: api.Trust(v.Level.String()), Reason: string(v.Reason), Detail: v.Detail, QuotedAt: v.QuotedAt, ExpiresAt: v.ExpiresAt, ChangedAt: v.ChangedAt,
		Generation: v.Generation, EvidenceID: evidence, Sets: v.Sets, EKBinding: string(v.EKBinding),
	}
	if v.Boot != nil {
		out.Boot = &api.Boot{ResetCount: v.Boot.ResetCount, RestartCount: v.Boot.RestartCount}
	}
	return out
}

func hostOf(h *store.Host) api.Host {
	return api.Host{Host: h.Asked, Node: h.Node, Pool: h.Pool, Verdict: verdictOf(&h.Verdict, h.EvidenceID)}
}

// nodeOf is without verdict and contact.
func nodeOf(n *trust.Node) (api.Node, error) {
	out := api.Node{
		NodeSpec: api.NodeSpec{
			Name: n.Name, Aliases: n.Aliases, Address: n.Address, ServerName: n.ServerName, Pool: n.Pool, Labels: n.Labels, Binding: string(n.Binding),
		},
		State: string(n.State), StateReason: n.StateReason, Revision: n.Revision, AddedAt: n.AddedAt, AddedBy: n.AddedBy,
	}
	if n.EK.Known() {
		out.EK = &api.ExpectedEK{Name: n.EK.Name.String(), Issuer: n.EK.Issuer}
		if n.EK.Serial != nil {
			out.EK.Serial = n.EK.Serial.Text(16)
		}
	}
	if s := n.Suggestions; len(s.HostNames) > 0 || s.SMBIOSUUID != "" || s.SMBIOSSerial != "" {
		out.Suggestions = &api.Suggestions{HostNames: s.HostNames, SMBIOSUUID: s.SMBIOSUUID, SMBIOSSerial: s.SMBIOSSerial}
	}
	if n.Record != nil {
		raw, err := n.Record.MarshalJSON()
		if err != nil {
			return api.Node{}, fmt.Errorf("the record of the node %s: %w", n.Name, err)
		}
		out.Record = raw
	}
	return out, nil
}

// nodeFrom reads what an administrator says of a node with that record, nil if there is none, and returns all that is wrong with it; location is where it was said.
func nodeFrom(spec *api.NodeSpec, record *verifier.NodeRecord, location string) (trust.Node, []error) {
	n := trust.Node{
		Name: trust.FoldName(spec.Name), Address: spec.Address, ServerName: spec.ServerName, Pool: spec.Pool, Labels: spec.Labels, Binding: verifier.EKBinding(spec.Binding),
		Record: record,
	}
	for _, alias := range spec.Aliases {
		n.Aliases = append(n.Aliases, trust.FoldName(alias))
	}
	if n.Binding == "" {
		n.Binding = verifier.BindingInventory
	}
	ek, errs := ekFrom(spec.EK, location+".ek")
	n.EK = ek
	if len(errs) == 0 {
		errs = fields(location, n.Check())
	}
	return n, errs
}

// newNode is nodeFrom for a node that may come with the record of an enrolment which was made elsewhere.
func newNode(spec *api.NodeSpec, location string) (trust.Node, []error) {
	if len(spec.Record) == 0 {
		return nodeFrom(spec, nil, location)
	}
	record, err := verifier.ParseNodeRecord(spec.Record)
	if err != nil {
		return trust.Node{}, []error{&huma.ErrorDetail{Location: location + ".record", Message: sentence(err)}}
	}
	return nodeFrom(spec, &record, location)
}

func ekFrom(ek *api.ExpectedEK, location string) (trust.ExpectedEK, []error) {
	if ek == nil {
		return trust.ExpectedEK{}, nil
	}
	var errs []error
	out := trust.ExpectedEK{Issuer: ek.Issuer}
	name, err := hex.DecodeString(ek.Name)
	if err != nil {
		errs = append(errs, &huma.ErrorDetail{Location: location + ".name", Message: "is no Name of a key, write its hexadecimal digits"})
	}
	if len(name) > 0 {
		out.Name = name
	}
	if ek.Serial != "" {
		serial, ok := new(big.Int).SetString(strings.ReplaceAll(ek.Serial, ":", ""), 16)
		if !ok || serial.Sign() < 0 {
			errs = append(errs, &huma.ErrorDetail{Location: location + ".serial", Message: "is no serial number, write its hexadecimal digits"})
		} else {
			out.Serial = serial
		}
	}
	return out, errs
}
