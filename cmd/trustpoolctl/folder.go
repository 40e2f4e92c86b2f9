package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/saved"
)

const folderExplanations = `Evidence of others is a folder without evidence.json:
  quote.msg    TPMS_ATTEST or TPM2B_ATTEST (tpm2_quote -m)
  quote.sig    TPMT_SIGNATURE, or a plain signature (tpm2_quote -s)
  quote.pcrs   the plain PCR values in the order of the signed selection (tpm2_quote -o, with -F values)
  ak.pub       the attestation key: TPM2B_PUBLIC; or ak.pem, a PKIX key; or ak.crt, X.509 as PEM or DER
  ek.pub       TPM2B_PUBLIC of the key under which the AK was made, if it is no primary key (tpm2_createak)
  *.bin *.log  the event logs, or those that --log names

An AK of which only ak.pem or ak.crt is there is refused unless the known-good values pin its whole public area: nothing shows that
it is restricted, so that whoever can use it could sign anything. --ak-attributes-by-issuer believes its issuer instead; that shows
in the verdict.`

// folder is how to read evidence from a folder, and how to take it: the flags of the commands that do.
type folder struct {
	nonce    string
	logs     []string
	akCA     string
	byIssuer bool
	flags    func(name string) bool // tells whether a flag was given
}

func (f *folder) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.nonce, "nonce", "", "the nonce, in `hex`, that you asked the evidence in the folder with")
	flags.StringArrayVar(&f.logs, "log", nil, "in a folder of others, an event log: `SOURCE=FILE`; repeat it for each (default: *.bin and *.log)")
	flags.StringVar(&f.akCA, "ak-ca", "", "PEM `file` of the CAs, one of which has to have issued ak.crt; without pinned keys any AK of theirs is taken. This CA must issue nothing but AK certificates; no CRL is looked at")
	flags.BoolVar(&f.byIssuer, "ak-attributes-by-issuer", false, "WEAKER: believe whoever issued or pinned the AK that it is restricted, where nothing shows it")
	f.flags = flags.Changed
}

// unused refuses flags that mean nothing to a live node.
func (f *folder) unused() error {
	if f.flags("nonce") {
		return console.Usagef("--nonce belongs to a saved folder: a live node is challenged with a fresh one")
	}
	for _, name := range []string{"log", "ak-ca", "ak-attributes-by-issuer"} {
		if f.flags(name) {
			return console.Usagef("--%s belongs to a saved folder", name)
		}
	}
	return nil
}

// addTo puts what the flags say into the policy. What is in a folder somebody else may have asked for, so that more PCRs may be signed.
func (f *folder) addTo(policy *verifier.Policy, out *console.Output) (err error) {
	policy.AllowMorePCRs = true
	if f.flags("nonce") {
		if policy.Nonce, err = parseOwnNonce(f.nonce); err != nil {
			return err
		}
	}
	if f.byIssuer {
		out.Warn("--ak-attributes-by-issuer: that the attestation key is restricted to what its TPM measured may go unchecked")
		policy.AKAttributesByIssuer = true
	}
	if f.akCA == "" {
		return nil
	}
	policy.AKIssuers, policy.At = x509.NewCertPool(), time.Now()
	pem, err := os.ReadFile(f.akCA)
	if err != nil {
		return fmt.Errorf("reading the CAs of attestation keys: %w", err)
	}
	if !policy.AKIssuers.AppendCertsFromPEM(pem) {
		return fmt.Errorf("reading the CAs of attestation keys: %s holds no PEM certificate", f.akCA)
	}
	return nil
}

// read reads a folder of ours or of others.
func (f *folder) read(dir string) (verifier.Evidence, error) {
	logs, err := f.logFiles()
	if err != nil {
		return verifier.Evidence{}, err
	}
	if isMessage(dir) {
		if len(logs) > 0 {
			return verifier.Evidence{}, console.Usagef("--log is for a folder of others, and %s is no folder", console.Printable(dir))
		}
		ev, err := readMessage(dir)
		if err != nil {
			return verifier.Evidence{}, console.WithHint(err, "Give a message that trustpoolctl evidence export made, or a folder.")
		}
		return ev, nil
	}
	ev, err := saved.Read(dir)
	switch {
	case errors.Is(err, saved.ErrNoIndex):
		ev, err = saved.ReadForeign(dir, logs)
	case err == nil && len(logs) > 0:
		return verifier.Evidence{}, console.Usagef("--log is for a folder of others: in this one, evidence.json names the logs")
	}
	for _, log := range logs {
		if _, gone := os.Lstat(filepath.Join(dir, log.Name)); err != nil && errors.Is(gone, fs.ErrNotExist) {
			return verifier.Evidence{}, console.WithHint(err, "--log SOURCE=FILE names a file in the folder, and %q is not there.", console.Printable(log.Name))
		}
	}
	if err != nil {
		return verifier.Evidence{}, console.WithHint(err, "Give a folder that trustpoolctl quote --out made, or see --help for what has to be in one of others.")
	}
	return ev, nil
}

// logFiles reads the values of --log.
func (f *folder) logFiles() ([]saved.LogFile, error) {
	var files []saved.LogFile
	for _, text := range f.logs {
		source, name, found := strings.Cut(text, "=")
		if !found || source == "" || name == "" {
			return nil, console.Usagef("--log: %q is no log, write SOURCE=FILE", console.Printable(text))
		}
		if slices.ContainsFunc(files, func(other saved.LogFile) bool { return other.Source == source }) {
			return nil, console.Usagef("--log: two logs are called %q", console.Printable(source))
		}
		files = append(files, saved.LogFile{Source: source, Name: name})
	}
	return files, nil
}
