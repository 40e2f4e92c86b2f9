package verifier

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

const maxBundleSize = 4 << 20

// EKRoots are the certificates of TPM makers that an operator trusts. The zero value trusts none.
type EKRoots struct {
	roots         []*x509.Certificate
	intermediates []*x509.Certificate
}

// ParseEKRoots reads a bundle: CERTIFICATE blocks in PEM, one after the other in any order, with or without text between them; at most 4 MiB.
//
// A certificate whose issuer is its own subject is a root: whatever it signed is taken for a genuine TPM. The others are intermediates, which help to find the way to a root and are
// trusted only if they lead to one. So a bundle has at least one root, which an operator compares with what the maker publishes.
func ParseEKRoots(bundle []byte) (EKRoots, error) {
	if len(bundle) > maxBundleSize {
		return EKRoots{}, fmt.Errorf("reading EK roots: %d bytes, more than %d", len(bundle), maxBundleSize)
	}
	blocks, err := pemBlocks(bundle, "CERTIFICATE")
	if err != nil {
		return EKRoots{}, fmt.Errorf("reading EK roots: %w", err)
	}

	var r EKRoots
	for i, der := range blocks {
		cert, err := parseCertificate(der)
		if err != nil {
			return EKRoots{}, fmt.Errorf("reading EK roots: certificate %d %w", i+1, err)
		}
		if !cert.IsCA {
			return EKRoots{}, fmt.Errorf("reading EK roots: certificate %d (%s) is none of a CA", i+1, safeText(cert.Subject.String()))
		}
		if bytes.Equal(cert.RawSubject, cert.RawIssuer) {
			r.roots = append(r.roots, cert)
		} else {
			r.intermediates = append(r.intermediates, cert)
		}
	}
	if len(r.roots) == 0 {
		return EKRoots{}, errors.New("reading EK roots: none of the certificates is a root: add the one that they lead to")
	}
	return r, nil
}

// Empty tells whether r trusts nobody.
func (r *EKRoots) Empty() bool { return len(r.roots) == 0 }

// verify returns all ways from the certificate to a root at the time. The node's own chain may help to find them.
func (r *EKRoots) verify(cert *ekCertificate, chain [][]byte, at time.Time) ([][]*x509.Certificate, error) {
	opts := x509.VerifyOptions{
		Roots:         x509.NewCertPool(),
		Intermediates: x509.NewCertPool(),
		CurrentTime:   at,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageAny}, // checkEKUsage has seen to it
	}
	for _, root := range r.roots {
		opts.Roots.AddCert(root)
	}
	for _, intermediate := range r.intermediates {
		opts.Intermediates.AddCert(intermediate)
	}
	for _, der := range chain[:min(len(chain), maxChain)] {
		if intermediate, err := parseCertificate(der); err == nil { // one that is of no use leads nowhere
			opts.Intermediates.AddCert(intermediate)
		}
	}

	ways, err := cert.Verify(opts)
	if err != nil {
		return nil, fmt.Errorf("the EK certificate of %s does not lead to a root that is trusted: %w", safeText(cert.Issuer.String()), err)
	}
	return ways, nil
}

// pemBlocks returns the contents of all PEM blocks, which all have to be of the one kind and whole.
func pemBlocks(data []byte, kind string) ([][]byte, error) {
	var blocks [][]byte
	begun := bytes.Count(data, []byte("-----BEGIN "))
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			break
		}
		if block.Type != kind {
			return nil, fmt.Errorf("block %d is %q, only %s belongs here", len(blocks)+1, block.Type, kind)
		}
		blocks, data = append(blocks, block.Bytes), rest
	}
	// pem.Decode skips what it can't read.
	if len(blocks) != begun || begun == 0 {
		return nil, fmt.Errorf("%d of %d PEM blocks can be read, all have to, and there has to be one", len(blocks), begun)
	}
	return blocks, nil
}
