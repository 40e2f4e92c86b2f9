package ear

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/trustpool/trustpool/server/internal/secretfile"
)

const (
	// nameLayout is how the file of a key is called, after the moment (UTC) from which it signs.
	nameLayout = "20060102T150405Z.pem"
	// Lead is how long a new key is published before it signs: verifiers that keep the key set for as long as they are told to have it then.
	Lead = 2 * CacheFor
	// maxKeys bounds what is read.
	maxKeys = 64
	// maxKeyFile bounds a key file, in bytes.
	maxKeyFile = 64 << 10
)

// Folder is where a server keeps keys that it made itself, each in a file that only its user may read. It is no part of the database, nor of its backups.
type Folder struct {
	Path string
	// Lifetime is how long a token holds at most: how long a key is published after the next one took over.
	Lifetime time.Duration
}

// Rotate makes a key that signs from Lead after now on, at once if it is the first, and removes those that no token can be of any more. It returns the new one.
func (f Folder) Rotate(now time.Time) (KeyInfo, error) {
	if !filepath.IsAbs(f.Path) {
		return KeyInfo{}, fmt.Errorf("%q is no absolute path: keys are not put where nobody said", f.Path)
	}
	keys, err := f.load()
	if errors.Is(err, fs.ErrNotExist) {
		keys, err = nil, os.MkdirAll(f.Path, 0o700)
	}
	if err != nil {
		return KeyInfo{}, err
	}
	from := now.UTC().Truncate(time.Second)
	if n := len(keys); n > 0 {
		from = from.Add(Lead)
		if last := keys[n-1].from; !from.After(last) { // it was made while the clock was ahead
			from = last.Add(time.Second)
		}
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return KeyInfo{}, fmt.Errorf("making a signing key: %w", err)
	}
	made, err := newKey(private)
	if err != nil {
		return KeyInfo{}, fmt.Errorf("making a signing key: %w", err)
	}
	made.from = from
	if err := f.write(made); err != nil {
		return KeyInfo{}, fmt.Errorf("keeping a new signing key: %w", err)
	}
	keys = append(keys, made)
	return made.info(useOf(keys, len(keys)-1, f.Lifetime, now)), f.prune(keys, now)
}

// write keeps a key. The file comes into being whole: a server that looks meanwhile sees it, or does not.
func (f Folder) write(k *key) (err error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.private.Key)
	if err != nil {
		return err
	}
	name := filepath.Join(f.Path, k.from.Format(nameLayout))
	file, err := os.CreateTemp(f.Path, ".new-*") // 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(file.Name()) }() // it has another name by then, if all went well
	err = pem.Encode(file, &pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := os.Link(file.Name(), name); err != nil { // unlike a rename it replaces nothing
		return err
	}
	return syncFolder(f.Path)
}

func syncFolder(path string) error {
	folder, err := os.Open(path) // #nosec G304 -- the server's own
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// prune removes the files of keys that are published no more.
func (f Folder) prune(keys []*key, now time.Time) error {
	var errs []error
	for i, k := range keys {
		if useOf(keys, i, f.Lifetime, now) == Past {
			errs = append(errs, os.Remove(filepath.Join(f.Path, k.from.Format(nameLayout))))
		}
	}
	return errors.Join(errs...)
}

// load reads all keys, in the order in which they sign. An error is fs.ErrNotExist if there is no folder yet.
func (f Folder) load() ([]*key, error) {
	entries, err := os.ReadDir(f.Path)
	if err != nil {
		return nil, err
	}
	var keys []*key
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), ".") {
			continue
		}
		path := filepath.Join(f.Path, entry.Name())
		from, err := time.Parse(nameLayout, entry.Name())
		if err != nil {
			return nil, fmt.Errorf("%s is no signing key: its name is not the moment from which it signs, such as %s; move it elsewhere", path, nameLayout)
		}
		if len(keys) == maxKeys {
			return nil, fmt.Errorf("%s has more than %d keys; remove the oldest", f.Path, maxKeys)
		}
		k, err := readKey(path, os.ReadFile)
		if err != nil {
			return nil, err
		}
		k.from = from
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b *key) int { return a.from.Compare(b.from) })
	return keys, nil
}

// readKey reads one, unless others may read it as well.
func readKey(path string, read func(string) ([]byte, error)) (*key, error) {
	content, err := read(path)
	if err == nil && len(content) > maxKeyFile {
		err = fmt.Errorf("it has more than %d bytes", maxKeyFile)
	}
	if err == nil {
		err = secretfile.Check(path)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the signing key %s: %w", path, err)
	}
	k, err := parseKey(content)
	if err != nil {
		return nil, fmt.Errorf("reading the signing key %s: %w", path, err)
	}
	return k, nil
}
