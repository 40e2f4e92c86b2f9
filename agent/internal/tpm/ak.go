package tpm

import (
	"crypto"
	"fmt"

	"github.com/google/go-tpm/tpm2"
)

// KeyAlgorithm is what an AK signs with.
type KeyAlgorithm string

// The AK algorithms, by the names that the config file uses.
const (
	ECDSAP256 KeyAlgorithm = "ecdsa-p256" // scheme ECDSA with SHA-256
	ECDSAP384 KeyAlgorithm = "ecdsa-p384" // scheme ECDSA with SHA-384
	RSA2048   KeyAlgorithm = "rsa-2048"   // scheme RSASSA with SHA-256
)

// KeyAlgorithms returns all of them, the default first.
func KeyAlgorithms() []KeyAlgorithm {
	return []KeyAlgorithm{ECDSAP256, ECDSAP384, RSA2048}
}

// DefaultHandle is the persistent handle of the first AK; each successor's is one higher. 0x81010000 to 0x8101FFFF are for primary keys of the endorsement hierarchy (TCG Registry of Reserved TPM 2.0
// Handles and Localities, 2.3.1); other agents' keys are known to sit at 0x81018000.
const DefaultHandle tpm2.TPMHandle = 0x81018100

// AK is an attestation key that can sign now.
type AK struct {
	// Record says which key it is.
	Record KeyRecord
	// Public is its TPMT_PUBLIC.
	Public []byte
	// Transient says that it could not be kept at its persistent handle; Why says why.
	Transient bool
	Why       string

	// handle is where it is now: Record.Handle, or a transient one.
	handle tpm2.TPMHandle
	// hash is that of the signing scheme; pcrDigest is made with it.
	hash crypto.Hash
	// qualifiedName is u16 nameAlg || H(TPM_RH_ENDORSEMENT || Name): what the TPM signs as qualifiedSigner (TPM 2.0 Part 1, 26.5).
	qualifiedName []byte
}

// Name is u16 nameAlg || H(Public) (TPM 2.0 Part 1, 16).
func (ak *AK) Name() []byte { return ak.Record.Name }

// Hash is that of its signing scheme, which pcrDigest is made with as well.
func (ak *AK) Hash() crypto.Hash { return ak.hash }

// template returns the AK's public template. With the endorsement primary seed it gives the same key each time, so that the key needs no file, and
// comes back after TPM2_Clear. The label in the unique field keeps it apart from other primaries (the pattern of the IAK in TCG's "TPM 2.0 Keys for Device
// Identity and Attestation", 7.3.4), and a generation number from its successors.
func template(alg KeyAlgorithm, generation uint32) (tpm2.TPMTPublic, error) {
	label := fmt.Appendf(nil, "trustpool AK %d", generation)

	public := tpm2.TPMTPublic{
		NameAlg: tpm2.TPMAlgSHA256,
		ObjectAttributes: tpm2.TPMAObject{
			FixedTPM:            true,
			FixedParent:         true,
			SensitiveDataOrigin: true,
			UserWithAuth:        true,
			NoDA:                true, // a wrong authorisation by anybody can't lock the TPM
			Restricted:          true, // signs only what the TPM itself made
			SignEncrypt:         true,
		},
	}

	switch alg {
	case ECDSAP256:
		setECDSA(&public, tpm2.TPMECCNistP256, tpm2.TPMAlgSHA256, padded(label, 32))
	case ECDSAP384:
		public.NameAlg = tpm2.TPMAlgSHA384
		setECDSA(&public, tpm2.TPMECCNistP384, tpm2.TPMAlgSHA384, padded(label, 48))
	case RSA2048:
		public.Type = tpm2.TPMAlgRSA
		public.Parameters = tpm2.NewTPMUPublicParms(tpm2.TPMAlgRSA, &tpm2.TPMSRSAParms{
			Scheme: tpm2.TPMTRSAScheme{
				Scheme:  tpm2.TPMAlgRSASSA,
				Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgRSASSA, &tpm2.TPMSSigSchemeRSASSA{HashAlg: tpm2.TPMAlgSHA256}),
			},
			KeyBits: 2048,
		})
		public.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgRSA, &tpm2.TPM2BPublicKeyRSA{Buffer: padded(label, 256)})
	default:
		return tpm2.TPMTPublic{}, fmt.Errorf("AK algorithm %q is not known", alg)
	}

	return public, nil
}

func setECDSA(public *tpm2.TPMTPublic, curve tpm2.TPMECCCurve, hash tpm2.TPMAlgID, unique []byte) {
	public.Type = tpm2.TPMAlgECC
	public.Parameters = tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{
		Scheme: tpm2.TPMTECCScheme{
			Scheme:  tpm2.TPMAlgECDSA,
			Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgECDSA, &tpm2.TPMSSigSchemeECDSA{HashAlg: hash}),
		},
		CurveID: curve,
	})
	public.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{X: tpm2.TPM2BECCParameter{Buffer: unique}})
}

// padded returns label followed by zeros, n bytes in all.
func padded(label []byte, n int) []byte {
	return append(label, make([]byte, n-len(label))...)
}
