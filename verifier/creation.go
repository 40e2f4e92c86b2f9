package verifier

import (
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
)

// creation is the proof of how an AK was made: its creation data, and what the TPM certified about it with the AK itself.
type creation struct {
	data      *tpm2.TPMSCreationData
	certified *tpm2.TPMSAttest
	info      *tpm2.TPMSCreationInfo
}

func (c *creation) parseData(raw []byte) (err error) {
	if c.data, err = parseExact[tpm2.TPMSCreationData](raw); err != nil {
		return fmt.Errorf("creation_data %w", err)
	}
	return nil
}

// parseCertified wants a TPMS_ATTEST that a TPM made about a key's creation (Part 2, 6.2 and 6.9; Part 3, 18.3).
func (c *creation) parseCertified(raw []byte) (err error) {
	if c.certified, err = parseExact[tpm2.TPMSAttest](raw); err != nil {
		return fmt.Errorf("certify_info %w", err)
	}
	if c.certified.Magic != tpm2.TPMGeneratedValue {
		return fmt.Errorf("certify_info begins with %08x, not with TPM_GENERATED_VALUE: no TPM made it", uint32(c.certified.Magic))
	}
	if c.certified.Type != tpm2.TPMSTAttestCreation {
		return fmt.Errorf("certify_info is of type 0x%04x, not TPM_ST_ATTEST_CREATION", uint16(c.certified.Type))
	}
	c.info, err = c.certified.Attested.Creation()
	return err
}

// checkParent wants a primary key of the endorsement hierarchy: the Name and the Qualified Name of its parent are the hierarchy's handle, whose nameAlg is none
// (Part 1, 16; Part 2, 15.1).
func (c *creation) checkParent() error {
	hierarchy := binary.BigEndian.AppendUint32(nil, uint32(tpm2.TPMRHEndorsement))
	if err := compare(hierarchy, c.data.ParentName.Buffer, "the AK's parent is not the endorsement hierarchy"); err != nil {
		return err
	}
	if err := compare(hierarchy, c.data.ParentQualifiedName.Buffer, "the Qualified Name of the AK's parent is not the endorsement hierarchy"); err != nil {
		return err
	}
	if c.data.ParentNameAlg != tpm2.TPMAlgNull {
		return fmt.Errorf("the AK's parent has the nameAlg 0x%04x, a hierarchy has none", uint16(c.data.ParentNameAlg))
	}
	return nil
}

// checkObject wants the certified object to be this AK, with this creation data (Part 2, 10.12.7).
func (c *creation) checkObject(key *ak, data []byte) error {
	if err := compare(key.name, c.info.ObjectName.Buffer, "the certified object is another than the AK"); err != nil {
		return err
	}
	h := key.nameAlg.New()
	h.Write(data)
	return compare(h.Sum(nil), c.info.CreationHash.Buffer, "the certified creation data is another than the one that came")
}

func (c *creation) checkNonce(nonce []byte) error {
	if len(nonce) < MinNonceSize {
		return fmt.Errorf("the caller's nonce has %d bytes: with fewer than %d an old certification may fit", len(nonce), MinNonceSize)
	}
	return compare(nonce, c.certified.ExtraData.Buffer, "another nonce was signed than the caller's")
}

// checkSigner: as in a quote, see checkQualifiedSigner.
func (c *creation) checkSigner(key *ak) error {
	return compare(key.qualifiedName(), c.certified.QualifiedSigner.Buffer, "the signer is no primary key of the endorsement hierarchy with this AK's Name")
}

// checkAKCertificate wants a certificate for this very key. Who signed it is not judged: it is for those who know AKs by certificate.
func checkAKCertificate(der []byte, key *signingKey) error {
	if len(der) == 0 {
		return notAsked("the AK has no certificate")
	}
	cert, err := parseCertificate(der)
	if err != nil {
		return fmt.Errorf("the AK certificate %w", err)
	}
	if !sameKey(cert, key.publicKey()) {
		return errors.New("the AK certificate is for another key")
	}
	return nil
}

// chooseAK returns the AK of that Name, or the one in use if none is asked for.
func chooseAK(aks []AttestationKey, asked []byte) (AttestationKey, error) {
	if len(aks) > maxAKs {
		return AttestationKey{}, fmt.Errorf("the node has %d AKs, more than %d", len(aks), maxAKs)
	}
	for _, candidate := range aks {
		if len(asked) == 0 && !candidate.Pending {
			return candidate, nil
		}
		if key, err := parseAK(candidate.Public); err == nil && subtle.ConstantTimeCompare(key.name, asked) == 1 {
			return candidate, nil
		}
	}
	if len(asked) > 0 {
		return AttestationKey{}, fmt.Errorf("the node has no AK with the Name %x", asked)
	}
	return AttestationKey{}, errors.New("the node has no AK in use")
}
