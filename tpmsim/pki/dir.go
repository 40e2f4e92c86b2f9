package pki

import (
	"fmt"
	"os"
	"path/filepath"
)

// WriteDir writes ca.pem, server.pem, server-key.pem, client.pem and
// client-key.pem into dir, which is made if missing and then only its owner's
// (0700). The files are 0600. A nil server or client is left out. Files of the same
// names are replaced, so that a certificate never meets another one's key.
func WriteDir(dir string, ca *CA, server, client *Pair) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("writing certificates: %w", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil { //nolint:gosec // a directory
		return fmt.Errorf("writing certificates: %w", err)
	}

	files := map[string][]byte{"ca.pem": ca.PEM()}
	if server != nil {
		files["server.pem"], files["server-key.pem"] = server.CertPEM, server.KeyPEM
	}
	if client != nil {
		files["client.pem"], files["client-key.pem"] = client.CertPEM, client.KeyPEM
	}
	for name, content := range files {
		if err := replaceFile(filepath.Join(dir, name), content); err != nil {
			return fmt.Errorf("writing certificates: %w", err)
		}
	}
	return nil
}

// replaceFile writes a file that nobody else can read, whatever was there.
func replaceFile(path string, content []byte) error {
	temporary, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(temporary.Name()) //nolint:errcheck // gone if it was renamed

	if _, err := temporary.Write(content); err != nil {
		_ = temporary.Close()
		return err
	}
	if err := temporary.Close(); err != nil {
		return err
	}
	return os.Rename(temporary.Name(), path)
}
