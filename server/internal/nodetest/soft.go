// Package nodetest has nodes for tests and benchmarks. No product binary imports it.
package nodetest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/binary"
	"fmt"
	"math/big"
	"slices"
	"sync"
	"time"

	"github.com/google/go-tpm/tpm2"

	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/eventlog"
)

// Soft is a node without a TPM: a key in software says everything that a TPM would, and signs each fresh nonce. Ten thousand of them fit into one process. What no check of a quote can
// tell from a TPM, the enrolment tells: such a node can't be enrolled, its record is written by hand.
type Soft struct {
	Name string

	key     *ecdsa.PrivateKey
	public  []byte
	record  verifier.NodeRecord
	mu      sync.Mutex
	events  []event // guarded by mu, as all below
	log     []byte
	resets  uint32
	changed func(*verifier.Evidence)
}

// NewSoft makes a node that booted a hypervisor of that name.
func NewSoft(name, hypervisor string) (*Soft, error) {
	s := &Soft{Name: name, record: verifier.NodeRecord{Name: name, Address: name + ":9443", EnrolledAt: time.Unix(1_800_000_000, 0).UTC(), Binding: verifier.BindingInventory}}
	if err := s.Rekey(); err != nil {
		return nil, err
	}
	ek, err := softArea(true)
	if err != nil {
		return nil, err
	}
	s.record.EK = verifier.EKRecord{Name: nameOf(ek.public), Public: ek.public}
	s.Reboot(hypervisor)
	return s, nil
}

// Rekey gives the node another AK, as if somebody had exchanged its TPM. Record follows.
func (s *Soft) Rekey() error {
	ak, err := softArea(false)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.key, s.public = ak.key, ak.public
	s.record.AKs = []verifier.AKRecord{{Name: nameOf(ak.public), Public: ak.public}}
	return nil
}

// Reboot boots the node anew into a hypervisor of that name; "" launches none.
func (s *Soft) Reboot(hypervisor string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resets++
	s.events = nil
	if hypervisor != "" {
		s.events = []event{
			{17, eventlog.TypeHashStart, "SINIT and EDX"},
			{17, eventlog.TypeMLEHash, "tboot"},
			{18, eventlog.TypeSINITPubkeyHash, "key"},
			{17, eventlog.TypeTbootMeasurement, "policy"},
			{17, eventlog.TypeTbootMeasurement, hypervisor},
		}
	}
	s.log = logBytes(s.events)
}

// Tamper has each further evidence changed after it was signed; nil ends it.
func (s *Soft) Tamper(change func(*verifier.Evidence)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changed = change
}

// Record is the node's record, as an enrolment by an inventory would have made it.
func (s *Soft) Record() *verifier.NodeRecord {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.record
	return &r
}

// KnownGood returns what the node has booted, as a set of PCR 17, 18 and 19.
func (s *Soft) KnownGood() (verifier.KnownGood, error) {
	nonce := make([]byte, 32)
	ev, err := s.Evidence(nonce, verifier.DefaultSelection())
	if err != nil {
		return verifier.KnownGood{}, err
	}
	return verifier.Learn(ev, verifier.Policy{Nonce: nonce, BindMode: verifier.BindBound, Node: s.Record()})
}

// Evidence answers a challenge as the node's agent would over a TLS connection. Of the banks only SHA-256 is there; PCRs of others are left out.
func (s *Soft) Evidence(nonce []byte, selection []verifier.Selection) (verifier.Evidence, error) {
	s.mu.Lock()
	defer s.mu.Unlock()

	bank := verifier.PCRBank{Alg: eventlog.AlgSHA256}
	for _, sel := range selection {
		if sel.Alg != eventlog.AlgSHA256 {
			continue
		}
		for _, index := range slices.Sorted(slices.Values(sel.PCRs)) {
			bank.Values = append(bank.Values, verifier.PCRValue{Index: index, Value: s.pcr(index)})
		}
	}
	digest := sha256.Sum256(s.log)
	ev := verifier.Evidence{
		PCRs: []verifier.PCRBank{bank}, AKPublic: slices.Clone(s.public), Nonce: nonce,
		Logs:    []verifier.Log{{Source: "txt", Raw: slices.Clone(s.log)}},
		Binding: &verifier.Binding{Exporter: make([]byte, 32), Logs: []verifier.BoundLog{{Source: "txt", SHA256: digest[:]}}},
		Hints:   map[string]string{"boot_id": fmt.Sprint(s.resets)},
	}
	ev.Quoted = tpm2.Marshal(s.attestation(bank, boundData(nonce, nameOf(s.public), digest[:])))
	var err error
	if ev.Signature, err = s.sign(ev.Quoted); err != nil {
		return verifier.Evidence{}, fmt.Errorf("signing a quote: %w", err)
	}
	if s.changed != nil {
		s.changed(&ev)
	}
	return ev, nil
}

