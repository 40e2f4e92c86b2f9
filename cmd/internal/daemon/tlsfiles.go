package daemon

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// TLSFiles name what mutual TLS is made of, each as CredentialPath takes it.
type TLSFiles struct {
	// Certificate is the server's chain (PEM), Key its private key (PEM).
	Certificate, Key string
	// Held, if set, takes the place of Key, which is no file then: it returns what signs for the public key of the certificate, or says that it holds another key.
	Held func(crypto.PublicKey) (crypto.Signer, error)
	// ClientCA holds the certificates (PEM) of the authorities that sign clients' certificates. It may be empty only for LoadTokenTLS.
	ClientCA string
	// CRL holds revocation lists of these authorities (PEM, or one in DER). Empty: nobody is revoked.
	CRL string
}

// maxTLSFile bounds each file, in bytes: a CRL with a hundred thousand entries has about 4 MB.
const maxTLSFile = 16 << 20

// CredentialPath returns the file that a config means: the path as it is or, for credential:NAME, what systemd put into $CREDENTIALS_DIRECTORY for a unit that has
// LoadCredential=NAME:... (systemd.exec(5)). Credentials do not change while a service runs: a new one takes a restart.
func CredentialPath(path string) (string, error) {
	name, ok := strings.CutPrefix(path, "credential:")
	if !ok {
		return path, nil
	}

	if name == "" || name == "." || name == ".." || strings.ContainsRune(name, '/') {
		return "", fmt.Errorf("%q names no credential; write credential:NAME", path)
	}

	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	if dir == "" {
		return "", fmt.Errorf("%s: systemd gave no credentials; write LoadCredential=%s:PATH into the unit or, outside of it, set CREDENTIALS_DIRECTORY to the folder that it is in", path, name)
	}

	return filepath.Join(dir, name), nil
}

// load reads all files and makes sure that they fit together. Where clients may have tokens, there need not be a client CA.
func (f TLSFiles) load(tokens bool) (*material, error) {
	if f.ClientCA == "" && !tokens {
		return nil, errors.New("no client CA: without it clients can't be verified, and there is no TLS without that")
	}

	m, digest := &material{}, sha256.New()
	read := func(what, path string) ([]byte, error) {
		content, err := ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("loading %s: %w", what, err)
		}

		sum := sha256.Sum256(content)
		digest.Write(sum[:])

		return content, nil
	}

	certificate, err := read("the server's certificate", f.Certificate)
	if err != nil {
		return nil, err
	}

	if f.Held != nil {
		m.pair, err = heldPair(certificate, f.Held)
	} else {
		var key []byte
		if key, err = read("the server's key", f.Key); err != nil {
			return nil, err
		}

		m.pair, err = tls.X509KeyPair(certificate, key)
	}

	if err != nil {
		return nil, fmt.Errorf("loading the server's certificate and key: %w", err)
	}

	if m.certificate, err = serverCertificate(m.pair); err != nil {
		return nil, fmt.Errorf("loading the server's certificate: %s: %w", f.Certificate, err)
	}

	if err := f.loadClients(m, read); err != nil {
		return nil, err
	}

	digest.Sum(m.digest[:0])

	return m, nil
}

// loadClients reads by what clients are verified. Without a client CA, m accepts none.
func (f TLSFiles) loadClients(m *material, read func(what, path string) ([]byte, error)) error {
	m.authorities = x509.NewCertPool() // nil would mean the system's
	if f.ClientCA == "" {
		return nil
	}

	content, err := read("the client CA", f.ClientCA)
	if err != nil {
		return err
	}

	if m.accepted, err = parseAuthorities(content); err != nil {
		return fmt.Errorf("loading the client CA: %s: %w", f.ClientCA, err)
	}

	for _, authority := range m.accepted {
		m.authorities.AddCert(authority)
	}

	if f.CRL == "" {
		return nil
	}

	if content, err = read("the CRL", f.CRL); err != nil {
		return err
	}

	if m.revoked, err = parseRevocations(content, m.accepted); err != nil {
		return fmt.Errorf("loading the CRL: %s: %w", f.CRL, err)
	}

	return nil
}

// heldPair puts a chain (PEM) together with a key that is in no file.
func heldPair(chain []byte, held func(crypto.PublicKey) (crypto.Signer, error)) (pair tls.Certificate, err error) {
	if pair.Certificate, err = pemBlocks(chain, "CERTIFICATE"); err != nil {
		return tls.Certificate{}, err
	}

	if pair.Leaf, err = x509.ParseCertificate(pair.Certificate[0]); err != nil {
		return tls.Certificate{}, err
	}

	pair.PrivateKey, err = held(pair.Leaf.PublicKey)

	return pair, err
}

// ReadFile reads what a config names, a path or credential:NAME as CredentialPath takes it, up to 16 MiB.
func ReadFile(path string) ([]byte, error) {
	path, err := CredentialPath(path)
	if err != nil {
		return nil, err
	}

	file, err := os.Open(path) // #nosec G304 -- the operator's config names the file
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // read only: nothing to lose

	content, err := io.ReadAll(io.LimitReader(file, maxTLSFile+1))
	if err != nil {
		return nil, err
	}

	if len(content) > maxTLSFile {
		return nil, fmt.Errorf("%s has more than %d bytes", path, maxTLSFile)
	}

	return content, nil
}

// serverCertificate returns the certificate that clients get to see, if it is one for servers.
func serverCertificate(pair tls.Certificate) (*x509.Certificate, error) {
	certificate, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return nil, err
	}

	if !slices.Contains(certificate.ExtKeyUsage, x509.ExtKeyUsageServerAuth) {
		return nil, errors.New("it is not for servers: its extended key usage has no serverAuth, so that clients would refuse it")
	}

	return certificate, nil
}

// parseAuthorities returns the authorities in PEM. Unlike x509.CertPool, it does not pass over what it does not understand.
func parseAuthorities(content []byte) ([]*x509.Certificate, error) {
	blocks, err := pemBlocks(content, "CERTIFICATE")
	if err != nil {
		return nil, err
	}

	var authorities []*x509.Certificate

	for _, der := range blocks {
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}

		if !certificate.BasicConstraintsValid || !certificate.IsCA {
			return nil, fmt.Errorf("the certificate of %q is not an authority's", certificate.Subject)
		}

		authorities = append(authorities, certificate)
	}

	return authorities, nil
}

// pemOrDER returns the blocks of a PEM file, or the whole of another.
func pemOrDER(content []byte, kind string) ([][]byte, error) {
	if !bytes.Contains(content, pemBegin()) {
		return [][]byte{content}, nil
	}

	return pemBlocks(content, kind)
}

// pemBlocks returns the blocks of a PEM file, which all have to be of one kind and whole: pem.Decode passes over what is cut off or damaged, as in a file that is
// just being written.
func pemBlocks(content []byte, kind string) ([][]byte, error) {
	var blocks [][]byte

	for block, rest := pem.Decode(content); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != kind {
			return nil, fmt.Errorf("a PEM block is %q, not %q", block.Type, kind)
		}

		blocks = append(blocks, block.Bytes)
	}

	if begun := bytes.Count(content, pemBegin()); begun == 0 || begun != len(blocks) {
		return nil, fmt.Errorf("of %d PEM blocks, %d are whole", begun, len(blocks))
	}

	return blocks, nil
}

func pemBegin() []byte { return []byte("-----BEGIN ") }
