package verifier

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"
)

// NodeRecordFormat is the value of the key "format" in a node record.
const NodeRecordFormat = "trustpool-node/1"

// NodeRecord is what an enrolment found out about a node: which EK it has, how that was bound to its name, and which AKs speak for it. The zero value trusts no key.
//
// In a file it is a JSON object:
//
//	{
//	  "format": "trustpool-node/1",
//	  "name": "node1.example",
//	  "address": "node1.example:9443",
//	  "enrolled_at": "2026-11-23T06:51:12Z",
//	  "ek_binding": "inventory",
//	  "ek": {"name": "000b<sha256>", "public": "<base64 of TPMT_PUBLIC>", "certificate_serial": "<hex>", "certificate_issuer": "CN=..."},
//	  "ak": [
//	    {"name": "000b<sha256>", "public": "<base64 of TPMT_PUBLIC>", "certificate": "<base64 of DER>"}
//	  ],
//	  "tls_key": "tpm",
//	  "tpm": {"manufacturer": "id:49465800", "model": "SLB9670", "firmware": "id:00070055", "certified": true}
//	}
//
// There is one AK, or two while a rotation is under way. tls_key is "tpm", or "none" if nothing was proven of it. The keys tls_key, certificate_serial, certificate_issuer, certificate and those of tpm may be missing.
type NodeRecord struct {
	// Name is what the operator calls the node, Address where it was reached.
	Name    string
	Address string
	// EnrolledAt is when, to the second.
	EnrolledAt time.Time
	// Binding says what ties EK to Name.
	Binding EKBinding
	// EK is the node's endorsement key: further credentials are made for this one.
	EK EKRecord
	// AKs are the keys that may sign for the node.
	AKs []AKRecord
	// TPMTLSKey says that at the enrolment the key of the node's server certificate was proven to be in this TPM.
	TPMTLSKey bool
	// TPM is what the EK certificate says: for people.
	TPM TPMInfo
}

// EKRecord is an enrolled EK.
type EKRecord struct {
	// Name is the key's Name (Part 1, 16): it always is the Name of Public.
	Name Hex
	// Public is its TPMT_PUBLIC, without a size prefix.
	Public Hex
	// CertificateSerial and CertificateIssuer name its certificate, if that was judged; else nil and "".
	CertificateSerial *big.Int
	CertificateIssuer string
}

// AKRecord is an enrolled AK.
type AKRecord struct {
	// Name is the key's Name (Part 1, 16): it always is the Name of Public.
	Name Hex
	// Public is its TPMT_PUBLIC, without a size prefix.
	Public Hex
	// Certificate is that of the operator's CA (DER) that the node had when it was enrolled; empty if it had none. Not judged.
	Certificate Hex
}

// PublicKey returns the key itself, an *ecdsa.PublicKey or *rsa.PublicKey: what a certificate for the AK has to be of.
func (r *AKRecord) PublicKey() (crypto.PublicKey, error) {
	key, err := parseAK(r.Public)
	if err != nil {
		return nil, err
	}
	signing, err := key.signingKey()
	if err != nil {
		return nil, err
	}
	return signing.publicKey(), nil
}

// known tells whether b is one of the three levels.
func (b EKBinding) known() bool {
	return b == BindingInventory || b == BindingChain || b == BindingFirstUse
}

// Pins returns the node's AKs as a policy takes them.
func (r *NodeRecord) Pins() []AKPin {
	pins := make([]AKPin, 0, len(r.AKs))
	for _, key := range r.AKs {
		pins = append(pins, AKPin{Name: key.Name, Public: key.Public, Binding: r.Binding})
	}
	return pins
}

// Keep returns r with the one AK of that Name, at the end of a rotation. It fails if r does not have it.
func (r NodeRecord) Keep(akName []byte) (NodeRecord, error) {
	i := slices.IndexFunc(r.AKs, func(key AKRecord) bool { return bytes.Equal(key.Name, akName) })
	if i < 0 {
		return NodeRecord{}, fmt.Errorf("the record of %s has no AK with the Name %x", safeText(r.Name), akName)
	}
	r.AKs = []AKRecord{r.AKs[i]}
	return r, nil
}

