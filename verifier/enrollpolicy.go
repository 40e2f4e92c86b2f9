package verifier

import (
	"crypto"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// EnrollPolicy is what the caller demands of an identity. The zero value enrols nobody.
type EnrollPolicy struct {
	// Node is the name that the node shall have, in lower case. It is the caller's, never the node's word.
	Node string
	// Nonce is the caller's own nonce that the identity was asked with, at least MinNonceSize bytes.
	Nonce []byte
	// At is the time at which certificates and CRLs have to be valid.
	At time.Time
	// Binding is the level that is demanded. It must be set, but for Record.
	Binding EKBinding
	// Inventory is what BindingInventory compares with.
	Inventory Inventory
	// Roots are the TPM makers that are trusted. BindingChain needs them, and so does an inventory that knows the node's EK by its certificate. Where they are given, the EK certificate has
	// to lead to one of them in any case.
	Roots EKRoots
	// CRLs tell which certificates were revoked. Where any are given, each certificate up to the root has to be on a current one as not revoked. They need Roots.
	CRLs []CRL
	// ServerNames are the names in the server certificate that the caller's TLS connection to this node has verified. BindingChain demands Node among them, letter by letter: a
	// wildcard names no machine.
	ServerNames []string
	// ServerKey is the public key of that certificate; nil if there is none. A TLS key in the TPM has to be this one.
	ServerKey crypto.PublicKey
	// RequireTPMTLSKey demands that the node's TLS key is in its TPM. So does a Record of a node of which that was proven.
	RequireTPMTLSKey bool
	// Record is that of a node that is enrolled already. If set, the EK has to be the recorded one, and Binding is not looked at: it stays what it was.
	Record *NodeRecord
	// AKName is the Name of the AK to enrol. Empty: the one in use.
	AKName Hex
	// RefusedAKs are the Names of AKs that are trusted no more.
	RefusedAKs []Hex
}

// check tells all that is wrong with the policy itself.
func (p *EnrollPolicy) check() error {
	errs := []error{checkNodeName(p.Node)}
	if len(p.Nonce) < MinNonceSize {
		errs = append(errs, fmt.Errorf("the caller's nonce has %d bytes, fewer than %d", len(p.Nonce), MinNonceSize))
	}
	if p.At.IsZero() {
		errs = append(errs, errors.New("the time of the enrolment is missing"))
	}
	if len(p.CRLs) > 0 && p.Roots.Empty() {
		errs = append(errs, errors.New("there are CRLs but no roots: without roots no EK certificate is judged, and none is found to be revoked"))
	}
	if p.Record != nil {
		return errors.Join(append(errs, p.checkRecord())...)
	}

	switch p.Binding {
	case BindingInventory:
		if p.Inventory.needsCertificate(p.Node) && p.Roots.Empty() {
			errs = append(errs, fmt.Errorf("the inventory knows %s by its EK certificate, which proves nothing without the roots of its maker", safeText(p.Node)))
		}
	case BindingChain:
		if p.Roots.Empty() {
			errs = append(errs, errors.New("there are no roots that an EK certificate could lead to"))
		}
	case BindingFirstUse:
	default:
		errs = append(errs, fmt.Errorf("EK binding %s is none: choose %s, %s or %s", safeText(string(p.Binding)), BindingInventory, BindingChain, BindingFirstUse))
	}
	return errors.Join(errs...)
}

func (p *EnrollPolicy) checkRecord() error {
	if p.Record.Name != p.Node {
		return fmt.Errorf("the record is that of %s, not of %s", safeText(p.Record.Name), safeText(p.Node))
	}
	if !p.Record.Binding.known() {
		return errors.New("the record does not say how the node was bound")
	}
	return nil
}

// binding is what a successful enrolment may claim.
func (p *EnrollPolicy) binding() EKBinding {
	if p.Record != nil {
		return p.Record.Binding
	}
	return p.Binding
}

// demandsTPMTLSKey tells whether a node whose TLS key is in a file is refused.
func (p *EnrollPolicy) demandsTPMTLSKey() bool {
	return p.RequireTPMTLSKey || p.Record != nil && p.Record.TPMTLSKey
}

// needsCertificate tells whether an EK without a certificate is refused.
func (p *EnrollPolicy) needsCertificate() bool { return !p.Roots.Empty() }

// checkBinding is the heart of an enrolment: what ties this EK to the node's name. cert is nil unless it is that EK's and has led to a root.
func (p *EnrollPolicy) checkBinding(k *ek, cert *ekCertificate) error {
	if p.Record != nil {
		return compare(p.Record.EK.Public, k.raw, "the EK is not the one that was enrolled: another TPM answers for %s", p.Node)
	}
	switch p.Binding {
	case BindingInventory:
		return p.Inventory.check(p.Node, k, cert)
	case BindingChain:
		return p.checkServerName(cert)
	case BindingFirstUse:
		return nil
	default:
		return errors.New("no binding was asked for")
	}
}

func (p *EnrollPolicy) checkServerName(cert *ekCertificate) error {
	if cert == nil {
		return errors.New("no EK certificate that leads to a root speaks for this EK")
	}
	if len(p.ServerNames) == 0 {
		return errors.New("the node showed no server certificate, so nothing ties the TPM to its name: ask over TLS, or use an inventory")
	}
	if !slices.ContainsFunc(p.ServerNames, func(name string) bool { return strings.EqualFold(name, p.Node) }) {
		names := make([]string, 0, len(p.ServerNames))
		for _, name := range p.ServerNames {
			names = append(names, safeText(name))
		}
		return fmt.Errorf("the node's server certificate is for %s, not for %s", strings.Join(names[:min(len(names), 8)], ", "), p.Node)
	}
	return nil
}
