package verifier

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"slices"
	"time"
)

const maxCRLSize = 16 << 20

// CRL is one certificate revocation list. Nothing is said of who signed it before it is used.
type CRL struct{ list *x509.RevocationList }

// ParseCRLs reads revocation lists (RFC 5280, 5): one in DER, or any number of "X509 CRL" blocks in PEM; at most 16 MiB. Delta lists, indirect lists and those for a part of the
// certificates only (RFC 5280, 5.2.4 and 5.2.5, critical or not) are refused: taken for whole lists they would let revoked certificates pass.
func ParseCRLs(raw []byte) ([]CRL, error) {
	if len(raw) > maxCRLSize {
		return nil, fmt.Errorf("reading CRLs: %d bytes, more than %d", len(raw), maxCRLSize)
	}
	blocks := [][]byte{raw}
	if bytes.Contains(raw, []byte("-----BEGIN ")) {
		var err error
		if blocks, err = pemBlocks(raw, "X509 CRL"); err != nil {
			return nil, fmt.Errorf("reading CRLs: %w", err)
		}
	}

	crls := make([]CRL, 0, len(blocks))
	for i, der := range blocks {
		list, err := x509.ParseRevocationList(der)
		if err != nil {
			return nil, fmt.Errorf("reading CRLs: list %d does not parse: %w", i+1, err)
		}
		if len(list.Raw) != len(der) { // the library looks no further than the list's end
			return nil, fmt.Errorf("reading CRLs: list %d has bytes after its end", i+1)
		}
		if err := understood(list); err != nil {
			return nil, fmt.Errorf("reading CRLs: list %d: %w", i+1, err)
		}
		crls = append(crls, CRL{list})
	}
	return crls, nil
}

// understood refuses critical extensions of the list and of its entries: RFC 5280, 5.2 and 5.3.
func understood(list *x509.RevocationList) error {
	for _, e := range list.Extensions {
		if e.Critical {
			return fmt.Errorf("has the critical extension %s, which is not understood", e.Id)
		}
	}
	for _, entry := range list.RevokedCertificateEntries {
		for _, e := range entry.Extensions {
			if e.Critical {
				return fmt.Errorf("has an entry with the critical extension %s, which is not understood", e.Id)
			}
		}
		if hasExtension(entry.Extensions, 2, 5, 29, 29) { // RFC 5280, 5.3.3
			return errors.New("is an indirect CRL: it has an entry of another issuer")
		}
	}
	// RFC 5280, 5.2.4 and 5.2.5: these have to be critical, as that of an entry has, but an issuer may err.
	if hasExtension(list.Extensions, 2, 5, 29, 27) {
		return errors.New("is a delta CRL, give the whole one")
	}
	if hasExtension(list.Extensions, 2, 5, 29, 28) {
		return errors.New("is for a part of the certificates only, give the whole one")
	}
	return nil
}

func hasExtension(extensions []pkix.Extension, id ...int) bool {
	return slices.ContainsFunc(extensions, func(e pkix.Extension) bool { return e.Id.Equal(id) })
}

// revokedError says that a certificate was revoked, which no other way to a root heals.
type revokedError struct{ detail string }

// Error gives the certificate and when it was revoked.
func (e revokedError) Error() string { return e.detail }

// checkRevocation wants a way to a root on which each certificate but the root is on a current list of its issuer as not revoked, and none on any way that is revoked.
func checkRevocation(crls []CRL, ways [][]*x509.Certificate, at time.Time) error {
	if len(crls) == 0 {
		return notAsked("no CRLs were given")
	}
	var uncovered error
	covered := false
	for _, way := range ways {
		err := checkWay(crls, way, at)
		var revoked revokedError
		if errors.As(err, &revoked) {
			return err
		}
		if err == nil {
			covered = true
		} else if uncovered == nil {
			uncovered = err
		}
	}
	if covered {
		return nil
	}
	if uncovered == nil { // whoever calls this found a way, but no way is no reason to pass
		return errors.New("there is no way to a root that revocation lists could speak of")
	}
	return uncovered
}

// checkWay goes from the EK certificate to the last below the root.
func checkWay(crls []CRL, way []*x509.Certificate, at time.Time) error {
	if len(way) == 0 {
		return errors.New("there is no certificate on a way to a root")
	}
	var errs []error
	for i := range len(way) - 1 {
		errs = append(errs, checkStatus(crls, way[i], way[i+1], at))
	}
	return errors.Join(errs...)
}

func checkStatus(crls []CRL, cert, issuer *x509.Certificate, at time.Time) error {
	stale := ""
	found := false
	for _, crl := range crls {
		if !bytes.Equal(crl.list.RawIssuer, issuer.RawSubject) || crl.list.CheckSignatureFrom(issuer) != nil {
			continue
		}
		for _, entry := range crl.list.RevokedCertificateEntries {
			if entry.SerialNumber.Cmp(cert.SerialNumber) == 0 {
				return revokedError{fmt.Sprintf("the certificate %x of %s was revoked on %s",
					cert.SerialNumber, safeText(issuer.Subject.String()), entry.RevocationTime.UTC().Format(time.DateOnly))}
			}
		}
		if at.Before(crl.list.ThisUpdate) || at.After(crl.list.NextUpdate) {
			stale = ", and the one that is given ended on " + crl.list.NextUpdate.UTC().Format(time.DateOnly)
			continue
		}
		found = true
	}
	if !found {
		return fmt.Errorf("there is no current CRL of %s%s: whether it revoked the certificate %x is not known", safeText(issuer.Subject.String()), stale, cert.SerialNumber)
	}
	return nil
}
