package verifier

import (
	"crypto"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/google/go-tpm/tpm2"
)

// The checks of a server's TLS key that is said to be in the TPM. All of them are "not asked" of a node that says no such thing, unless the policy demands it. Together they prove that
// the connection ends where somebody may use this TPM; who that is, and that it is the agent, they do not.
const (
	// CheckTLSKeyStructure: the TLS key is one canonical TPMT_PUBLIC with nothing after it (Part 2, 12.2.4).
	CheckTLSKeyStructure CheckName = "tls_key_structure"
	// CheckTLSKeyAttributes: it is a signing key that its TPM made and never gives away, and no AK: not restricted (Part 2, 8.3).
	CheckTLSKeyAttributes CheckName = "tls_key_attributes"
	// CheckTLSKeyAlgorithm: it is ECDSA on P-256 with SHA-256.
	CheckTLSKeyAlgorithm CheckName = "tls_key_algorithm"
	// CheckTLSKeyCertifyInfo: the AK that is enrolled certified it, with one canonical TPMS_ATTEST of type TPM_ST_ATTEST_CERTIFY that a TPM made (Part 2, 10.12.12; Part 3, 18.2).
	CheckTLSKeyCertifyInfo CheckName = "tls_key_certify_info"
	// CheckTLSKeyCertifySignature: that AK signed it, in its scheme.
	CheckTLSKeyCertifySignature CheckName = "tls_key_certify_signature"
	// CheckTLSKeyCertifyNonce: the caller's own nonce is signed in it, under the mark 7B 03.
	CheckTLSKeyCertifyNonce CheckName = "tls_key_certify_nonce"
	// CheckTLSKeyCertifiedObject: it is about this key, a primary key of the endorsement hierarchy.
	CheckTLSKeyCertifiedObject CheckName = "tls_key_certified_object"
	// CheckTLSKeyCertifySigner: its signer is a primary key of the endorsement hierarchy with the AK's Name.
	CheckTLSKeyCertifySigner CheckName = "tls_key_certify_signer"
	// CheckTLSKeyPeer: it is the key of the server certificate of the very connection that the identity came by.
	CheckTLSKeyPeer CheckName = "tls_key_peer"
)

// TLSKey is the private key of a node's server certificate, if it says that this is in its TPM; else it is empty.
type TLSKey struct {
	// Public is its TPMT_PUBLIC, without a size prefix (Part 2, 12.2.4).
	Public []byte
	// Certifications are what the node's AKs say of it, at most one by each.
	Certifications []KeyCertification
}

// KeyCertification is what an AK says of another key.
type KeyCertification struct {
	// AKName is the Name of the AK.
	AKName Hex
	// Info is a TPMS_ATTEST of type TPM_ST_ATTEST_CERTIFY, without a size prefix (Part 3, 18.2), Signature the TPMT_SIGNATURE over it (Part 2, 11.3.4).
	Info, Signature []byte
}

// tlsExam is the TLS key and what the checks found of it. A field is set once the check that fills it passed.
type tlsExam struct {
	checklist
	policy *EnrollPolicy
	wire   TLSKey
	ak     *akExam

	key       *ak // a TPMT_PUBLIC and its Name, though no AK
	signing   *signingKey
	attest    *tpm2.TPMSAttest
	info      *tpm2.TPMSCertifyInfo
	signature []byte
}

// examineTLSKey judges the TLS key by the AK that is enrolled.
func examineTLSKey(wire TLSKey, of *akExam, p *EnrollPolicy) *tlsExam {
	x := &tlsExam{checklist: checklist{slices.Clone(of.checks)}, policy: p, wire: wire, ak: of} // some build on the AK's
	x.ask(CheckTLSKeyStructure, x.checkStructure)
	x.ask(CheckTLSKeyAttributes, func() error { return checkTLSAttributes(x.key) }, CheckTLSKeyStructure)
	x.ask(CheckTLSKeyAlgorithm, x.checkAlgorithm, CheckTLSKeyStructure)
	x.ask(CheckTLSKeyCertifyInfo, x.parseCertified, CheckAKStructure)
	x.ask(CheckTLSKeyCertifySignature, x.checkSignature, CheckAKAlgorithm, CheckTLSKeyCertifyInfo)
	x.ask(CheckTLSKeyCertifyNonce, x.checkNonce, CheckTLSKeyCertifyInfo)
	x.ask(CheckTLSKeyCertifiedObject, x.checkObject, CheckTLSKeyCertifyInfo, CheckTLSKeyStructure)
	x.ask(CheckTLSKeyCertifySigner, x.checkSigner, CheckTLSKeyCertifyInfo)
	x.ask(CheckTLSKeyPeer, x.checkPeer, CheckTLSKeyAlgorithm)
	x.checks = x.checks[len(of.checks):]
	return x
}

// ask runs the check unless there is nothing to ask.
func (x *tlsExam) ask(name CheckName, check func() error, needs ...CheckName) {
	if len(x.wire.Public) == 0 && len(x.wire.Certifications) == 0 && !x.policy.demandsTPMTLSKey() {
		x.checks = append(x.checks, newCheck(name, notAsked("the node does not say that its TLS key is in the TPM, and nobody demands it")))
		return
	}
	x.run(name, check, needs...)
}

