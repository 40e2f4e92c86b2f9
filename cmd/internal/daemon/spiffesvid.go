package daemon

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"github.com/trustpool/trustpool/internal/spiffe"
)

// identity is what one answer of the Workload API gave. It is never changed.
type identity struct {
	id spiffeid.ID
	// server verifies callers, called those who are called.
	server, called *material
	// clients are configs for calling, by the trust domain of who is called.
	clients map[spiffeid.TrustDomain]*tls.Config
	// missing are the trust domains that count and have no bundle.
	missing []spiffeid.TrustDomain
}

// errNoSVID says that the Workload API does not give this process the X.509-SVID that it is to have.
var errNoSVID = errors.New("no X.509-SVID is registered for this process")

// parseSVIDs takes an answer apart. Its size was bounded when it was received.
func parseSVIDs(response *workload.X509SVIDResponse, config spiffe.Config) (*identity, error) {
	chosen, err := choose(response.GetSvids(), config.ID)
	if err != nil {
		return nil, err
	}

	svid, err := x509svid.ParseRaw(chosen.GetX509Svid(), chosen.GetX509SvidKey())
	if err != nil {
		return nil, fmt.Errorf("reading the X.509-SVID: %w", err)
	}

	if svid.ID.String() != chosen.GetSpiffeId() {
		return nil, fmt.Errorf("reading the X.509-SVID: it is of %s, and was sent as that of %.128q", svid.ID, chosen.GetSpiffeId())
	}

	// What go-spiffe leaves to us: by X509-SVID, 4.4 there may be none, but then nobody here would take it.
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		if !slices.Contains(svid.Certificates[0].ExtKeyUsage, usage) {
			return nil, errors.New("reading the X.509-SVID: its extended key usage has not both serverAuth and clientAuth")
		}
	}

	bundles, missing, err := readBundles(response, config)
	if err != nil {
		return nil, err
	}

	lists, err := readLists(response, bundles)
	if err != nil {
		return nil, err
	}

	return newIdentity(svid, bundles, missing, lists), nil
}

// choose returns the X.509-SVID of that ID; the first one, if it is empty.
func choose(svids []*workload.X509SVID, id string) (*workload.X509SVID, error) {
	if len(svids) == 0 {
		return nil, errNoSVID
	}

	if id == "" {
		return svids[0], nil
	}

	for _, svid := range svids {
		if svid.GetSpiffeId() == id {
			return svid, nil
		}
	}

	return nil, fmt.Errorf("%w: none of the %d has the ID %s", errNoSVID, len(svids), id)
}

// readBundles returns the bundles of the trust domains that count, and those that have none.
func readBundles(response *workload.X509SVIDResponse, config spiffe.Config) (bundles []*x509bundle.Bundle, missing []spiffeid.TrustDomain, err error) {
	for _, name := range config.TrustDomains {
		domain, err := spiffeid.TrustDomainFromString(name)
		if err != nil {
			return nil, nil, err
		}

		raw, ok := rawBundle(response, domain)
		if !ok || len(raw) == 0 {
			missing = append(missing, domain)

			continue
		}

		bundle, err := x509bundle.ParseRaw(domain, raw)
		if err != nil {
			return nil, nil, fmt.Errorf("reading the bundle of %s: %w", domain, err)
		}

		bundles = append(bundles, bundle)
	}

	return bundles, missing, nil
}

// rawBundle returns the certificates of a trust domain: of one's own they stand beside the X.509-SVID, of others among the federated ones.
func rawBundle(response *workload.X509SVIDResponse, domain spiffeid.TrustDomain) (raw []byte, ok bool) {
	for _, svid := range response.GetSvids() {
		if id, err := spiffeid.FromString(svid.GetSpiffeId()); err == nil && id.TrustDomain() == domain {
			return svid.GetBundle(), true
		}
	}

	for name, raw := range response.GetFederatedBundles() {
		if of, err := spiffeid.TrustDomainFromString(name); err == nil && of == domain {
			return raw, true
		}
	}

	return nil, false
}