// with returns r with one AK more, which replaces the one of its Name.
func (r NodeRecord) with(key AKRecord) (NodeRecord, error) {
	others := slices.DeleteFunc(slices.Clone(r.AKs), func(other AKRecord) bool { return bytes.Equal(other.Name, key.Name) })
	if len(others) >= maxAKs {
		return NodeRecord{}, fmt.Errorf("the record of %s has %d AKs already", safeText(r.Name), len(others))
	}
	r.AKs = append(others, key)
	return r, nil
}

// record makes the record of an enrolment that succeeded: a new one, or the old one with one AK more.
func (e *Enrollment) record(address string, at time.Time) (NodeRecord, error) {
	if !e.Enrolled() {
		return NodeRecord{}, errors.New("recording an enrolment that did not succeed")
	}
	key := AKRecord{Name: e.ak.ak.name, Public: bytes.Clone(e.ak.wire.Public), Certificate: bytes.Clone(e.ak.wire.Certificate)}
	if e.recorded != nil {
		r, err := e.recorded.with(key)
		r.TPMTLSKey = err == nil && (r.TPMTLSKey || e.tls.proven())
		return r, err
	}

	r := NodeRecord{
		Name:       e.node,
		Address:    address,
		EnrolledAt: at.UTC().Truncate(time.Second),
		Binding:    e.EKBinding,
		EK:         EKRecord{Name: e.ek.ek.name, Public: e.ek.ek.raw},
		AKs:        []AKRecord{key},
		TPMTLSKey:  e.tls.proven(),
		TPM:        e.TPM,
	}
	if cert := e.ek.certified(); cert != nil {
		r.EK.CertificateSerial, r.EK.CertificateIssuer = cert.SerialNumber, cert.Issuer.String()
	}
	return r, nil
}

// Marshal writes r as a file that ParseNodeRecord reads and a person can read too. It ends with a newline.
func (r NodeRecord) Marshal() ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false) // the file is read by people, never put into a page as it is
	enc.SetIndent("", "  ")
	if err := enc.Encode(newFileNode(r)); err != nil {
		return nil, fmt.Errorf("writing a node record: %w", err)
	}
	return out.Bytes(), nil
}

// MarshalJSON writes r as in a file, on one line.
func (r NodeRecord) MarshalJSON() ([]byte, error) { return json.Marshal(newFileNode(r)) }

// What a file says of the TLS key.
const (
	tlsKeyTPM  = "tpm"
	tlsKeyNone = "none"
)

// The file's layout, in the order in which its keys are written.
type (
	fileNode struct {
		Format     string    `json:"format"`
		Name       string    `json:"name"`
		Address    string    `json:"address"`
		EnrolledAt string    `json:"enrolled_at"`
		EKBinding  EKBinding `json:"ek_binding"`
		EK         fileKey   `json:"ek"`
		AK         []fileKey `json:"ak"`
		TLSKey     string    `json:"tls_key"`
		TPM        TPMInfo   `json:"tpm"`
	}
	fileKey struct {
		Name              Hex    `json:"name"`
		Public            string `json:"public"`
		CertificateSerial string `json:"certificate_serial,omitempty"`
		CertificateIssuer string `json:"certificate_issuer,omitempty"`
		Certificate       string `json:"certificate,omitempty"`
	}
)

func newFileNode(r NodeRecord) fileNode {
	file := fileNode{
		Format: NodeRecordFormat, Name: r.Name, Address: r.Address, EnrolledAt: r.EnrolledAt.UTC().Format(time.RFC3339), EKBinding: r.Binding,
		EK:     fileKey{Name: r.EK.Name, Public: base64.StdEncoding.EncodeToString(r.EK.Public), CertificateIssuer: r.EK.CertificateIssuer},
		TLSKey: tlsKeyNone,
		TPM:    r.TPM,
	}
	if r.TPMTLSKey {
		file.TLSKey = tlsKeyTPM
	}
	if r.EK.CertificateSerial != nil {
		file.EK.CertificateSerial = fmt.Sprintf("%x", r.EK.CertificateSerial)
	}
	for _, key := range r.AKs {
		file.AK = append(file.AK, fileKey{
			Name: key.Name, Public: base64.StdEncoding.EncodeToString(key.Public), Certificate: base64.StdEncoding.EncodeToString(key.Certificate),
		})
	}
	return file
}
