package tpm

import (
	"bytes"
	"crypto"
	"errors"
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

// DefaultHandle is the persistent handle of the first AK. 0x81010000 to 0x8101FFFF are for primary keys of the endorsement hierarchy (TCG Registry of Reserved TPM 2.0
// Handles and Localities, 2.3.1); other agents' keys are known to sit at 0x81018000.
const DefaultHandle tpm2.TPMHandle = 0x81018100

// AK is the attestation key as it was found or made when the TPM was opened.
type AK struct {
	// Handle is where it sits.
	Handle tpm2.TPMHandle
	// Public is its TPMT_PUBLIC.
	Public []byte
	// Name is u16 nameAlg || H(Public) (TPM 2.0 Part 1, 16).
	Name []byte

	// hash is that of the signing scheme; pcrDigest is made with it.
	hash crypto.Hash
	// qualifiedName is u16 nameAlg || H(TPM_RH_ENDORSEMENT || Name): what the TPM signs as qualifiedSigner (TPM 2.0 Part 1, 26.5).
	qualifiedName []byte
}

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

// provisionAK derives the AK and makes sure that it, and nothing else, sits at the handle.
func provisionAK(tpm *line, alg KeyAlgorithm, handle tpm2.TPMHandle) (*AK, error) {
	public, err := template(alg, 1)
	if err != nil {
		return nil, err
	}

	var ak *AK

	err = withPrimary(tpm, public, func(primary *tpm2.CreatePrimaryResponse) error {
		if ak, err = describeAK(primary, handle); err != nil {
			return err
		}

		occupant, err := nameAt(tpm, handle)
		switch {
		case err != nil:
			return err
		case occupant == nil:
			return persist(tpm, primary, handle)
		case !bytes.Equal(occupant, ak.Name):
			return fmt.Errorf("%w: 0x%08x", ErrHandleTaken, handle)
		}

		return nil
	})

	return ak, err
}

// withPrimary makes a primary key of the endorsement hierarchy and flushes it after use.
func withPrimary(tpm *line, public tpm2.TPMTPublic, use func(*tpm2.CreatePrimaryResponse) error) error {
	primary, err := tpm2.CreatePrimary{
		PrimaryHandle: tpm2.TPMRHEndorsement,
		InPublic:      tpm2.New2B(public),
	}.Execute(tpm)
	if errors.Is(err, tpm2.TPMRCHierarchy) {
		return ErrHierarchyDisabled
	}

	if err != nil {
		return fmt.Errorf("deriving the AK: %w", err)
	}

	err = use(primary)
	if _, flushErr := (tpm2.FlushContext{FlushHandle: primary.ObjectHandle}).Execute(tpm); flushErr != nil {
		err = errors.Join(err, fmt.Errorf("flushing the AK: %w", flushErr))
	}

	return err
}

// nameAt returns the Name of the object at a handle, nil if there is none.
func nameAt(tpm *line, handle tpm2.TPMHandle) ([]byte, error) {
	object, err := tpm2.ReadPublic{ObjectHandle: handle}.Execute(tpm)
	if errors.Is(err, tpm2.TPMRCHandle) {
		return nil, nil
	}

	if err != nil {
		return nil, fmt.Errorf("looking at handle 0x%08x: %w", handle, err)
	}

	return object.Name.Buffer, nil
}

func persist(tpm *line, primary *tpm2.CreatePrimaryResponse, handle tpm2.TPMHandle) error {
	_, err := tpm2.EvictControl{
		Auth:             tpm2.TPMRHOwner,
		ObjectHandle:     &tpm2.NamedHandle{Handle: primary.ObjectHandle, Name: primary.Name},
		PersistentHandle: handle,
	}.Execute(tpm)
	if err != nil {
		return fmt.Errorf("persisting the AK at 0x%08x: %w", handle, err)
	}

	return nil
}

// describeAK computes once what each quote is checked against.
func describeAK(primary *tpm2.CreatePrimaryResponse, handle tpm2.TPMHandle) (*AK, error) {
	public, err := primary.OutPublic.Contents()
	if err != nil {
		return nil, fmt.Errorf("reading the AK's public area: %w", err)
	}

	nameHash, err := public.NameAlg.Hash()
	if err != nil {
		return nil, fmt.Errorf("reading the AK's public area: %w", err)
	}

	name := primary.Name.Buffer
	h := nameHash.New()
	h.Write([]byte{0x40, 0x00, 0x00, 0x0B}) // TPM_RH_ENDORSEMENT (TPM 2.0 Part 2, 7.4): a hierarchy's Name is its handle
	h.Write(name)

	// The scheme's hash is the name's hash for each AK that template makes.
	return &AK{
		Handle:        handle,
		Public:        primary.OutPublic.Bytes(),
		Name:          name,
		hash:          nameHash,
		qualifiedName: h.Sum(bytes.Clone(name[:2])),
	}, nil
}
