package verifier

import (
	"fmt"

	"github.com/trustpool/trustpool/verifier/eventlog"
)

// Bounds of what is looked at. Nothing that a TPM or a host's firmware makes comes near them.
const (
	maxStructure = 4096 // one TPM structure: TPMS_ATTEST, TPMT_SIGNATURE or TPMT_PUBLIC
	maxLogs      = 16   // logs of one node
	maxBanks     = 16   // TPML_PCR_SELECTION has at most HASH_COUNT entries (Part 2, 10.9.7)
	numPCRs      = 24   // PC Client Platform TPM Profile, 4.6
)

// Evidence is what a node answered to one challenge, as plain bytes. Nothing in it is believed before it is checked.
type Evidence struct {
	// Quoted is the TPMS_ATTEST that was signed, without a size prefix (Part 2, 10.12.12).
	Quoted []byte
	// Signature is the TPMT_SIGNATURE over Quoted (Part 2, 11.3.4).
	Signature []byte
	// PCRs are the values behind the signed digest: the banks in the order of the signed selection, the PCRs of each in rising order.
	PCRs []PCRBank
	// AKPublic is the TPMT_PUBLIC of the attestation key, without a size prefix (Part 2, 12.2.4). Agents always send it.
	AKPublic []byte
	// AKKey is the attestation key alone, as a PKIX SubjectPublicKeyInfo in DER, and AKCertificates are its X.509 certificate and those of CAs between it and
	// its issuer, in DER. They are for evidence of others, which may have no AKPublic; all that are there have to be of the same key.
	AKKey          []byte
	AKCertificates [][]byte
	// AKParent is the TPMT_PUBLIC of the key, mostly an EK, under which the attestation key was made; empty if that is a primary key itself.
	AKParent []byte
	// Nonce is what the collector says it asked with; empty if it does not say. It has to be the signed one, but it never makes evidence fresh: only
	// Policy.Nonce does.
	Nonce []byte
	// Binding is what the asking end knows of a bound challenge; nil for a quote that was asked for with the bare nonce.
	Binding *Binding
	// Aggregation says how the quote was signed together with those of other callers; nil for a quote of the caller's own.
	Aggregation *Aggregation
	// Logs are the node's event logs.
	Logs []Log
	// Hints is what the agent said beside the evidence, for people. No key signs it and no check sees it.
	Hints map[string]string
}

// PCRBank holds PCR values of one bank.
type PCRBank struct {
	// Alg is the bank's hash.
	Alg eventlog.Alg
	// Values are in rising order of their index.
	Values []PCRValue
}

// PCRValue is the value of one PCR.
type PCRValue struct {
	// Index is 0 to 23.
	Index int
	// Value has as many bytes as the bank's hash.
	Value []byte
}

// Log is one event log, as the host's firmware or kernel made it.
type Log struct {
	// Source says where it comes from, such as "txt". It is the node's word and serves to name the log.
	Source string
	// Raw are its bytes, without padding after the last event; at most eventlog.MaxLogSize.
	Raw []byte
}

// pcr names one PCR of one bank.
type pcr struct {
	bank  eventlog.Alg
	index int
}

// String gives "sha256 PCR 17".
func (p pcr) String() string { return fmt.Sprintf("%s PCR %d", p.bank, p.index) }
