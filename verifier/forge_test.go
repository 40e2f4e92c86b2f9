package verifier_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/binary"
	"math/big"
	"slices"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/eventlog"
)

// forgery is a software key that signs whatever a test wants to see refused. Its evidence as it comes is good: what no check can tell from a TPM's is for
// the enrolment of the AK to tell.
type forgery struct {
	key    *ecdsa.PrivateKey
	public []byte
	nonce  []byte
	events []logEvent
	more   []int              // PCRs below 17 that are signed too
	known  verifier.KnownGood // what is learned of the good evidence

	attest func(*tpm2.TPMSAttest)                     // changes what is signed
	pcrs   func([]verifier.PCRBank)                   // changes values before they are signed
	info   func(*tpm2.TPMSQuoteInfo)                  // changes selection or digest
	sign   func(*tpm2.TPMSSignatureECC, *[]byte)      // changes the signature
	area   func(*tpm2.TPMTPublic, *tpm2.TPMSECCParms) // changes the AK's public area before its Name is taken
	made   func(*tpm2.TPMSCreationData)               // changes what is certified of how the AK was made
}

// logEvent is one event of a log with a SHA-1 and a SHA-256 bank.
type logEvent struct {
	pcr  uint32
	typ  eventlog.EventType
	data []byte
	what string // measured if there is no data
	raw  []byte // extended as it is, in place of a digest
}

func newForgery(t testing.TB) *forgery {
	t.Helper()
	// The same key in each process: the workers of a fuzz test have to understand each other's evidence.
	scalar := sha256.Sum256([]byte("a key that everybody knows"))
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar[:])
	if err != nil {
		t.Fatal(err)
	}
	f := &forgery{key: key, nonce: []byte("a nonce that everybody can guess"), events: []logEvent{
		{pcr: 17, typ: eventlog.TypeHashStart, data: []byte("SINIT and EDX")},
		{pcr: 17, typ: eventlog.TypeMLEHash, what: "tboot"},
		{pcr: 18, typ: eventlog.TypeSINITPubkeyHash, what: "key"},
		{pcr: 17, typ: eventlog.TypeTbootMeasurement, what: "policy"},
		{pcr: 17, typ: eventlog.TypeTbootMeasurement, what: "hypervisor"},
		{pcr: 17, typ: eventlog.TypeTbootMeasurement, what: "initrd"},
	}}
	f.known = learn(t, f.evidence(t))
	return f
}

// evidence makes evidence with the changes that are set.
func (f *forgery) evidence(t testing.TB) verifier.Evidence {
	t.Helper()
	f.makePublic(t)
	banks := []verifier.PCRBank{{Alg: eventlog.AlgSHA256}}
	for _, p := range f.selection() {
		banks[0].Values = append(banks[0].Values, verifier.PCRValue{Index: p, Value: pcrValue(f.events, p)})
	}
	if f.pcrs != nil {
		f.pcrs(banks)
	}

	quoted := tpm2.Marshal(f.attestation(banks))
	return verifier.Evidence{
		Quoted: quoted, Signature: f.signature(t, quoted), PCRs: banks, AKPublic: f.public, Nonce: f.nonce,
		Logs: []verifier.Log{{Source: "txt", Raw: logBytes(f.events)}},
	}
}

// selection is the PCRs that are signed.
func (f *forgery) selection() []int { return append(slices.Clone(f.more), 17, 18, 19) }

func (f *forgery) selected() []uint {
	var indices []uint
	for _, p := range f.selection() {
		indices = append(indices, uint(p))
	}
	return indices
}

func (f *forgery) makePublic(t testing.TB) {
	t.Helper()
	area := p256().template
	parms, err := area.Parameters.ECCDetail()
	if err != nil {
		t.Fatal(err)
	}
	if f.area != nil {
		f.area(&area, parms)
	}
	area.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
		X: tpm2.TPM2BECCParameter{Buffer: f.key.X.FillBytes(make([]byte, 32))},
		Y: tpm2.TPM2BECCParameter{Buffer: f.key.Y.FillBytes(make([]byte, 32))},
	})
	f.public = tpm2.Marshal(area)
}

