package tpm

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"

	"github.com/google/go-tpm/tpm2"
)

// maxHandshakes is how many handshakes may wait for a signature. Anybody who can reach the port can ask for one before it is known who he is, so there has to be an end to it.
const maxHandshakes = 32

// SignTLS signs a SHA-256 digest with the TLS key, which has to be want, and returns the signature as TLS and X.509 have it: Ecdsa-Sig-Value in DER (RFC 3279, 2.2.3).
//
// Handshakes queue up at a door of their own, and only one of them at a time stands in the queue for the TPM, behind the quotes until it has aged: of four turns, strangers have
// one at the most, however many knock. More than maxHandshakes at that door are refused at once with ErrQueueFull.
//
// Errors besides those of the TPM's state: ErrTLSKey.
func (t *TPM) SignTLS(ctx context.Context, want *ecdsa.PublicKey, digest []byte) ([]byte, error) {
	if len(digest) != sha256.Size {
		return nil, fmt.Errorf("signing for TLS: a digest of %d bytes is not one of SHA-256", len(digest))
	}

	leave, err := t.enterHandshake(ctx)
	if err != nil {
		return nil, fmt.Errorf("signing for TLS: %w", err)
	}
	defer leave()

	var signature []byte

	err = t.use(ctx, ClassHandshake, func(s *tpmSession) error {
		key, err := s.tlsKey()
		if err != nil {
			return err
		}

		if !key.Key.Equal(want) {
			return fmt.Errorf("%w: the certificate is for another key", ErrTLSKey)
		}

		signature, err = s.signTLS(key, digest)

		return err
	})
	if err != nil {
		return nil, fmt.Errorf("signing for TLS: %w", err)
	}

	return signature, nil
}

// enterHandshake waits at the handshakes' door, also for the TPM to be opened for the first time.
func (t *TPM) enterHandshake(ctx context.Context) (leave func(), err error) {
	if t.handshakes.Add(1) > maxHandshakes {
		t.handshakes.Add(-1)

		return nil, fmt.Errorf("%w for TLS", ErrQueueFull)
	}

	if _, err = t.Settled(ctx); err == nil {
		select {
		case t.handshake <- struct{}{}:
			return func() {
				<-t.handshake
				t.handshakes.Add(-1)
			}, nil
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
	}

	t.handshakes.Add(-1)

	return nil, err
}

// signTLS performs TPM2_Sign (TPM 2.0 Part 3, 20.2). With a password session the TPM does not check the key's Name, so the signature is checked here: whatever else was put at the
// key's handle must not sign.
func (s *tpmSession) signTLS(key *TLSKey, digest []byte) ([]byte, error) {
	response, err := tpm2.Sign{
		KeyHandle:  key.authorized(),
		Digest:     tpm2.TPM2BDigest{Buffer: digest},
		InScheme:   tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgNull},
		Validation: tpm2.TPMTTKHashCheck{Tag: tpm2.TPMSTHashCheck, Hierarchy: tpm2.TPMRHNull}, // the null ticket: enough for a key that is not restricted
	}.Execute(s.line)
	if err != nil {
		return nil, s.goneError(err)
	}

	ecc, err := response.Signature.Signature.ECDSA()
	if err != nil {
		return nil, fmt.Errorf("parsing TPMT_SIGNATURE: %w", err)
	}

	signature, err := asn1.Marshal(struct{ R, S *big.Int }{
		new(big.Int).SetBytes(ecc.SignatureR.Buffer), new(big.Int).SetBytes(ecc.SignatureS.Buffer),
	})
	if err != nil {
		return nil, fmt.Errorf("writing the signature: %w", err)
	}

	if !ecdsa.VerifyASN1(key.Key, digest, signature) {
		s.stale = true

		return nil, fmt.Errorf("%w: another key signed", ErrTLSKey)
	}

	return signature, nil
}

// goneError notes that a key is gone from its handle, as after TPM2_Clear: TPM_RC_HANDLE for a persistent one, TPM_RC_REFERENCE_H0 and H1 for transient ones. A TPM that wants a
// ticket, or finds that the key can't sign, has another key there.
func (s *tpmSession) goneError(err error) error {
	for _, gone := range []tpm2.TPMRC{tpm2.TPMRCHandle, tpm2.TPMRCReferenceH0, tpm2.TPMRCReferenceH1, tpm2.TPMRCTicket, tpm2.TPMRCKey} {
		if errors.Is(err, gone) {
			s.stale = true
		}
	}

	return err
}

// certifyTLS has the AK certify the TLS key: TPM2_Certify (TPM 2.0 Part 3, 18.2). It returns TPMS_ATTEST and TPMT_SIGNATURE.
func (s *tpmSession) certifyTLS(ak *AK, key *TLSKey, extraData []byte) (info, signature []byte, err error) {
	response, err := tpm2.Certify{
		ObjectHandle:   key.authorized(),
		SignHandle:     ak.authorized(),
		QualifyingData: tpm2.TPM2BData{Buffer: extraData},
		InScheme:       tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgNull},
	}.Execute(s.line)
	if err != nil {
		return nil, nil, fmt.Errorf("certifying the TLS key: %w", s.goneError(err))
	}

	info = response.CertifyInfo.Bytes()

	// As with a quote, see signed.check: whatever was put at the handles would sign, or be certified.
	attest, err := tpm2.Unmarshal[tpm2.TPMSAttest](info)
	if err != nil {
		return nil, nil, fmt.Errorf("parsing TPMS_ATTEST: %w", err)
	}

	certified, err := attest.Attested.Certify()
	if err != nil {
		return nil, nil, fmt.Errorf("parsing TPMS_CERTIFY_INFO: %w", err)
	}

	if !bytes.Equal(attest.QualifiedSigner.Buffer, ak.qualifiedName) || !bytes.Equal(certified.Name.Buffer, key.name) {
		s.stale = true

		return nil, nil, ErrForeignKey
	}

	return info, tpm2.Marshal(response.Signature), nil
}
