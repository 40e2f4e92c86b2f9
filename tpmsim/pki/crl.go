package pki

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"
)

// CRL returns the authority's revocation list (PEM), good for a day, with these certificates on it.
func (ca *CA) CRL(revoked ...*Pair) ([]byte, error) {
	now := time.Now()
	list := &x509.RevocationList{Number: big.NewInt(now.UnixNano()), ThisUpdate: now.Add(-backdated), NextUpdate: now.Add(lifetime)}

	for _, pair := range revoked {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{
			SerialNumber: pair.Certificate.Leaf.SerialNumber, RevocationTime: now,
		})
	}

	der, err := x509.CreateRevocationList(rand.Reader, list, ca.cert, ca.key)
	if err != nil {
		return nil, fmt.Errorf("making a revocation list: %w", err)
	}

	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}), nil
}
