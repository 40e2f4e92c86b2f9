package daemon

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// ServerTLS returns the config of a server that speaks TLS 1.3 only and demands a certificate signed by one of the authorities in clientCA. All three are PEM files.
func ServerTLS(certificate, key, clientCA string) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		return nil, fmt.Errorf("loading the server's certificate and key: %w", err)
	}

	pem, err := os.ReadFile(clientCA) // #nosec G304 -- the operator's config names the file
	if err != nil {
		return nil, fmt.Errorf("loading the client CA: %w", err)
	}

	authorities := x509.NewCertPool()
	if !authorities.AppendCertsFromPEM(pem) {
		return nil, errors.New("loading the client CA: no PEM certificate in " + clientCA)
	}

	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{pair},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    authorities,
	}, nil
}
