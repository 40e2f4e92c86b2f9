package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"iter"
	"log/slog"
	"sync"

	"github.com/trustpool/trustpool/cmd/internal/daemon"
	"github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/server/publish"
)

// askedServer is the attestation server, asked with the token and certificates that are in the files now. What can't be used replaces nothing.
type askedServer struct {
	config publish.ServerConfig
	logger *slog.Logger

	mu     sync.Mutex
	digest [sha256.Size]byte // of the files; guarded by mu, as all below
	client *api.Client
	failed string
}

// newAskedServer reads the files for the first time.
func newAskedServer(config publish.ServerConfig, logger *slog.Logger) (*askedServer, error) {
	s := &askedServer{config: config, logger: logger}
	if err := s.read(); err != nil {
		return nil, err
	}
	return s, nil
}

// QueryHosts implements publish.Server.
func (s *askedServer) QueryHosts(ctx context.Context, names []string) ([]api.Host, error) {
	return s.now().QueryHosts(ctx, names)
}

// Events implements publish.Server.
func (s *askedServer) Events(ctx context.Context, after int64) iter.Seq2[api.Event, error] {
	return s.now().Events(ctx, after)
}

// now returns a client by the files as they are now, or else as they last were good.
func (s *askedServer) now() *api.Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	failed := ""
	if err := s.read(); err != nil {
		failed = err.Error()
	}
	if failed != "" && failed != s.failed {
		s.logger.Error("files for asking the attestation server can't be used, the last good ones stay", "error", failed)
	}
	s.failed = failed
	return s.client
}

// read takes over files that have changed. The caller holds the lock, or is alone.
func (s *askedServer) read() error {
	digest := sha256.New()
	contents := make(map[string][]byte)
	for key, path := range map[string]string{"ca": s.config.CA, "token_file": s.config.TokenFile, "certificate": s.config.Certificate, "key": s.config.Key} {
		if path == "" {
			continue
		}
		content, err := daemon.ReadFile(path)
		if err != nil {
			return fmt.Errorf("server.%s: %w", key, err)
		}
		contents[key] = content
	}
	for _, key := range []string{"ca", "token_file", "certificate", "key"} {
		sum := sha256.Sum256(contents[key])
		digest.Write(sum[:])
	}
	sum := [sha256.Size]byte(digest.Sum(nil))
	if s.client != nil && sum == s.digest {
		return nil
	}
	client, err := s.dial(contents)
	if err != nil {
		return err
	}
	if s.client != nil {
		s.client.Close() // calls under way go on
	}
	s.client, s.digest = client, sum
	return nil
}

// dial makes a client of what is in the files. It calls nobody.
func (s *askedServer) dial(contents map[string][]byte) (*api.Client, error) {
	config := api.Config{URL: s.config.URL, ServerName: s.config.ServerName, UserAgent: "trustpool-publisher", Token: string(bytes.TrimSpace(contents["token_file"]))}
	if s.config.TokenFile != "" && config.Token == "" {
		return nil, fmt.Errorf("server.token_file: %s is empty", s.config.TokenFile)
	}
	if s.config.CA != "" {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(contents["ca"]) {
			return nil, fmt.Errorf("server.ca: %s has no certificate in PEM", s.config.CA)
		}
	}
	if s.config.Certificate != "" {
		pair, err := tls.X509KeyPair(contents["certificate"], contents["key"])
		if err != nil {
			return nil, fmt.Errorf("server.certificate: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	client, err := api.NewClient(config)
	if err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	return client, nil
}

// hintPublisher says where to begin if there is no config file.
func hintPublisher(path string, s sink, err error) error {
	return hintSample(path, err, fmt.Sprintf("A commented sample is packaging/trustpool-server/publish-%s.yaml; docs/publish.md says what it needs", s.name))
}
