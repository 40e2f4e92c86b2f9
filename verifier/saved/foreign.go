package saved

import (
	"bytes"
	"encoding/asn1"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/google/go-tpm/tpm2"

	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/eventlog"
)

// maxKeyFile bounds a file with a key or with certificates.
const maxKeyFile = 64 << 10

// LogFile names a log in a folder that Write did not make.
type LogFile struct {
	// Source is what the log shall be called.
	Source string
	// Name is its file, in the folder.
	Name string
}

// ReadForeign reads evidence that others keep in dir, such as what tpm2_quote wrote: no evidence.json says what is what.
//
//	quote.msg             TPMS_ATTEST, or TPM2B_ATTEST (tpm2_quote -m)
//	quote.sig             TPMT_SIGNATURE, or a plain one: RSA, or ECDSA in DER (tpm2_quote -s)
//	quote.pcrs            the values one after the other, in the order of the signed selection (tpm2_quote -o, with -F values)
//	ak.pub ak.pem ak.crt  the AK, in one form or several: TPM2B_PUBLIC, a PKIX key as PEM, X.509 certificates as PEM or DER with the AK's own first
//	ek.pub                TPM2B_PUBLIC of the key under which the AK was made, if it is no primary key itself
//	*.bin *.log           the event logs, each named after its file. If logs is not empty, these and no others. Padding after their end is cut off
//
// A nonce in the folder is left alone: only one of the caller's own counts. ErrAltered is in no error: what can't be
// read may never have been evidence.
func ReadForeign(dir string, logs []LogFile) (verifier.Evidence, error) {
	ev, err := readForeign(dir, logs)
	if _, ok := errors.AsType[unfit](err); ok {
		return verifier.Evidence{}, fmt.Errorf("the folder %s can't be read as evidence: %w", dir, err)
	}
	if err != nil {
		return verifier.Evidence{}, fmt.Errorf("reading evidence in %s: %w", dir, err)
	}
	return ev, nil
}

func readForeign(dir string, logs []LogFile) (ev verifier.Evidence, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return verifier.Evidence{}, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()

	var values []byte
	for name, to := range map[string]*[]byte{FileQuote: &ev.Quoted, FileSignature: &ev.Signature, FilePCRs: &values} {
		if *to, err = readFile(root, name, maxKeyFile); err != nil {
			return verifier.Evidence{}, err
		}
	}
	ev.Quoted, ev.Signature = withoutSize(ev.Quoted), withScheme(ev.Signature)
	if ev.PCRs, err = splitSigned(ev.Quoted, values); err != nil {
		return verifier.Evidence{}, err
	}
	if err := readForeignKeys(root, &ev); err != nil {
		return verifier.Evidence{}, err
	}
	ev.Logs, err = readLogs(root, logs)
	return ev, err
}

// withoutSize takes the size off a TPM2B_ATTEST. A TPMS_ATTEST begins with TPM_GENERATED_VALUE, FF 54 43 47 (TPM 2.0 Part 2, 6.2), and no attestation has FF54 bytes.
func withoutSize(quoted []byte) []byte {
	if inner, err := unwrap(quoted); err == nil && bytes.HasPrefix(inner, []byte("\xFFTCG")) {
		return inner
	}
	return quoted
}

// withScheme makes a TPMT_SIGNATURE of a plain signature: one by RSA has 256 bytes and would have more as a TPMT_SIGNATURE, one by ECDSA is an ASN.1
// sequence. The hash is the one that the verifier takes with such a key; it refuses if it is not.
func withScheme(sig []byte) []byte {
	const rsa2048 = 256

	if len(sig) == rsa2048 {
		return tpm2.Marshal(tpm2.TPMTSignature{SigAlg: tpm2.TPMAlgRSASSA, Signature: tpm2.NewTPMUSignature(tpm2.TPMAlgRSASSA,
			&tpm2.TPMSSignatureRSA{Hash: tpm2.TPMAlgSHA256, Sig: tpm2.TPM2BPublicKeyRSA{Buffer: sig}})})
	}
	var rs struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(sig, &rs); err != nil || len(rest) > 0 || rs.R.Sign() <= 0 || rs.S.Sign() <= 0 {
		return sig
	}
	hash, size := tpm2.TPMAlgSHA256, 32
	if max(rs.R.BitLen(), rs.S.BitLen()) > 256 {
		hash, size = tpm2.TPMAlgSHA384, 48
	}
	if max(rs.R.BitLen(), rs.S.BitLen()) > 8*size {
		return sig
	}
	return tpm2.Marshal(tpm2.TPMTSignature{SigAlg: tpm2.TPMAlgECDSA, Signature: tpm2.NewTPMUSignature(tpm2.TPMAlgECDSA, &tpm2.TPMSSignatureECC{
		Hash:       hash,
		SignatureR: tpm2.TPM2BECCParameter{Buffer: rs.R.FillBytes(make([]byte, size))},
		SignatureS: tpm2.TPM2BECCParameter{Buffer: rs.S.FillBytes(make([]byte, size))},
	})})
}

