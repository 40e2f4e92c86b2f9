package saved

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math"
	"strings"

	"github.com/google/go-tpm/tpm2"

	"github.com/trustpool/trustpool/verifier"
)

// Format is the value of the key "format" in evidence.json.
const Format = "trustpool-evidence/1"

// logPrefix begins the names of the files that hold a log.
const logPrefix = "log-"

// The layout of evidence.json, in the order in which its keys are written.
type (
	index struct {
		Format string  `json:"format"`
		Files  []entry `json:"files"`
		PCRs   []bank  `json:"pcrs"`
		// Binding is there for a bound quote, Aggregation for one that was signed together with others.
		Binding     *binding          `json:"binding,omitempty"`
		Aggregation *aggregation      `json:"aggregation,omitempty"`
		Hints       map[string]string `json:"hints,omitempty"`
	}
	entry struct {
		Name   string       `json:"name"`
		Size   int          `json:"size"`
		SHA256 verifier.Hex `json:"sha256"`
		// Log is the source of the log that the file holds.
		Log string `json:"log,omitempty"`
	}
	bank struct {
		Bank string `json:"bank"`
		PCRs []int  `json:"pcrs"`
	}
)

// encode turns evidence into the files of a folder.
func encode(ev verifier.Evidence) ([]File, error) {
	if n := max(len(ev.AKPublic), len(ev.AKParent)); n > math.MaxUint16 {
		return nil, fmt.Errorf("the AK's public area has %d bytes, too many for a TPM2B_PUBLIC", n)
	}
	if len(ev.Logs) > maxLogs {
		return nil, fmt.Errorf("there are %d logs, more than %d", len(ev.Logs), maxLogs)
	}
	if a := ev.Aggregation; a != nil && max(a.Index, a.Size) > maxAggregate {
		return nil, fmt.Errorf("the quote is %d of %d that were signed together, more than %d", a.Index, a.Size, maxAggregate)
	}
	ix := index{Format: Format, PCRs: []bank{}, Binding: newBinding(ev.Binding), Aggregation: newAggregation(ev.Aggregation), Hints: ev.Hints}
	files := append([]File{
		{FileQuote, ev.Quoted},
		{FileSignature, ev.Signature},
		{FilePCRs, ix.addPCRs(ev.PCRs)},
	}, keyFiles(ev)...)
	if len(ev.Nonce) > 0 {
		files = append(files, File{FileNonce, ev.Nonce})
	}
	for _, f := range files {
		ix.add(f, "")
	}

	for _, l := range ev.Logs {
		f := File{logName(l.Source, files), l.Raw}
		if len(l.Raw) > maxFile {
			return nil, fmt.Errorf("log %q has %d bytes, more than %d", l.Source, len(l.Raw), maxFile)
		}
		files = append(files, f)
		ix.add(f, l.Source)
	}
	text, err := ix.marshal()
	if err != nil {
		return nil, err
	}
	return append(files, File{FileIndex, text}), nil
}

// keyFiles holds what is known of the AK. A key alone goes into ak.pem only where there is no public area to take it from.
func keyFiles(ev verifier.Evidence) []File {
	files := []File{{FileAKPublic, wrap(ev.AKPublic)}}
	key := ev.AKKey
	if len(ev.AKPublic) > 0 {
		key = spki(ev.AKPublic)
	}
	if len(key) > 0 {
		files = append(files, File{FileAKPEM, pem.EncodeToMemory(&pem.Block{Type: pemKey, Bytes: key})})
	}
	var certs []byte
	for _, der := range ev.AKCertificates {
		certs = append(certs, pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: der})...)
	}
	if len(certs) > 0 {
		files = append(files, File{FileAKCertificate, certs})
	}
	if len(ev.AKParent) > 0 {
		files = append(files, File{FileAKParent, wrap(ev.AKParent)})
	}
	return files
}

// wrap puts the size prefix of a TPM2B before a structure.
func wrap(raw []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(raw))), raw...) //nolint:gosec // encode checks
}

func (ix *index) add(f File, log string) {
	sum := sha256.Sum256(f.Data)
	ix.Files = append(ix.Files, entry{Name: f.Name, Size: len(f.Data), SHA256: sum[:], Log: log})
}

// addPCRs notes banks and PCRs and returns the values one after the other.
func (ix *index) addPCRs(banks []verifier.PCRBank) []byte {
	var values []byte
	for _, b := range banks {
		out := bank{Bank: b.Alg.String(), PCRs: []int{}}
		for _, v := range b.Values {
			out.PCRs = append(out.PCRs, v.Index)
			values = append(values, v.Value...)
		}
		ix.PCRs = append(ix.PCRs, out)
	}
	return values
}

func (ix *index) marshal() ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(ix); err != nil {
		return nil, fmt.Errorf("writing %s: %w", FileIndex, err)
	}
	return out.Bytes(), nil
}

// spki returns the key of a public area as a PKIX SubjectPublicKeyInfo, nil if it holds none.
func spki(public []byte) []byte {
	area, err := tpm2.Unmarshal[tpm2.TPMTPublic](public)
	if err != nil {
		return nil
	}
	key, err := tpm2.Pub(*area)
	if err != nil {
		return nil
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil
	}
	return der
}

// logName makes a file name of a log's source, which is the node's word: anything but lower-case letters, digits, dot, dash and underscore becomes a dash. If
// that name is taken, a number is put behind it.
func logName(source string, taken []File) string {
	const most = 64

	clean := strings.Map(func(r rune) rune {
		if isNameRune(r) {
			return r
		}
		return '-'
	}, source)
	clean = clean[:min(len(clean), most)]

	name := logPrefix + clean + ".bin"
	for n := 2; isTaken(taken, name); n++ {
		name = fmt.Sprintf("%s%s-%d.bin", logPrefix, clean, n)
	}
	return name
}

func isTaken(files []File, name string) bool {
	for _, f := range files {
		if f.Name == name {
			return true
		}
	}
	return false
}

func isNameRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '.' || r == '-' || r == '_'
}
