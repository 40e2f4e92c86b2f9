package daemon

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
)

// material is what one reading of the files gave. It is never changed, so that who uses it sees files that fit together.
type material struct {
	digest      [sha256.Size]byte // of all files
	pair        tls.Certificate
	certificate *x509.Certificate // the server's own
	authorities *x509.CertPool
	// accepted are the authorities themselves.
	accepted []*x509.Certificate
	revoked  revocations
	// bundles, if not nil, say which authorities count for whom: they are X.509-SVIDs.
	bundles *x509bundle.Set
	known   verified
}

// verify checks a client's chain, leaf first.
func (m *material) verify(chain []*x509.Certificate, now time.Time) error {
	if m.bundles != nil {
		return m.verifySVID(chain, x509.ExtKeyUsageClientAuth, now)
	}

	leaf := chain[0]

	if m.known.has(leaf, now) {
		return nil
	}

	// x509.Certificate.Verify is content with no extended key usage at all, and with anyExtendedKeyUsage.
	if !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageClientAuth) {
		return errors.New("the certificate is not for clients: its extended key usage has no clientAuth")
	}

	// The authorities too: one of them may be below another, and revoked by that one, and a client that knows it would not show it.
	intermediates := x509.NewCertPool()
	for _, certificate := range slices.Concat(chain[1:], m.accepted) {
		intermediates.AddCert(certificate)
	}

	chains, err := leaf.Verify(x509.VerifyOptions{
		Roots: m.authorities, Intermediates: intermediates, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return err
	}

	// An intermediate in the client CA file makes a second, shorter chain, in which its own revocation can't show: so all chains have to be clean.
	if slices.ContainsFunc(chains, m.revoked.has) {
		return fmt.Errorf("the certificate with serial %x is revoked, or one above it", leaf.SerialNumber)
	}

	m.known.add(leaf, chains[0])

	return nil
}

// authoritiesEnd returns when the first of the authorities ends, in Unix seconds; 0 if there is none.
func (m *material) authoritiesEnd() int64 {
	if len(m.accepted) == 0 {
		return 0
	}

	first := slices.MinFunc(m.accepted, func(a, b *x509.Certificate) int { return a.NotAfter.Compare(b.NotAfter) })

	return first.NotAfter.Unix()
}

// outdated returns the ends of the CRLs that should have been replaced by now.
func (m *material) outdated(now time.Time) []time.Time {
	var ends []time.Time

	for _, list := range m.revoked {
		if !list.nextUpdate.IsZero() && now.After(list.nextUpdate) {
			ends = append(ends, list.nextUpdate)
		}
	}

	return ends
}

// forClients says whether the server's certificate could be used as a client's.
func (m *material) forClients() bool {
	return slices.Contains(m.certificate.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
}

// verified remembers whom the present files let in, because verifying a chain for every call costs as much as the rest of the call.
type verified struct {
	mu    sync.Mutex
	until map[[sha256.Size]byte]time.Time // by digest of the leaf, when its chain ends
}

// maxVerified bounds how many are remembered.
const maxVerified = 4096

func (v *verified) has(leaf *x509.Certificate, now time.Time) bool {
	key := sha256.Sum256(leaf.Raw)

	v.mu.Lock()
	defer v.mu.Unlock()

	until, ok := v.until[key]

	return ok && !now.After(until) && !now.Before(leaf.NotBefore)
}

func (v *verified) add(leaf *x509.Certificate, chain []*x509.Certificate) {
	until := leaf.NotAfter
	for _, certificate := range chain {
		if certificate.NotAfter.Before(until) {
			until = certificate.NotAfter
		}
	}

	v.mu.Lock()
	defer v.mu.Unlock()

	if v.until == nil || len(v.until) >= maxVerified {
		v.until = make(map[[sha256.Size]byte]time.Time)
	}

	v.until[sha256.Sum256(leaf.Raw)] = until
}

// revocations are CRLs by their issuer's public key (SubjectPublicKeyInfo, DER).
type revocations map[string]revocationList

type revocationList struct {
	nextUpdate time.Time           // zero if the list has none
	serials    map[string]struct{} // big-endian
}

// parseRevocations reads CRLs, each of which has to be signed by one of the authorities. An outdated one counts: what it revokes stays revoked.
func parseRevocations(content []byte, authorities []*x509.Certificate) (revocations, error) {
	blocks, err := pemOrDER(content, "X509 CRL")
	if err != nil {
		return nil, err
	}

	if len(blocks) == 0 {
		return nil, errors.New("no CRL in it")
	}

	lists := make(revocations)

	for _, der := range blocks {
		list, err := x509.ParseRevocationList(der)
		if err != nil {
			return nil, err
		}

		if err := checkComplete(list); err != nil {
			return nil, err
		}

		issuer := slices.IndexFunc(authorities, func(a *x509.Certificate) bool { return list.CheckSignatureFrom(a) == nil })
		if issuer < 0 {
			return nil, fmt.Errorf("the CRL of %q is not signed by an authority in the client CA file; put its issuer there", list.Issuer)
		}

		lists.add(string(authorities[issuer].RawSubjectPublicKeyInfo), list)
	}

	return lists, nil
}

// checkComplete refuses lists that say only a part (RFC 5280, 5.2.4: delta CRLs) or more than this code understands.
func checkComplete(list *x509.RevocationList) error {
	issuingDistributionPoint := asn1.ObjectIdentifier{2, 5, 29, 28} // RFC 5280, 5.2.5: what it narrows may only revoke less

	for _, extension := range list.Extensions {
		if extension.Critical && !extension.Id.Equal(issuingDistributionPoint) {
			return fmt.Errorf("the CRL of %q has the critical extension %v: delta CRLs and the like are not understood; use a full one", list.Issuer, extension.Id)
		}
	}

	return nil
}

func (r revocations) add(issuer string, list *x509.RevocationList) {
	present, ok := r[issuer]
	if !ok {
		present = revocationList{nextUpdate: list.NextUpdate, serials: make(map[string]struct{}, len(list.RevokedCertificateEntries))}
	} else if list.NextUpdate.Before(present.nextUpdate) {
		present.nextUpdate = list.NextUpdate
	}

	for _, entry := range list.RevokedCertificateEntries {
		present.serials[string(entry.SerialNumber.Bytes())] = struct{}{}
	}

	r[issuer] = present
}

// has says whether a certificate of the chain, leaf first, is revoked by the next one.
func (r revocations) has(chain []*x509.Certificate) bool {
	for i, certificate := range chain[:len(chain)-1] {
		list := r[string(chain[i+1].RawSubjectPublicKeyInfo)]
		if _, revoked := list.serials[string(certificate.SerialNumber.Bytes())]; revoked {
			return true
		}
	}

	return false
}

// nextUpdate returns when the first list is outdated, in Unix seconds.
func (r revocations) nextUpdate() int64 {
	var first time.Time

	for _, list := range r {
		if first.IsZero() || list.nextUpdate.Before(first) {
			first = list.nextUpdate
		}
	}

	if first.IsZero() {
		return 0
	}

	return first.Unix()
}
