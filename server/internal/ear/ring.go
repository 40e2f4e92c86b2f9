package ear

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	// CacheFor is how long verifiers may keep the key set.
	CacheFor = 5 * time.Minute
	// lookEvery is how often the files are read again, when somebody asks.
	lookEvery = 10 * time.Second
)

// Use is what a key is for now.
type Use string

// The uses of keys.
const (
	// Signing: new tokens are of this key.
	Signing Use = "signing"
	// Upcoming: it will sign, and is published already.
	Upcoming Use = "upcoming"
	// Published: it signs no more, but tokens of it may still hold; or the configuration has it after the first.
	Published Use = "published"
	// Past: no token of it can hold any more, and it is not published.
	Past Use = "past"
)

// KeyInfo tells of a key without its secret.
type KeyInfo struct {
	// ID is the RFC 7638 thumbprint of the public key, in base64url: the kid of tokens and of the key set.
	ID string
	// Algorithm is ES256, ES384 or EdDSA.
	Algorithm string
	Use       Use
	// From is when it begins, or began, to sign; zero for keys that the configuration names.
	From time.Time
}

func (k *key) info(use Use) KeyInfo {
	return KeyInfo{ID: k.id(), Algorithm: k.private.Algorithm, Use: use, From: k.from}
}

// useOf tells what the i-th of keys is for, which are in the order in which they sign. Those without a time are all published, and the first signs.
func useOf(keys []*key, i int, lifetime time.Duration, now time.Time) Use {
	if keys[i].from.IsZero() {
		if i == 0 {
			return Signing
		}
		return Published
	}
	begun := !keys[i].from.After(now) || i == 0 // something has to sign, even if the clock was set back
	isLast := i == len(keys)-1
	switch {
	case !begun:
		return Upcoming
	case isLast || keys[i+1].from.After(now):
		return Signing
	case now.Before(keys[i+1].from.Add(lifetime + lookEvery + time.Minute)): // other processes notice a little later
		return Published
	default:
		return Past
	}
}

// Ring holds the keys, and reads them again when their files change. It is safe for concurrent use. Make one with OpenFolder or OpenFiles.
type Ring struct {
	load     func() ([]*key, error)
	lifetime time.Duration
	logger   *slog.Logger
	failed   func()

	mu     sync.Mutex
	keys   []*key    // guarded by mu, as all below
	looked time.Time // when the files were read last
	told   string    // the last thing that was logged
}

// OpenFolder takes the keys in a folder. If there is none it makes the first.
func OpenFolder(folder Folder, logger *slog.Logger, failed func()) (*Ring, error) {
	keys, err := folder.load()
	if err == nil && len(keys) == 0 || errors.Is(err, fs.ErrNotExist) {
		_, err = folder.Rotate(time.Now())
	}
	if err != nil {
		return nil, err
	}
	return open(&Ring{load: folder.load, lifetime: folder.Lifetime, logger: logger, failed: failed})
}

// OpenFiles takes keys that the configuration names: the first signs, all are published.
func OpenFiles(paths []string, read func(string) ([]byte, error), logger *slog.Logger, failed func()) (*Ring, error) {
	return open(&Ring{load: func() ([]*key, error) { return loadFiles(paths, read) }, logger: logger, failed: failed})
}

// ErrNoKeys says that the server has no key to sign by.
var ErrNoKeys = errors.New("there is no key to sign verdicts by")

// Keyless returns a Ring that signs nothing, for a server that was given no keys and can't make any that its fellows know.
func Keyless() *Ring {
	return &Ring{load: func() ([]*key, error) { return nil, nil }, logger: slog.New(slog.DiscardHandler), failed: func() {}}
}

// CheckFiles tells what is wrong with keys that a configuration names, without using them.
func CheckFiles(paths []string, read func(string) ([]byte, error)) error {
	_, err := loadFiles(paths, read)
	return err
}

// FileKeys tells of keys that a configuration names.
func FileKeys(paths []string, read func(string) ([]byte, error), now time.Time) ([]KeyInfo, error) {
	keys, err := loadFiles(paths, read)
	return infos(keys, 0, now), err
}

// Keys tells of the keys in the folder, those that are past included.
func (f Folder) Keys(now time.Time) ([]KeyInfo, error) {
	keys, err := f.load()
	return infos(keys, f.Lifetime, now), err
}

func infos(keys []*key, lifetime time.Duration, now time.Time) []KeyInfo {
	all := make([]KeyInfo, len(keys))
	for i, k := range keys {
		all[i] = k.info(useOf(keys, i, lifetime, now))
	}
	return all
}

func loadFiles(paths []string, read func(string) ([]byte, error)) ([]*key, error) {
	keys := make([]*key, 0, len(paths))
	for _, path := range paths {
		k, err := readKey(path, read)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, nil
}

func open(r *Ring) (*Ring, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r, r.reload(time.Now())
}

// Reload reads the files now. What can't be used replaces nothing.
func (r *Ring) Reload() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.reload(time.Now())
}

func (r *Ring) reload(now time.Time) error {
	r.looked = now
	keys, err := r.load()
	if err == nil && len(keys) == 0 {
		err = errors.New("there is no signing key any more")
	}
	if err != nil {
		r.failed()
		if r.told != err.Error() {
			r.told = err.Error()
			r.logger.Error("signing keys can't be read; those that were read before stay in use", "error", err)
		}
		return fmt.Errorf("reading the signing keys: %w", err)
	}
	r.keys = keys
	ids := make([]string, len(keys))
	for i, k := range keys {
		ids[i] = k.id()
	}
	if told := strings.Join(ids, " "); r.told != told {
		r.told = told
		r.logger.Info("signing keys were read", "kid", told)
	}
	return nil
}

// with calls do for each key and what it is for now.
func (r *Ring) with(now time.Time, do func(*key, Use)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.looked).Abs() >= lookEvery {
		_ = r.reload(now) // it was logged
	}
	for i, k := range r.keys {
		do(k, useOf(r.keys, i, r.lifetime, now))
	}
}

// JWKS is the set of public keys (RFC 7517, 5) by which tokens are verified.
func (r *Ring) JWKS(now time.Time) ([]byte, error) {
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	r.with(now, func(k *key, use Use) {
		if use != Past {
			set.Keys = append(set.Keys, k.private.Public())
		}
	})
	raw, err := json.Marshal(set)
	if err != nil {
		return nil, fmt.Errorf("writing the key set: %w", err)
	}
	return append(raw, '\n'), nil
}

// sign signs a payload by the key whose turn it is.
func (r *Ring) sign(payload []byte, now time.Time) (string, error) {
	var signer jose.Signer
	r.with(now, func(k *key, use Use) {
		if use == Signing {
			signer = k.signer
		}
	})
	if signer == nil {
		return "", fmt.Errorf("signing a verdict: %w", ErrNoKeys)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("signing a verdict: %w", err)
	}
	return signed.CompactSerialize()
}
