package verifier

// Bounds of what a node may say of itself.
const (
	maxEKs         = 8
	maxAKs         = 4
	maxChain       = 16      // certificates beside an EK's
	maxCertificate = 8 << 10 // one certificate, DER
)

// Identity is what a node says of its keys, as plain bytes. Nothing in it is believed before Enroll has checked it.
type Identity struct {
	// EKs are the node's endorsement keys.
	EKs []EndorsementKey
	// AKs are its attestation keys: the one in use, then the pending one of a rotation.
	AKs []AttestationKey
	// TLS is the key of its server certificate, if that is in its TPM.
	TLS TLSKey
	// HostNames, SMBIOSUUID and SMBIOSSerial are what the node calls itself. No check sees them: they are suggestions for an administrator.
	HostNames    []string
	SMBIOSUUID   string
	SMBIOSSerial string
}

// EndorsementKey is one EK with the certificate of its maker, if there is one.
type EndorsementKey struct {
	// Public is its TPMT_PUBLIC, without a size prefix (Part 2, 12.2.4).
	Public []byte
	// Certificate is X.509 in DER without padding; empty if there is none.
	Certificate []byte
	// Chain are further certificates (DER) in no certain order. They may lead to a root, they are never one.
	Chain [][]byte
	// KeySource, CertificateSource and Detail say where the two came from and what is odd: for people, never judged.
	KeySource         string
	CertificateSource string
	Detail            string
}

// AttestationKey is one AK with the proof of how it was made.
type AttestationKey struct {
	// Public is its TPMT_PUBLIC, without a size prefix (Part 2, 12.2.4). The key's Name is computed from it.
	Public []byte
	// CreationData is its TPMS_CREATION_DATA, without a size prefix (Part 2, 15.1).
	CreationData []byte
	// CertifyInfo is the TPMS_ATTEST of type TPM_ST_ATTEST_CREATION over CreationData, without a size prefix (Part 3, 18.3).
	CertifyInfo []byte
	// CertifySignature is the TPMT_SIGNATURE over CertifyInfo, by this very key (Part 2, 11.3.4).
	CertifySignature []byte
	// Certificate is X.509 in DER, of the operator's CA; empty if there is none.
	Certificate []byte
	// Generation counts the node's AKs. Pending: waiting for the end of a rotation. Both are the node's word.
	Generation uint32
	Pending    bool
}