// readLists reads the CRLs that came along. One of an authority that does not count revokes nobody here.
func readLists(response *workload.X509SVIDResponse, bundles []*x509bundle.Bundle) (revocations, error) {
	lists := make(revocations)

	for _, der := range response.GetCrl() {
		list, err := x509.ParseRevocationList(der)
		if err != nil {
			return nil, fmt.Errorf("reading a CRL: %w", err)
		}

		if err := checkComplete(list); err != nil {
			return nil, fmt.Errorf("reading a CRL: %w", err)
		}

		for _, bundle := range bundles {
			for _, authority := range bundle.X509Authorities() {
				if list.CheckSignatureFrom(authority) == nil {
					lists.add(string(authority.RawSubjectPublicKeyInfo), list)
				}
			}
		}
	}

	return lists, nil
}

// newIdentity puts together what belongs together.
func newIdentity(svid *x509svid.SVID, bundles []*x509bundle.Bundle, missing []spiffeid.TrustDomain, lists revocations) *identity {
	pair := tls.Certificate{PrivateKey: svid.PrivateKey, Leaf: svid.Certificates[0]}
	for _, certificate := range svid.Certificates {
		pair.Certificate = append(pair.Certificate, certificate.Raw)
	}

	newMaterial := func() *material {
		return &material{pair: pair, certificate: pair.Leaf, authorities: x509.NewCertPool(), revoked: lists, bundles: x509bundle.NewSet(bundles...)}
	}

	i := &identity{id: svid.ID, server: newMaterial(), called: newMaterial(), clients: make(map[spiffeid.TrustDomain]*tls.Config), missing: missing}

	for _, bundle := range bundles {
		own := x509.NewCertPool()

		for _, authority := range bundle.X509Authorities() {
			own.AddCert(authority)
			i.server.authorities.AddCert(authority)
			i.server.accepted = append(i.server.accepted, authority)
		}

		i.clients[bundle.TrustDomain()] = &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair}, RootCAs: own}
	}

	return i
}

// keep takes over the configs of before that would be the same, so that connections made with them are kept. verify says at any time whether who answers may still be talked to.
func (i *identity) keep(before *identity, verify func(tls.ConnectionState) error) {
	for domain, config := range i.clients {
		config.VerifyConnection = verify

		if before == nil || before.clients[domain] == nil || !bytes.Equal(before.server.certificate.Raw, i.server.certificate.Raw) {
			continue
		}

		old, _ := before.server.bundles.Get(domain)
		if bundle, _ := i.server.bundles.Get(domain); bundle.Equal(old) {
			i.clients[domain] = before.clients[domain]
		}
	}
}

// ended says whether the X.509-SVID counts no more.
func (i *identity) ended(now time.Time) bool { return now.After(i.server.certificate.NotAfter) }

// end tells people when it does not.
func (i *identity) end() string { return i.server.certificate.NotAfter.UTC().Format(time.RFC3339) }

// verifySVID checks the chain, leaf first, of an X.509-SVID (X509-SVID, 5) that is to be of that use: by the bundle of the trust domain in its own ID, and no other.
func (m *material) verifySVID(chain []*x509.Certificate, usage x509.ExtKeyUsage, now time.Time) error {
	leaf := chain[0]

	if m.known.has(leaf, now) {
		return nil
	}

	if !slices.Contains(leaf.ExtKeyUsage, usage) {
		return errors.New("the X.509-SVID is not for this: its extended key usage has not both serverAuth and clientAuth")
	}

	id, _, err := x509svid.Verify(chain, m.bundles, x509svid.WithTime(now))
	if err != nil {
		return err
	}

	bundle, err := m.bundles.GetX509BundleForTrustDomain(id.TrustDomain())
	if err != nil {
		return err
	}

	// Once more, for the extended key usage of all authorities, and for the chains that a CRL may be about.
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	for _, authority := range bundle.X509Authorities() {
		roots.AddCert(authority)
	}

	for _, certificate := range slices.Concat(chain[1:], bundle.X509Authorities()) {
		intermediates.AddCert(certificate)
	}

	chains, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage}})
	if err != nil {
		return err
	}

	if slices.ContainsFunc(chains, m.revoked.has) {
		return fmt.Errorf("the X.509-SVID with serial %x is revoked, or a certificate above it", leaf.SerialNumber)
	}

	m.known.add(leaf, chains[0])

	return nil
}