// splitSigned cuts the values apart by the selection that is signed. Without a quote that can be read there are none: the verifier says what is wrong with it.
func splitSigned(quoted, values []byte) ([]verifier.PCRBank, error) {
	attest, err := tpm2.Unmarshal[tpm2.TPMSAttest](quoted)
	if err != nil {
		return nil, nil //nolint:nilerr // see above
	}
	info, err := attest.Attested.Quote()
	if err != nil {
		return nil, nil //nolint:nilerr // see above
	}

	var named []bank
	for _, s := range info.PCRSelect.PCRSelections {
		b := bank{Bank: eventlog.Alg(s.Hash).String()}
		// TPM 2.0 Part 2, 10.6.1: PCR n is bit n mod 8 of octet n / 8.
		for n := range 8 * len(s.PCRSelect) {
			if s.PCRSelect[n/8]&(1<<(n%8)) != 0 {
				b.PCRs = append(b.PCRs, n)
			}
		}
		named = append(named, b)
	}
	banks, err := split(named, values, FileQuote)
	if err != nil {
		return nil, fmt.Errorf("%w (tpm2_quote writes the plain values with -F values)", err)
	}
	return banks, nil
}

// readForeignKeys takes every form of the AK that is there; the verifier compares them.
func readForeignKeys(root *os.Root, ev *verifier.Evidence) error {
	found := false
	for _, name := range []string{FileAKPublic, FileAKPEM, FileAKCertificate} {
		data, err := readFile(root, name, maxKeyFile)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		found = true
		if err := addKey(ev, data); err != nil {
			return unfitf("%s: %v", name, err)
		}
	}
	if !found {
		return fmt.Errorf("there is no attestation key, neither %s nor %s nor %s: %w", FileAKPublic, FileAKPEM, FileAKCertificate, fs.ErrNotExist)
	}

	parent, err := readFile(root, FileAKParent, maxKeyFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if ev.AKParent, err = unwrap(parent); err != nil {
		return unfitf("%s is no TPM2B_PUBLIC: %v", FileAKParent, err)
	}
	return nil
}

// readLogs reads the named logs, or else all that look like one.
func readLogs(root *os.Root, named []LogFile) ([]verifier.Log, error) {
	if len(named) == 0 {
		var err error
		if named, err = findLogs(root); err != nil {
			return nil, err
		}
	}
	if len(named) > maxLogs {
		return nil, fmt.Errorf("there are %d logs, more than %d", len(named), maxLogs)
	}

	total := 0
	logs := make([]verifier.Log, 0, len(named))
	for _, l := range named {
		if slices.ContainsFunc(logs, func(other verifier.Log) bool { return other.Source == l.Source }) {
			return nil, unfitf("two logs are called %q", l.Source)
		}
		raw, err := readFile(root, l.Name, maxFile)
		if err != nil {
			return nil, err
		}
		if total += len(raw); total > maxTotal {
			return nil, unfitf("the logs have %d bytes together, more than %d", total, maxTotal)
		}
		if end, err := eventlog.Trim(raw); err == nil { // else the verifier says what is wrong with it
			raw = raw[:end]
		}
		logs = append(logs, verifier.Log{Source: l.Source, Raw: raw})
	}
	return logs, nil
}

func findLogs(root *os.Root) ([]LogFile, error) {
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return nil, err
	}
	var logs []LogFile
	for _, e := range entries {
		ending := path.Ext(e.Name())
		if !e.IsDir() && slices.Contains([]string{".bin", ".log"}, ending) {
			stem := strings.TrimSuffix(e.Name(), ending)
			logs = append(logs, LogFile{Source: strings.TrimPrefix(stem, logPrefix), Name: e.Name()})
		}
	}
	return logs, nil
}

// isTPM2B tells whether raw is one structure with its size before it.
func isTPM2B(raw []byte) bool {
	return len(raw) > 2 && int(binary.BigEndian.Uint16(raw)) == len(raw)-2
}
