package daemon

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// ClientFiles name what a daemon shows when it calls others, each as CredentialPath takes it.
type ClientFiles struct {
	// Certificate is the client's chain (PEM), Key its private key (PEM).
	Certificate, Key string
	// CA holds the certificates (PEM) of the authorities that sign the certificates of those who are called.
	CA string
}

// ClientTLS is a client's side of mutual TLS 1.3, from files that may change. What can't be used replaces nothing.
type ClientTLS struct {
	files  ClientFiles
	logger *slog.Logger

	mu     sync.Mutex
	digest [sha256.Size]byte // guarded by mu, as all below
	config *tls.Config
	end    time.Time
	failed string
}

// LoadClientTLS reads the files for the first time. The logger gets what becomes of later readings.
func LoadClientTLS(files ClientFiles, logger *slog.Logger) (*ClientTLS, error) {
	c := &ClientTLS{files: files, logger: logger}

	if err := c.read(); err != nil {
		return nil, err
	}

	return c, nil
}

// Config returns a config by the files as they are now, or else as they last were good. It is for one connection, or for several at the same time; the caller clones it before it changes it.
func (c *ClientTLS) Config() (*tls.Config, error) {
	c.mu.Lock()
	defer c.mu.Unlock()

	err := c.read()
	if err != nil && err.Error() != c.failed {
		c.logger.Error("TLS files for calls can't be used, the last good ones stay", "error", err)
	}

	c.failed = ""
	if err != nil {
		c.failed = err.Error()
	}

	return c.config, nil
}

// read takes over files that have changed. The caller holds the lock.
func (c *ClientTLS) read() error {
	digest := sha256.New()
	contents := make(map[string][]byte)

	for _, path := range []string{c.files.Certificate, c.files.Key, c.files.CA} {
		content, err := ReadFile(path)
		if err != nil {
			return fmt.Errorf("loading TLS files for calls: %w", err)
		}

		sum := sha256.Sum256(content)
		digest.Write(sum[:])
		contents[path] = content
	}

	sum := [sha256.Size]byte(digest.Sum(nil))
	if c.config != nil && sum == c.digest {
		return nil
	}

	pair, err := tls.X509KeyPair(contents[c.files.Certificate], contents[c.files.Key])
	if err != nil {
		return fmt.Errorf("loading the client certificate and key: %w", err)
	}

	// What Go's own clients do not look at, and servers do.
	if !slices.Contains(pair.Leaf.ExtKeyUsage, x509.ExtKeyUsageClientAuth) {
		return errors.New("loading the client certificate: it is not for clients: its extended key usage has no clientAuth, so that servers would refuse it")
	}

	authorities, err := parseAuthorities(contents[c.files.CA])
	if err != nil {
		return fmt.Errorf("loading the CA of those who are called: %s: %w", c.files.CA, err)
	}

	roots := x509.NewCertPool()
	for _, authority := range authorities {
		roots.AddCert(authority)
	}

	c.digest, c.end = sum, pair.Leaf.NotAfter
	c.config = &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair}, RootCAs: roots}

	return nil
}

// Register shows the certificate's end in the daemon's metrics, whose prefix is name; what names those who are called.
func (c *ClientTLS) Register(registerer prometheus.Registerer, name, what string) {
	registerer.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: name + "_" + what + "_tls_certificate_not_after_timestamp_seconds",
		Help: "When the client certificate for calls ends, in Unix time.",
	}, func() float64 {
		c.mu.Lock()
		defer c.mu.Unlock()

		return float64(c.end.Unix())
	}))
}
