package tpm

import (
	"bytes"
	"crypto/x509"

	"github.com/google/go-tpm/tpm2"
)

// ekTemplate is a way in which the makers of TPMs derive EKs, and where they put the certificate of such an EK.
// TCG EK Credential Profile for TPM Family 2.0, version 2.6, 2.2.1 (NV indices) and Annex B (templates L-1 to H-7).
type ekTemplate struct {
	// name is the profile's.
	name        string
	public      tpm2.TPMTPublic
	certificate tpm2.TPMHandle
	// options are the NV indices by which a maker changes the template: a nonce for its unique field, or another template. The high range has none.
	options []tpm2.TPMHandle
	// algorithm is what x509 calls the key, bits its size.
	algorithm x509.PublicKeyAlgorithm
	bits      int
}

// ekTemplates returns the templates of the keys that servers are known to come with, the most common first.
func ekTemplates() []ekTemplate {
	return []ekTemplate{
		{"L-1", tpm2.RSAEKTemplate, 0x01c00002, []tpm2.TPMHandle{0x01c00003, 0x01c00004}, x509.RSA, 2048},
		{"L-2", tpm2.ECCEKTemplate, 0x01c0000a, []tpm2.TPMHandle{0x01c0000b, 0x01c0000c}, x509.ECDSA, 256},
		{"H-1", highRange(tpm2.TPMAlgSHA256, 128, rsaEK(2048)), 0x01c00012, nil, x509.RSA, 2048},
		{"H-2", highRange(tpm2.TPMAlgSHA256, 128, eccEK(tpm2.TPMECCNistP256)), 0x01c00014, nil, x509.ECDSA, 256},
		{"H-3", highRange(tpm2.TPMAlgSHA384, 256, eccEK(tpm2.TPMECCNistP384)), 0x01c00016, nil, x509.ECDSA, 384},
		{"H-6", highRange(tpm2.TPMAlgSHA384, 256, rsaEK(3072)), 0x01c0001c, nil, x509.RSA, 3072},
	}
}

// highRange returns a template of the high range: PolicyB, and a unique field of size zero.
func highRange(nameAlg tpm2.TPMIAlgHash, aesBits tpm2.TPMKeyBits, setType func(*tpm2.TPMTPublic, tpm2.TPMTSymDefObject)) tpm2.TPMTPublic {
	public := tpm2.TPMTPublic{
		NameAlg: nameAlg,
		ObjectAttributes: tpm2.TPMAObject{
			FixedTPM:            true,
			FixedParent:         true,
			SensitiveDataOrigin: true,
			UserWithAuth:        true,
			AdminWithPolicy:     true,
			Restricted:          true,
			Decrypt:             true,
		},
		AuthPolicy: tpm2.TPM2BDigest{Buffer: policyB(nameAlg)},
	}

	setType(&public, tpm2.TPMTSymDefObject{
		Algorithm: tpm2.TPMAlgAES,
		KeyBits:   tpm2.NewTPMUSymKeyBits(tpm2.TPMAlgAES, aesBits),
		Mode:      tpm2.NewTPMUSymMode(tpm2.TPMAlgAES, tpm2.TPMAlgCFB),
	})

	return public
}

func rsaEK(bits tpm2.TPMKeyBits) func(*tpm2.TPMTPublic, tpm2.TPMTSymDefObject) {
	return func(public *tpm2.TPMTPublic, symmetric tpm2.TPMTSymDefObject) {
		public.Type = tpm2.TPMAlgRSA
		public.Parameters = tpm2.NewTPMUPublicParms(tpm2.TPMAlgRSA, &tpm2.TPMSRSAParms{Symmetric: symmetric, KeyBits: bits})
		public.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgRSA, &tpm2.TPM2BPublicKeyRSA{})
	}
}

func eccEK(curve tpm2.TPMECCCurve) func(*tpm2.TPMTPublic, tpm2.TPMTSymDefObject) {
	return func(public *tpm2.TPMTPublic, symmetric tpm2.TPMTSymDefObject) {
		public.Type = tpm2.TPMAlgECC
		public.Parameters = tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{Symmetric: symmetric, CurveID: curve})
		public.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{})
	}
}

// made says whether a key was made from the template, perhaps with something else in the unique field.
func (t *ekTemplate) made(public tpm2.TPMTPublic) bool {
	if public.Type != t.public.Type {
		return false
	}

	public.Unique = t.public.Unique

	return bytes.Equal(tpm2.Marshal(public), tpm2.Marshal(t.public))
}

// templateOf returns the template that a key was made from, nil if it is none of ours.
func templateOf(public tpm2.TPMTPublic) *ekTemplate {
	for _, t := range ekTemplates() {
		if t.made(public) {
			return &t
		}
	}

	return nil
}
