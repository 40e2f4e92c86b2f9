package server

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trustpool/trustpool/server/internal/ear"
	"github.com/trustpool/trustpool/server/internal/store"
)

// SigningKey tells of a key that signs verdicts, without its secret.
type SigningKey = ear.KeyInfo

// signingFolder is where the server keeps keys that it made itself.
func (c Config) signingFolder() ear.Folder {
	return ear.Folder{Path: filepath.Join(filepath.Dir(c.Database), "signing-keys"), Lifetime: c.Signing.Lifetime}
}

// newIssuer reads the keys, or makes the first one.
func (s *Server) newIssuer() (err error) {
	failures := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "trustpool_server_signing_key_failures_total",
		Help: "Times that the keys of signed verdicts could not be read; those that were read before stay in use.",
	})
	s.deps.Registerer.MustRegister(failures)
	if s.ring, err = s.openRing(failures.Inc); err != nil {
		return err
	}
	s.issuer, err = ear.New(ear.Config{
		Ring: s.ring, Name: s.config.Signing.Issuer, Build: s.deps.Build, Lifetime: s.config.Signing.Lifetime, Registerer: s.deps.Registerer,
	})
	return err
}

func (s *Server) openRing(failed func()) (*ear.Ring, error) {
	if keys := s.config.Signing.Keys; len(keys) > 0 {
		return ear.OpenFiles(keys, s.deps.ReadFile, s.deps.Logger, failed)
	}
	if store.IsURL(s.config.Database) { // a key of its own would be unknown to the other servers
		s.deps.Logger.Warn("verdicts are not signed: servers that share a database need the same keys, and signing.keys names none")
		return ear.Keyless(), nil
	}
	return ear.OpenFolder(s.config.signingFolder(), s.deps.Logger, failed)
}

// ReloadKeys reads the keys of signed verdicts again, without waiting for somebody who needs one. What can't be used replaces nothing, and was logged.
func (s *Server) ReloadKeys() { _ = s.ring.Reload() }

// CheckSigningKeys tells what is wrong with the keys that a config names. read is as Deps.ReadFile.
func CheckSigningKeys(config Config, read func(string) ([]byte, error)) error {
	if err := ear.CheckFiles(config.Signing.Keys, orDisk(read)); err != nil {
		return fmt.Errorf("signing.keys: %w", err)
	}
	return nil
}

// SigningKeys tells of the keys by which a server with that config signs, in the order in which they sign. read is as Deps.ReadFile.
func SigningKeys(config Config, read func(string) ([]byte, error), now time.Time) ([]SigningKey, error) {
	if len(config.Signing.Keys) > 0 || store.IsURL(config.Database) {
		return ear.FileKeys(config.Signing.Keys, orDisk(read), now)
	}
	return config.signingFolder().Keys(now)
}

// RotateSigningKey makes the next key of a server that makes its keys itself. A server may run: it publishes the key at once, and signs by it from the moment that is returned, so that verifiers know it by
// then. Keys of which no signed verdict can be any more are removed.
func RotateSigningKey(config Config, now time.Time) (SigningKey, error) {
	if store.IsURL(config.Database) {
		return SigningKey{}, errors.New("servers that share a database need the same keys: make one with openssl and name it in signing.keys of each")
	}
	return config.signingFolder().Rotate(now)
}

// orDisk reads files where nobody says otherwise.
func orDisk(read func(string) ([]byte, error)) func(string) ([]byte, error) {
	if read == nil {
		return os.ReadFile
	}
	return read
}