func (f *forgery) attestation(banks []verifier.PCRBank) tpm2.TPMSAttest {
	h := sha256.New()
	for _, v := range banks[0].Values {
		h.Write(v.Value)
	}
	info := &tpm2.TPMSQuoteInfo{
		PCRSelect: tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{
			{Hash: tpm2.TPMAlgSHA256, PCRSelect: tpm2.PCClientCompatible.PCRs(f.selected()...)},
		}},
		PCRDigest: tpm2.TPM2BDigest{Buffer: h.Sum(nil)},
	}
	if f.info != nil {
		f.info(info)
	}
	attest := tpm2.TPMSAttest{
		Magic:           tpm2.TPMGeneratedValue,
		Type:            tpm2.TPMSTAttestQuote,
		QualifiedSigner: tpm2.TPM2BName{Buffer: nameOf([]byte{0x40, 0, 0, 0x0B}, nameOf(f.public))},
		ExtraData:       tpm2.TPM2BData{Buffer: f.nonce},
		ClockInfo:       tpm2.TPMSClockInfo{Clock: 1, ResetCount: 2, RestartCount: 1, Safe: true},
		Attested:        tpm2.NewTPMUAttest(tpm2.TPMSTAttestQuote, info),
	}
	if f.attest != nil {
		f.attest(&attest)
	}
	return attest
}

func (f *forgery) signature(t testing.TB, quoted []byte) []byte {
	t.Helper()
	digest := sha256.Sum256(quoted)
	der, err := f.key.Sign(nil, digest[:], crypto.SHA256) // without randomness: RFC 6979
	if err != nil {
		t.Fatal(err)
	}
	var rs struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &rs); err != nil {
		t.Fatal(err)
	}
	ecc := &tpm2.TPMSSignatureECC{
		Hash:       tpm2.TPMAlgSHA256,
		SignatureR: tpm2.TPM2BECCParameter{Buffer: rs.R.FillBytes(make([]byte, 32))},
		SignatureS: tpm2.TPM2BECCParameter{Buffer: rs.S.FillBytes(make([]byte, 32))},
	}
	var whole []byte
	if f.sign != nil {
		f.sign(ecc, &whole)
	}
	if whole != nil {
		return whole
	}
	return tpm2.Marshal(tpm2.TPMTSignature{SigAlg: tpm2.TPMAlgECDSA, Signature: tpm2.NewTPMUSignature(tpm2.TPMAlgECDSA, ecc)})
}

// repin makes the policy take the forgery's key as it is now.
func (f *forgery) repin() {
	f.known.AKs = []verifier.AKPin{{Name: nameOf(f.public), Public: f.public, Binding: verifier.BindingFirstUse}}
}

// nameOf is a SHA-256 Name. TPM 2.0 Part 1, 16.
func nameOf(parts ...[]byte) []byte {
	h := sha256.New()
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum([]byte{0, 0x0B})
}

func (e logEvent) measured() []byte {
	if e.data != nil {
		return e.data
	}
	return []byte(e.what)
}

func (e logEvent) digest() []byte {
	if e.raw != nil {
		return e.raw
	}
	digest := sha256.Sum256(e.measured())
	return digest[:]
}

// pcrValue extends the events of one PCR from zeros.
func pcrValue(events []logEvent, pcr int) []byte {
	value := make([]byte, 32)
	for _, e := range events {
		if int(e.pcr) != pcr || e.typ == eventlog.TypeNoAction || e.typ == eventlog.TypePCRMapping {
			continue
		}
		next := sha256.Sum256(append(value, e.digest()...))
		value = next[:]
	}
	return value
}

// logBytes writes a crypto-agile log. PC Client Platform Firmware Profile, 9.4.5.1 and 9.2.2.
func logBytes(events []logEvent) []byte {
	le := binary.LittleEndian
	header := []byte("Spec ID Event03\x00\x00\x00\x00\x00\x00\x02\x00\x01\x02\x00\x00\x00\x04\x00\x14\x00\x0B\x00\x20\x00\x00")
	log := append([]byte{0, 0, 0, 0, 3, 0, 0, 0}, make([]byte, 20)...)
	log = append(le.AppendUint32(log, uint32(len(header))), header...)
	for _, e := range events {
		d1 := sha1.Sum(e.measured())
		log = le.AppendUint32(le.AppendUint32(log, e.pcr), uint32(e.typ))
		log = le.AppendUint16(le.AppendUint32(log, 2), 4)
		log = le.AppendUint16(append(log, d1[:]...), 11)
		log = le.AppendUint32(append(log, e.digest()...), uint32(len(e.data)))
		log = append(log, e.data...)
	}
	return log
}
