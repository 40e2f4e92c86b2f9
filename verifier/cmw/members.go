package cmw

import (
	"errors"
	"fmt"
	"strings"

	"github.com/trustpool/trustpool/verifier/eventlog"
	"github.com/trustpool/trustpool/verifier/eventlog/cel"
	"github.com/trustpool/trustpool/verifier/saved"
)

// typeKey is the label under which a collection has its type (RFC 9999, 3.3).
const typeKey = "__cmwc_t"

// indEvidence is the indicator of a record that carries Evidence: bit 2 (RFC 9999, 3.1.1).
const indEvidence = 1 << 2

// Bounds of a collection. A folder of evidence has at most 16 logs and nine other files.
const (
	maxMembers = 32
	maxLabel   = 96
)

// collection is a Collection CMW, of records only.
type collection struct {
	typ     string
	members []member
}

// member is one Record CMW under its label.
type member struct {
	label string
	typ   string
	value []byte
	// ind is 0 if there is no indicator.
	ind uint64
}

// Media types of what a record carries. Those under vnd.trustpool are not registered.
const (
	typeAttest      = "application/vnd.trustpool.tpms-attest"
	typeSignature   = "application/vnd.trustpool.tpmt-signature"
	typePCRs        = "application/vnd.trustpool.pcr-values"
	typePublic      = "application/vnd.trustpool.tpm2b-public"
	typePEM         = "application/vnd.trustpool.public-key-pem"
	typeCertificate = "application/pem-certificate-chain" // RFC 8555, 9.1
	typeNonce       = "application/octet-stream"
	typeIndex       = "application/vnd.trustpool.evidence+json"
	typeLog         = "application/vnd.trustpool.tcg-event-log"
	typeCELTLV      = "application/vnd.trustpool.cel-tlv"
	typeCELJSON     = "application/vnd.trustpool.cel+json"
)

// logPrefix begins the names of the files that hold a log.
const logPrefix = "log-"

// typeOf gives the media type of a file; of a log that of its own form. Empty for a file that is no part of evidence.
func typeOf(name string) string {
	switch name {
	case saved.FileQuote:
		return typeAttest
	case saved.FileSignature:
		return typeSignature
	case saved.FilePCRs:
		return typePCRs
	case saved.FileAKPublic, saved.FileAKParent:
		return typePublic
	case saved.FileAKPEM:
		return typePEM
	case saved.FileAKCertificate:
		return typeCertificate
	case saved.FileNonce:
		return typeNonce
	case saved.FileIndex:
		return typeIndex
	}
	if strings.HasPrefix(name, logPrefix) {
		return typeLog
	}
	return ""
}

// wrap makes a record of a file.
func wrap(file saved.File, logs cel.Format) (member, error) {
	m := member{label: file.Name, typ: typeOf(file.Name), value: file.Data, ind: indEvidence}
	if m.typ != typeLog || logs == cel.FormatUnknown {
		return m, nil
	}
	log, err := eventlog.Parse(file.Data)
	if err != nil {
		return member{}, err
	}
	m.typ = typeCELTLV
	if logs == cel.FormatJSON {
		m.typ = typeCELJSON
	}
	m.value, err = cel.Encode(log, logs)
	return m, err
}

// unwrap is the reverse of wrap.
func (m *member) unwrap() (saved.File, error) {
	want := typeOf(m.label)
	switch {
	case want == "":
		return saved.File{}, errors.New("it is no file of evidence")
	case m.ind != 0 && m.ind != indEvidence:
		return saved.File{}, fmt.Errorf("its indicator is %d, which is not that of Evidence", m.ind)
	case m.typ == want:
		return saved.File{Name: m.label, Data: m.value}, nil
	case want != typeLog || m.typ != typeCELTLV && m.typ != typeCELJSON:
		return saved.File{}, fmt.Errorf("it is of the type %.80q, which is not %s", m.typ, want)
	}

	if f := cel.Detect(m.value); (f == cel.FormatJSON) != (m.typ == typeCELJSON) {
		return saved.File{}, fmt.Errorf("its type is %s, and what it holds is in the form %s", m.typ, f)
	}
	log, err := cel.Decode(m.value)
	if err != nil {
		return saved.File{}, err
	}
	return saved.File{Name: m.label, Data: log.Bytes()}, nil
}

// add takes one more member.
func (c *collection) add(m member) error {
	if len(c.members) == maxMembers {
		return fmt.Errorf("it has more than %d members", maxMembers)
	}
	if len(m.label) > maxLabel {
		return fmt.Errorf("a label has more than %d bytes", maxLabel)
	}
	if len(m.value) == 0 { // base64url-string has one character at least (RFC 9999, collected CDDL)
		return errors.New("it holds nothing")
	}
	c.members = append(c.members, m)
	return nil
}
