package verifier

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"strings"

	"github.com/google/go-tpm/tpm2"

	"github.com/trustpool/trustpool/verifier/eventlog"
)

// ak is an attestation key.
type ak struct {
	raw     []byte // the public area. It, public, name and nameAlg are not set if the key alone is known
	public  *tpm2.TPMTPublic
	name    []byte      // Part 1, 16: u16 nameAlg || H(nameAlg)(public area)
	nameAlg crypto.Hash // linked in, see eventlog.Alg.Hash

	bare   crypto.PublicKey    // the key, if it alone is known
	spki   []byte              // PKIX SubjectPublicKeyInfo of the key; nil if its algorithm is none that is taken
	chain  []*x509.Certificate // the key's own certificate first; empty if there is none
	parent *ak                 // nil if none was told
}

func parseAK(raw []byte) (*ak, error) { return parsePublic("ak_public", raw) }

// parsePublic reads any TPMT_PUBLIC as parseAK does. what names it in errors.
func parsePublic(what string, raw []byte) (*ak, error) {
	public, err := parseExact[tpm2.TPMTPublic](raw)
	if err != nil {
		return nil, fmt.Errorf("%s %w", what, err)
	}
	nameAlg := eventlog.Alg(public.NameAlg)
	switch nameAlg {
	case eventlog.AlgSHA256, eventlog.AlgSHA384, eventlog.AlgSHA512:
	default:
		return nil, fmt.Errorf("%s names itself by %s, not by SHA-256, SHA-384 or SHA-512", what, nameAlg)
	}

	a := &ak{raw: raw, public: public, name: name(nameAlg, raw), nameAlg: nameAlg.Hash()}
	if key, err := a.signingKey(); err == nil { // else CheckAKAlgorithm says why
		a.spki, err = x509.MarshalPKIXPublicKey(key.publicKey())
		if err != nil {
			return nil, err
		}
	}
	return a, nil
}

// name returns u16 alg || H(alg)(parts).
func name(alg eventlog.Alg, parts ...[]byte) []byte {
	h := alg.Hash().New()
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(binary.BigEndian.AppendUint16(nil, uint16(alg)))
}

// qualifiedName returns the Qualified Name of a primary key of the endorsement hierarchy with the AK's Name.
// Part 1, 16: QN = nameAlg || H(nameAlg)(QN of the parent || Name), and the QN of a hierarchy is its handle.
func (a *ak) qualifiedName() []byte {
	return a.qualifiedNameUnder(binary.BigEndian.AppendUint32(nil, uint32(tpm2.TPMRHEndorsement)))
}

// qualifiedNameUnder returns that of a key with the AK's Name under a parent with this Qualified Name.
func (a *ak) qualifiedNameUnder(parent []byte) []byte {
	return name(eventlog.Alg(a.public.NameAlg), parent, a.name)
}

// checkAttributes wants a key that signs only what its TPM made, and that never was outside of it (Part 2, 8.3; Part 1, 25).
func (a *ak) checkAttributes() error {
	attrs := a.public.ObjectAttributes
	if wrong := wrongAttributes([]attribute{
		{"fixedTPM", attrs.FixedTPM, true},
		{"fixedParent", attrs.FixedParent, true},
		{"sensitiveDataOrigin", attrs.SensitiveDataOrigin, true},
		{"restricted", attrs.Restricted, true},
		{"sign", attrs.SignEncrypt, true},
		{"decrypt", attrs.Decrypt, false},
		{"x509sign", attrs.X509Sign, false},
		{"encryptedDuplication", attrs.EncryptedDuplication, false},
	}); wrong != "" {
		return fmt.Errorf("the AK is %s: it has to be a restricted signing key that its TPM made and never gives away", wrong)
	}
	return nil
}

// attribute is one bit of a TPMA_OBJECT, and what it has to be.
type attribute struct {
	name      string
	set, want bool
}

// wrongAttributes names those that are not as they have to be: "not restricted, decrypt".
func wrongAttributes(attributes []attribute) string {
	var wrong []string
	for _, attr := range attributes {
		if attr.set != attr.want {
			wrong = append(wrong, map[bool]string{true: "not " + attr.name, false: attr.name}[attr.want])
		}
	}
	return strings.Join(wrong, ", ")
}

// signingKey is the AK's key together with its scheme.
type signingKey struct {
	ecc    *ecdsa.PublicKey // exactly one of the two is set
	rsa    *rsa.PublicKey
	scheme tpm2.TPMAlgID
	hash   eventlog.Alg
}

// signingKey returns the key if it is one of the three kinds that are taken.
func (a *ak) signingKey() (*signingKey, error) {
	if a.public == nil {
		return bareSigningKey(a.bare)
	}
	switch a.public.Type {
	case tpm2.TPMAlgECC:
		return eccKey(a.public)
	case tpm2.TPMAlgRSA:
		return rsaKey(a.public)
	default:
		return nil, fmt.Errorf("the AK is of type 0x%04x, neither ECC nor RSA", uint16(a.public.Type))
	}
}

