//go:build vm

package vmtest_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// manufacture has swtpm_setup make a TPM as a vendor does, with EKs, their certificates in NV, and a SHA-256 bank alone, and returns the file with its CAs' certificates.
func manufacture(ctx context.Context, dir, state string) (roots string, err error) {
	ca := filepath.Join(dir, "ek-ca")
	if err := os.Mkdir(ca, 0o700); err != nil {
		return "", err
	}

	in := func(name string) string { return filepath.Join(ca, name) }

	for name, text := range map[string]string{
		"ca.conf": fmt.Sprintf("statedir = %s\nsigningkey = %s\nissuercert = %s\ncertserial = %s\n", ca, in("key.pem"), in("issuer.pem"), in("serial")),
		"options": "--platform-manufacturer trustpool\n--platform-version 1\n--platform-model vmtest\n",
		"setup.conf": fmt.Sprintf("create_certs_tool = /usr/bin/swtpm_localca\ncreate_certs_tool_config = %s\ncreate_certs_tool_options = %s\n",
			in("ca.conf"), in("options")),
	} {
		if err := os.WriteFile(in(name), []byte(text), 0o600); err != nil {
			return "", err
		}
	}

	if _, err := command(ctx, "swtpm_setup", "--tpm2", "--tpmstate", state, "--config", in("setup.conf"), "--create-ek-cert", "--create-platform-cert",
		"--lock-nvram", "--pcr-banks", "sha256"); err != nil {
		return "", fmt.Errorf("manufacturing the TPM (package swtpm-tools): %w", err)
	}

	var bundle []byte

	for _, name := range []string{"swtpm-localca-rootca-cert.pem", "issuer.pem"} {
		certificate, err := os.ReadFile(in(name))
		if err != nil {
			return "", err
		}

		bundle = append(bundle, certificate...)
	}

	roots = filepath.Join(dir, "ek-roots.pem")

	return roots, os.WriteFile(roots, bundle, 0o600)
}