// pcr extends the events of one PCR. Without a launch, PCR 17 to 22 hold FF.
func (s *Soft) pcr(index int) []byte {
	value := make([]byte, sha256.Size)
	if len(s.events) == 0 && index >= 17 && index <= 22 {
		return slices.Repeat([]byte{0xFF}, sha256.Size)
	}
	for _, e := range s.events {
		if int(e.pcr) == index {
			digest := e.digest()
			next := sha256.Sum256(append(value, digest[:]...))
			value = next[:]
		}
	}
	return value
}

// attestation is the TPMS_ATTEST of a quote (TPM 2.0 Part 2, 10.12.12).
func (s *Soft) attestation(bank verifier.PCRBank, extra []byte) tpm2.TPMSAttest {
	h := sha256.New()
	var indices []uint
	for _, v := range bank.Values {
		h.Write(v.Value)
		indices = append(indices, uint(v.Index))
	}
	return tpm2.TPMSAttest{
		Magic:           tpm2.TPMGeneratedValue,
		Type:            tpm2.TPMSTAttestQuote,
		QualifiedSigner: tpm2.TPM2BName{Buffer: nameOf([]byte{0x40, 0, 0, 0x0B}, nameOf(s.public))}, // Part 1, 16, under TPM_RH_ENDORSEMENT
		ExtraData:       tpm2.TPM2BData{Buffer: extra},
		ClockInfo:       tpm2.TPMSClockInfo{Clock: 1, ResetCount: s.resets, RestartCount: 0, Safe: true},
		Attested: tpm2.NewTPMUAttest(tpm2.TPMSTAttestQuote, &tpm2.TPMSQuoteInfo{
			PCRSelect: tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{{Hash: tpm2.TPMAlgSHA256, PCRSelect: tpm2.PCClientCompatible.PCRs(indices...)}}},
			PCRDigest: tpm2.TPM2BDigest{Buffer: h.Sum(nil)},
		}),
	}
}

func (s *Soft) sign(quoted []byte) ([]byte, error) {
	digest := sha256.Sum256(quoted)
	der, err := s.key.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		return nil, err
	}
	var rs struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &rs); err != nil {
		return nil, err
	}
	return tpm2.Marshal(tpm2.TPMTSignature{SigAlg: tpm2.TPMAlgECDSA, Signature: tpm2.NewTPMUSignature(tpm2.TPMAlgECDSA, &tpm2.TPMSSignatureECC{
		Hash:       tpm2.TPMAlgSHA256,
		SignatureR: tpm2.TPM2BECCParameter{Buffer: rs.R.FillBytes(make([]byte, 32))},
		SignatureS: tpm2.TPM2BECCParameter{Buffer: rs.S.FillBytes(make([]byte, 32))},
	})}), nil
}

// boundData is what a bound quote signs as extraData, as the agent's contract has it for BIND_MODE_BOUND, with one log called txt and a channel binding of zeros.
func boundData(nonce, akName, log []byte) []byte {
	h := sha256.New()
	h.Write([]byte("trustpool-bound-v1\x00"))
	for _, part := range [][]byte{nonce, make([]byte, 32), akName} {
		h.Write(binary.BigEndian.AppendUint16(nil, uint16(len(part)))) //nolint:gosec // a few bytes
		h.Write(part)
	}
	h.Write([]byte("\x00\x01\x00\x03txt"))
	h.Write(log)
	return h.Sum([]byte{0x7B, 0x01})
}

// area is a key in software that claims to be one of a TPM.
type area struct {
	key    *ecdsa.PrivateKey
	public []byte
}

// softArea makes a P-256 key with the public area of an EK or an AK.
func softArea(ek bool) (area, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return area{}, fmt.Errorf("making a key: %w", err)
	}
	point, err := key.PublicKey.Bytes() // SEC 1, 2.3.3: 04, X, Y
	if err != nil {
		return area{}, fmt.Errorf("making a key: %w", err)
	}
	parms := &tpm2.TPMSECCParms{
		Symmetric: tpm2.TPMTSymDefObject{Algorithm: tpm2.TPMAlgNull},
		CurveID:   tpm2.TPMECCNistP256,
		Scheme:    tpm2.TPMTECCScheme{Scheme: tpm2.TPMAlgECDSA, Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgECDSA, &tpm2.TPMSSigSchemeECDSA{HashAlg: tpm2.TPMAlgSHA256})},
		KDF:       tpm2.TPMTKDFScheme{Scheme: tpm2.TPMAlgNull},
	}
	attributes := tpm2.TPMAObject{FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true, UserWithAuth: true, NoDA: true, Restricted: true, SignEncrypt: true}
	if ek {
		attributes.SignEncrypt, attributes.Decrypt = false, true
	}
	return area{key: key, public: tpm2.Marshal(tpm2.TPMTPublic{
		Type: tpm2.TPMAlgECC, NameAlg: tpm2.TPMAlgSHA256, ObjectAttributes: attributes, Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, parms),
		Unique: tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{X: tpm2.TPM2BECCParameter{Buffer: point[1:33]}, Y: tpm2.TPM2BECCParameter{Buffer: point[33:]}}),
	})}, nil
}

// nameOf is a SHA-256 Name (TPM 2.0 Part 1, 16).
func nameOf(parts ...[]byte) []byte {
	h := sha256.New()
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum([]byte{0, 0x0B})
}