func eccKey(public *tpm2.TPMTPublic) (*signingKey, error) {
	parms, err := public.Parameters.ECCDetail()
	if err != nil {
		return nil, err
	}
	point, err := public.Unique.ECC()
	if err != nil {
		return nil, err
	}
	scheme, err := parms.Scheme.Details.ECDSA()
	if err != nil || parms.Scheme.Scheme != tpm2.TPMAlgECDSA {
		return nil, fmt.Errorf("the AK's scheme is 0x%04x, not ECDSA", uint16(parms.Scheme.Scheme))
	}

	var curve elliptic.Curve
	switch {
	case parms.CurveID == tpm2.TPMECCNistP256 && scheme.HashAlg == tpm2.TPMAlgSHA256:
		curve = elliptic.P256()
	case parms.CurveID == tpm2.TPMECCNistP384 && scheme.HashAlg == tpm2.TPMAlgSHA384:
		curve = elliptic.P384()
	default:
		return nil, fmt.Errorf("the AK is ECDSA on curve 0x%04x with hash 0x%04x, neither P-256 with SHA-256 nor P-384 with SHA-384",
			uint16(parms.CurveID), uint16(scheme.HashAlg))
	}
	key, err := eccPoint(curve, point)
	if err != nil {
		return nil, err
	}
	return &signingKey{ecc: key, scheme: tpm2.TPMAlgECDSA, hash: eventlog.Alg(scheme.HashAlg)}, nil
}

// eccPoint takes coordinates with or without leading zeros: TPMs differ in that.
func eccPoint(curve elliptic.Curve, point *tpm2.TPMSECCPoint) (*ecdsa.PublicKey, error) {
	size := (curve.Params().BitSize + 7) / 8
	x, y := point.X.Buffer, point.Y.Buffer
	if len(x) > size || len(y) > size {
		return nil, fmt.Errorf("the key's point has coordinates of %d and %d bytes, more than %d", len(x), len(y), size)
	}

	uncompressed := make([]byte, 1+2*size) // SEC 1, 2.3.3
	uncompressed[0] = 4
	copy(uncompressed[1+size-len(x):], x)
	copy(uncompressed[1+2*size-len(y):], y)
	key, err := ecdsa.ParseUncompressedPublicKey(curve, uncompressed)
	if err != nil {
		return nil, fmt.Errorf("the key's point is not on its curve: %w", err)
	}
	return key, nil
}

func rsaKey(public *tpm2.TPMTPublic) (*signingKey, error) {
	const bits, exponent = 2048, 65537

	parms, err := public.Parameters.RSADetail()
	if err != nil {
		return nil, err
	}
	modulus, err := public.Unique.RSA()
	if err != nil {
		return nil, err
	}
	scheme, err := parms.Scheme.Details.RSASSA()
	if err != nil || parms.Scheme.Scheme != tpm2.TPMAlgRSASSA || scheme.HashAlg != tpm2.TPMAlgSHA256 {
		return nil, errors.New("the AK's scheme is not RSASSA with SHA-256")
	}
	n := new(big.Int).SetBytes(modulus.Buffer)
	if parms.KeyBits != bits || n.BitLen() != bits {
		return nil, fmt.Errorf("the AK is an RSA key of %d bits, not %d", n.BitLen(), bits)
	}
	// Part 2, 12.2.3.5: an exponent of zero stands for the default, 2^16 + 1.
	if parms.Exponent != 0 && parms.Exponent != exponent {
		return nil, fmt.Errorf("the AK's RSA exponent is %d, not %d", parms.Exponent, exponent)
	}
	return &signingKey{rsa: &rsa.PublicKey{N: n, E: exponent}, scheme: tpm2.TPMAlgRSASSA, hash: eventlog.AlgSHA256}, nil
}

// publicKey returns the *ecdsa.PublicKey or *rsa.PublicKey.
func (k *signingKey) publicKey() crypto.PublicKey {
	if k.ecc != nil {
		return k.ecc
	}
	return k.rsa
}

// verify checks sig over message in the key's own scheme: a signature can't choose another hash.
func (k *signingKey) verify(message []byte, sig *signature) error {
	if sig.SigAlg != k.scheme {
		return fmt.Errorf("the signature's scheme is 0x%04x, the AK's is 0x%04x", uint16(sig.SigAlg), uint16(k.scheme))
	}
	h := k.hash.Hash().New()
	h.Write(message)
	digest := h.Sum(nil)

	if k.ecc != nil {
		return k.verifyECDSA(digest, sig)
	}
	return k.verifyRSASSA(digest, sig)
}

func (k *signingKey) verifyECDSA(digest []byte, sig *signature) error {
	ecc, err := sig.Signature.ECDSA()
	if err != nil {
		return err
	}
	if eventlog.Alg(ecc.Hash) != k.hash {
		return fmt.Errorf("the signature's hash is %s, the AK's is %s", eventlog.Alg(ecc.Hash), k.hash)
	}
	r, s := new(big.Int).SetBytes(ecc.SignatureR.Buffer), new(big.Int).SetBytes(ecc.SignatureS.Buffer)
	if !ecdsa.Verify(k.ecc, digest, r, s) {
		return errors.New("the AK did not sign these bytes")
	}
	return nil
}

func (k *signingKey) verifyRSASSA(digest []byte, sig *signature) error {
	ssa, err := sig.Signature.RSASSA()
	if err != nil {
		return err
	}
	if eventlog.Alg(ssa.Hash) != k.hash {
		return fmt.Errorf("the signature's hash is %s, the AK's is %s", eventlog.Alg(ssa.Hash), k.hash)
	}
	if err := rsa.VerifyPKCS1v15(k.rsa, k.hash.Hash(), digest, ssa.Sig.Buffer); err != nil {
		return errors.New("the AK did not sign these bytes")
	}
	return nil
}
