package verifier

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"

	"github.com/google/go-tpm/tpm2"

	"github.com/trustpool/trustpool/verifier/eventlog"
)

// ek is a parsed public area of an endorsement key.
type ek struct {
	raw    []byte
	public *tpm2.TPMTPublic
	name   []byte // Part 1, 16
}

func parseEK(raw []byte) (*ek, error) {
	public, err := parseExact[tpm2.TPMTPublic](raw)
	if err != nil {
		return nil, fmt.Errorf("the EK's public area %w", err)
	}
	alg := eventlog.Alg(public.NameAlg)
	switch alg {
	case eventlog.AlgSHA256, eventlog.AlgSHA384, eventlog.AlgSHA512:
	default:
		return nil, fmt.Errorf("the EK names itself by %s, not by SHA-256, SHA-384 or SHA-512", alg)
	}
	return &ek{raw: bytes.Clone(raw), public: public, name: name(alg, raw)}, nil
}

// checkAttributes wants a storage key that its TPM made and that never leaves it: only such a key proves where a credential was opened
// (TCG EK Credential Profile for TPM Family 2.0, B.3 and B.4: all templates agree in these).
func (k *ek) checkAttributes() error {
	attrs := k.public.ObjectAttributes
	if wrong := wrongAttributes([]attribute{
		{"fixedTPM", attrs.FixedTPM, true},
		{"fixedParent", attrs.FixedParent, true},
		{"sensitiveDataOrigin", attrs.SensitiveDataOrigin, true},
		{"restricted", attrs.Restricted, true},
		{"decrypt", attrs.Decrypt, true},
		{"sign", attrs.SignEncrypt, false},
		{"encryptedDuplication", attrs.EncryptedDuplication, false},
	}); wrong != "" {
		return fmt.Errorf("the EK is %s: it has to be a restricted decryption key that its TPM made and never gives away", wrong)
	}
	return nil
}

// publicKey returns an *rsa.PublicKey or *ecdsa.PublicKey of a kind and strength that the TCG's EK templates have.
func (k *ek) publicKey() (crypto.PublicKey, error) {
	switch k.public.Type {
	case tpm2.TPMAlgRSA:
		return k.rsaPublicKey()
	case tpm2.TPMAlgECC:
		return k.eccPublicKey()
	default:
		return nil, fmt.Errorf("the EK is of type 0x%04x, neither RSA nor ECC", uint16(k.public.Type))
	}
}

func (k *ek) rsaPublicKey() (crypto.PublicKey, error) {
	const exponent = 65537

	parms, err := k.public.Parameters.RSADetail()
	if err != nil {
		return nil, err
	}
	modulus, err := k.public.Unique.RSA()
	if err != nil {
		return nil, err
	}
	if err := checkProtection(&parms.Symmetric); err != nil {
		return nil, err
	}
	if parms.Scheme.Scheme != tpm2.TPMAlgNull {
		return nil, errors.New("the EK is RSA with a scheme of its own, a storage key has none")
	}
	n := new(big.Int).SetBytes(modulus.Buffer)
	switch {
	case parms.KeyBits != 2048 && parms.KeyBits != 3072 && parms.KeyBits != 4096:
		return nil, fmt.Errorf("the EK is RSA with %d bits, not 2048, 3072 or 4096", parms.KeyBits)
	case n.BitLen() != int(parms.KeyBits) || n.Bit(0) == 0:
		return nil, fmt.Errorf("the EK's modulus is none of %d bits", parms.KeyBits)
	case parms.Exponent != 0 && parms.Exponent != exponent: // Part 2, 12.2.3.5: zero stands for 2^16 + 1
		return nil, fmt.Errorf("the EK's RSA exponent is %d, not %d", parms.Exponent, exponent)
	}
	return &rsa.PublicKey{N: n, E: exponent}, nil
}

func (k *ek) eccPublicKey() (crypto.PublicKey, error) {
	parms, err := k.public.Parameters.ECCDetail()
	if err != nil {
		return nil, err
	}
	point, err := k.public.Unique.ECC()
	if err != nil {
		return nil, err
	}
	if err := checkProtection(&parms.Symmetric); err != nil {
		return nil, err
	}
	if parms.Scheme.Scheme != tpm2.TPMAlgNull {
		return nil, errors.New("the EK is ECC with a scheme of its own, a storage key has none")
	}
	switch parms.CurveID {
	case tpm2.TPMECCNistP256:
		return eccPoint(elliptic.P256(), point)
	case tpm2.TPMECCNistP384:
		return eccPoint(elliptic.P384(), point)
	case tpm2.TPMECCNistP521:
		return eccPoint(elliptic.P521(), point)
	default:
		return nil, fmt.Errorf("the EK is ECC on curve 0x%04x, not P-256, P-384 or P-521", uint16(parms.CurveID))
	}
}

// checkProtection: what a credential is encrypted with (Part 1, 24; EK Credential Profile, B.3 and B.4).
func checkProtection(symmetric *tpm2.TPMTSymDefObject) error {
	bits, bitsErr := symmetric.KeyBits.AES()
	mode, modeErr := symmetric.Mode.AES()
	if symmetric.Algorithm != tpm2.TPMAlgAES || bitsErr != nil || modeErr != nil || *mode != tpm2.TPMAlgCFB {
		return errors.New("the EK does not protect by AES in CFB mode")
	}
	if *bits != 128 && *bits != 256 {
		return fmt.Errorf("the EK protects by AES with %d bits, not 128 or 256", *bits)
	}
	return nil
}

// sameKey tells whether the certificate's key is this one.
func sameKey(cert *x509.Certificate, key crypto.PublicKey) bool {
	public, ok := cert.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(key)
}
