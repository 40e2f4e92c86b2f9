package client

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"time"
)

// CheckServerURI wants a text that Options.ServerURI may have: an absolute URI with an authority (RFC 5280, 4.2.1.6), as it stands in a certificate.
func CheckServerURI(text string) error {
	if uri, err := url.Parse(text); err != nil || uri.Scheme == "" || uri.Host == "" || uri.String() != text {
		return fmt.Errorf("%.128q is no absolute URI, write e.g. spiffe://example.org/node/node1", text)
	}
	return nil
}

// knownByURI has a config, which is changed, verify that the node's certificate is for the URI. crypto/tls can look for host names only: what it verified is verified here, in each handshake.
func knownByURI(config *tls.Config, uri string) {
	roots, also := config.RootCAs, config.VerifyConnection
	config.ServerName = ""
	config.InsecureSkipVerify = true // #nosec G402 -- VerifyConnection takes its place, and is asked whether or not a session is resumed
	config.VerifyConnection = func(state tls.ConnectionState) error {
		if err := verifyURI(state.PeerCertificates, roots, uri, time.Now()); err != nil {
			return fmt.Errorf("checking the node's certificate: %w", err)
		}
		if also != nil {
			return also(state)
		}
		return nil
	}
}

// verifyURI checks a server's chain, leaf first, and that the URI is the only one in its certificate: with several of them it could be known as somebody else elsewhere.
func verifyURI(chain []*x509.Certificate, roots *x509.CertPool, uri string, now time.Time) error {
	if len(chain) == 0 {
		return errors.New("no server certificate")
	}
	leaf, intermediates := chain[0], x509.NewCertPool()
	for _, certificate := range chain[1:] {
		intermediates.AddCert(certificate)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}); err != nil {
		return err
	}
	if len(leaf.URIs) == 0 {
		return fmt.Errorf("it has no URI, and is not for %s", uri)
	}
	if len(leaf.URIs) != 1 || leaf.URIs[0].String() != uri {
		return fmt.Errorf("it is for the URIs %.200v, not for %s alone", leaf.URIs, uri)
	}
	return nil
}