// proven tells whether every check passed: one that was not asked proves nothing.
func (x *tlsExam) proven() bool {
	return len(x.checks) > 0 && !slices.ContainsFunc(x.checks, func(c Check) bool { return c.Outcome != Passed })
}

func (x *tlsExam) checkStructure() (err error) {
	if len(x.wire.Public) == 0 {
		return errors.New("the node does not say that its TLS key is in the TPM, which is demanded: set tls.key to tpm on the node")
	}
	x.key, err = parsePublic("tls_key_public", x.wire.Public)
	return err
}

// checkTLSAttributes is the counterpart of ak.checkAttributes: no key passes both.
func checkTLSAttributes(key *ak) error {
	attrs := key.public.ObjectAttributes
	if wrong := wrongAttributes([]attribute{
		{"fixedTPM", attrs.FixedTPM, true},
		{"fixedParent", attrs.FixedParent, true},
		{"sensitiveDataOrigin", attrs.SensitiveDataOrigin, true},
		{"restricted", attrs.Restricted, false},
		{"sign", attrs.SignEncrypt, true},
		{"decrypt", attrs.Decrypt, false},
		{"x509sign", attrs.X509Sign, false},
		{"encryptedDuplication", attrs.EncryptedDuplication, false},
	}); wrong != "" {
		return fmt.Errorf("the TLS key is %s: it has to be a signing key that its TPM made and never gives away, and no attestation key", wrong)
	}
	return nil
}

func (x *tlsExam) checkAlgorithm() error {
	key, err := x.key.signingKey()
	if err != nil || key.ecc == nil || key.hash.Hash() != crypto.SHA256 {
		return errors.New("the TLS key is not ECDSA on P-256 with SHA-256")
	}
	x.signing = key
	return nil
}

func (x *tlsExam) parseCertified() error {
	i := slices.IndexFunc(x.wire.Certifications, func(c KeyCertification) bool { return slices.Equal(c.AKName, x.ak.ak.name) })
	if i < 0 {
		return errors.New("this AK does not certify the TLS key")
	}
	attest, err := parseExact[tpm2.TPMSAttest](x.wire.Certifications[i].Info)
	if err != nil {
		return fmt.Errorf("certify_info of the TLS key %w", err)
	}
	if attest.Magic != tpm2.TPMGeneratedValue {
		return fmt.Errorf("certify_info of the TLS key begins with %08x, not with TPM_GENERATED_VALUE: no TPM made it", uint32(attest.Magic))
	}
	if attest.Type != tpm2.TPMSTAttestCertify {
		return fmt.Errorf("certify_info of the TLS key is of type 0x%04x, not TPM_ST_ATTEST_CERTIFY", uint16(attest.Type))
	}
	if x.info, err = attest.Attested.Certify(); err != nil {
		return err
	}
	x.attest, x.signature = attest, x.wire.Certifications[i].Signature
	return nil
}

func (x *tlsExam) checkSignature() error {
	sig, err := parseSignature(x.signature)
	if err != nil {
		return fmt.Errorf("certify_%w", err)
	}
	return x.ak.key.verify(tpm2.Marshal(x.attest), sig) // which are the very bytes that came, see parseExact
}

func (x *tlsExam) checkNonce() error {
	if len(x.policy.Nonce) < MinNonceSize {
		return fmt.Errorf("the caller's nonce has %d bytes: with fewer than %d an old certification may fit", len(x.policy.Nonce), MinNonceSize)
	}
	return compare(tlsExtraData(x.policy.Nonce), x.attest.ExtraData.Buffer, "another nonce was signed than the caller's, or not as that of a TLS key")
}

// checkObject: Part 2, 10.12.3. The Qualified Name shows where in the TPM the key is.
func (x *tlsExam) checkObject() error {
	if err := compare(x.key.name, x.info.Name.Buffer, "the certified object is another than the TLS key"); err != nil {
		return err
	}
	return compare(x.key.qualifiedName(), x.info.QualifiedName.Buffer, "the TLS key is no primary key of the endorsement hierarchy")
}

// checkSigner: as in a quote, see checkQualifiedSigner.
func (x *tlsExam) checkSigner() error {
	return compare(x.ak.ak.qualifiedName(), x.attest.QualifiedSigner.Buffer, "the signer is no primary key of the endorsement hierarchy with this AK's Name")
}

func (x *tlsExam) checkPeer() error {
	if x.policy.ServerKey == nil {
		if x.policy.demandsTPMTLSKey() {
			return errors.New("the node showed no server certificate that could be compared with the TLS key: ask over TLS")
		}
		return notAsked("the node showed no server certificate that could be compared with the TLS key")
	}
	if !x.signing.ecc.Equal(x.policy.ServerKey) {
		return errors.New("the server certificate of this connection is for another key than the TLS key in the TPM: TLS ends before the agent, or its key is in a file")
	}
	return nil
}

// tlsExtraData returns the extraData of a TLS key's certification:
//
//	7B 03 || SHA-256("trustpool-tls-key-v1" || 00 || u16 length of nonce || nonce)
func tlsExtraData(nonce []byte) []byte {
	message := binary.BigEndian.AppendUint16([]byte("trustpool-tls-key-v1\x00"), uint16(len(nonce))) // #nosec G115 -- a policy's nonce: a longer one matches nothing
	sum := sha256.Sum256(append(message, nonce...))
	return append([]byte{0x7B, 0x03}, sum[:]...)
}
