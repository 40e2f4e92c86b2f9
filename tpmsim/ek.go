package tpmsim

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
)

// endorsementKey is an EK and where a TPM keeps it and its certificate.
// TCG EK Credential Profile for TPM Family 2.0, 2.2.1.4 and 2.2.1.5.
type endorsementKey struct {
	name      string
	template  tpm2.TPMTPublic
	handle    tpm2.TPMHandle
	certIndex tpm2.TPMHandle
	keyUsage  x509.KeyUsage
}

// rsaEK is by template L-1.
func rsaEK() endorsementKey {
	return endorsementKey{
		name:      "RSA-2048",
		template:  tpm2.RSAEKTemplate,
		handle:    0x81010001,
		certIndex: 0x01c00002,
		keyUsage:  x509.KeyUsageKeyEncipherment,
	}
}

// p256EK is by template L-2.
func p256EK() endorsementKey {
	return endorsementKey{
		name:      "ECC P-256",
		template:  tpm2.ECCEKTemplate,
		handle:    0x81010002,
		certIndex: 0x01c0000a,
		keyUsage:  x509.KeyUsageKeyAgreement,
	}
}

// p384EK is by template H-3.
func p384EK() endorsementKey {
	return endorsementKey{
		name:      "ECC P-384",
		template:  p384Template(),
		handle:    0x81010016,
		certIndex: 0x01c00016,
		keyUsage:  x509.KeyUsageKeyAgreement,
	}
}

// derive derives the key, makes it persistent if told so, and returns its public
// key.
func (k endorsementKey) derive(m *machine, persistent bool) (public crypto.PublicKey, err error) {
	made, err := tpm2.CreatePrimary{
		PrimaryHandle: tpm2.TPMRHEndorsement,
		InPublic:      tpm2.New2B(k.template),
	}.Execute(m)
	if err != nil {
		return nil, err
	}
	defer func() {
		_, flushErr := tpm2.FlushContext{FlushHandle: made.ObjectHandle}.Execute(m)
		err = errors.Join(err, flushErr)
	}()

	if persistent {
		if _, err := (tpm2.EvictControl{
			Auth:             tpm2.TPMRHOwner,
			ObjectHandle:     tpm2.NamedHandle{Handle: made.ObjectHandle, Name: made.Name},
			PersistentHandle: k.handle,
		}).Execute(m); err != nil {
			return nil, fmt.Errorf("making it persistent: %w", err)
		}
	}
	return publicKey(made.OutPublic)
}

// publicKey returns the *rsa.PublicKey or *ecdsa.PublicKey of a TPM key.
func publicKey(p tpm2.TPM2BPublic) (crypto.PublicKey, error) {
	public, err := p.Contents()
	if err != nil {
		return nil, err
	}

	switch public.Type {
	case tpm2.TPMAlgRSA:
		parms, err := public.Parameters.RSADetail()
		if err != nil {
			return nil, err
		}
		unique, err := public.Unique.RSA()
		if err != nil {
			return nil, err
		}
		return tpm2.RSAPub(parms, unique)
	case tpm2.TPMAlgECC:
		parms, err := public.Parameters.ECCDetail()
		if err != nil {
			return nil, err
		}
		unique, err := public.Unique.ECC()
		if err != nil {
			return nil, err
		}
		return tpm2.ECDSAPub(parms, unique)
	default:
		return nil, fmt.Errorf("key of type %#x is neither RSA nor ECC", uint16(public.Type))
	}
}

// p384Template returns the EK template H-3 of the TCG EK Credential Profile: ECC
// NIST P-384 of the high range, usable with the endorsement authorization.
func p384Template() tpm2.TPMTPublic {
	return tpm2.TPMTPublic{
		Type:    tpm2.TPMAlgECC,
		NameAlg: tpm2.TPMAlgSHA384,
		ObjectAttributes: tpm2.TPMAObject{
			FixedTPM:            true,
			FixedParent:         true,
			SensitiveDataOrigin: true,
			UserWithAuth:        true,
			AdminWithPolicy:     true,
			Restricted:          true,
			Decrypt:             true,
		},
		AuthPolicy: tpm2.TPM2BDigest{Buffer: policyBSHA384()},
		Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{
			Symmetric: tpm2.TPMTSymDefObject{
				Algorithm: tpm2.TPMAlgAES,
				KeyBits:   tpm2.NewTPMUSymKeyBits(tpm2.TPMAlgAES, tpm2.TPMKeyBits(256)),
				Mode:      tpm2.NewTPMUSymMode(tpm2.TPMAlgAES, tpm2.TPMAlgCFB),
			},
			CurveID: tpm2.TPMECCNistP384,
		}),
		Unique: tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{}),
	}
}

// policyBSHA384 returns PolicyB with SHA-384 of the TCG EK Credential Profile:
// the endorsement authorization, or what NV index 0x01c07f02 authorizes.
func policyBSHA384() []byte {
	return []byte{
		0xb2, 0x6e, 0x7d, 0x28, 0xd1, 0x1a, 0x50, 0xbc, 0x53, 0xd8, 0x82, 0xbc,
		0xf5, 0xfd, 0x3a, 0x1a, 0x07, 0x41, 0x48, 0xbb, 0x35, 0xd3, 0xb4, 0xe4,
		0xcb, 0x1c, 0x0a, 0xd9, 0xbd, 0xe4, 0x19, 0xca, 0xcb, 0x47, 0xba, 0x09,
		0x69, 0x96, 0x46, 0x15, 0x0f, 0x9f, 0xc0, 0x00, 0xf3, 0xf8, 0x0e, 0x12,
	}
}
