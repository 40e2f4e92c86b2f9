package tpm

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
)

// Creation is an AK with the TPM's word on how it was made.
type Creation struct {
	AK *AK
	// Pending says that it waits for the end of a rotation.
	Pending bool
	// Data is TPMS_CREATION_DATA (TPM 2.0 Part 2, 15.1); Info is TPMS_ATTEST over its digest, and Signature the TPMT_SIGNATURE over Info by the AK itself.
	Data, Info, Signature []byte
	// TLSInfo is TPMS_ATTEST that the AK made about the TLS key, TLSSignature the TPMT_SIGNATURE over it; nil if there is no TLS key.
	TLSInfo, TLSSignature []byte
}

// Identity is who a node is, as far as its TPM says.
type Identity struct {
	EKs []EK
	AKs []Creation
	// TLS is the TLS key, nil if there is none.
	TLS *TLSKey
}

// Identity returns the EKs, and for each AK a certification of its creation that signs nonce, and one of the TLS key that signs tlsData.
func (t *TPM) Identity(ctx context.Context, nonce, tlsData []byte) (*Identity, error) {
	var identity Identity

	err := t.use(ctx, ClassOther, func(s *tpmSession) error {
		eks, err := t.endorsementKeys()
		if err != nil {
			return err
		}

		identity = Identity{EKs: eks, TLS: s.tls}

		for _, ak := range []*AK{s.ak, s.pending} {
			if ak == nil {
				continue
			}

			creation, err := t.certifyCreation(ak, nonce)
			if err != nil {
				return err
			}

			if s.tls != nil {
				if creation.TLSInfo, creation.TLSSignature, err = s.certifyTLS(ak, s.tls, tlsData); err != nil {
					return err
				}
			}

			creation.Pending = ak == s.pending
			identity.AKs = append(identity.AKs, *creation)
		}

		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the identity: %w", err)
	}

	return &identity, nil
}

// endorsementKeys returns the EKs, read once for each time the TPM was opened.
func (t *TPM) endorsementKeys() ([]EK, error) {
	s := t.session
	if s.eks != nil {
		return s.eks, nil
	}

	eks, err := readEKs(s.line, t.options.Auths, t.options.EKCertificate)
	if err == nil {
		s.eks = eks
	}

	return eks, err
}

// certifyCreation has the TPM say how it made the AK: TPM2_CertifyCreation (TPM 2.0 Part 3, 18.3).
func (t *TPM) certifyCreation(ak *AK, nonce []byte) (*Creation, error) {
	made, err := t.creationOf(ak)
	if err != nil {
		return nil, err
	}

	response, err := tpm2.CertifyCreation{
		SignHandle:     ak.authorized(),
		ObjectHandle:   tpm2.NamedHandle{Handle: ak.handle, Name: tpm2.TPM2BName{Buffer: ak.Name()}},
		QualifyingData: tpm2.TPM2BData{Buffer: nonce},
		CreationHash:   made.CreationHash,
		InScheme:       tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgNull},
		CreationTicket: made.CreationTicket,
	}.Execute(t.session.line)
	if err != nil {
		return nil, fmt.Errorf("certifying the AK's creation: %w", t.session.signError(ak, err, nonce))
	}

	return &Creation{AK: ak, Data: made.CreationData.Bytes(), Info: response.CertifyInfo.Bytes(), Signature: tpm2.Marshal(response.Signature)}, nil
}

// creationOf derives the AK once more, since only creation gives the ticket that its certification wants. A ticket is good until the TPM is reset or cleared, and so is
// what is kept here.
func (t *TPM) creationOf(ak *AK) (made *tpm2.CreatePrimaryResponse, err error) {
	if made = t.session.creations[string(ak.Name())]; made != nil {
		return made, nil
	}

	err = t.keys().withPrimary(ak.Record.Algorithm, ak.Record.Generation, func(primary *tpm2.CreatePrimaryResponse) (bool, error) {
		if !bytes.Equal(primary.Name.Buffer, ak.Name()) {
			t.session.stale = true

			return false, ErrReplaced
		}

		made = primary
		t.session.creations[string(ak.Name())] = primary

		return false, nil
	})

	return made, err
}

// Activate opens a credential that was made for one of this node's EKs and AKs, and notes that the AK was enrolled.
//
// Errors besides those of the TPM's state: ErrUnknownAK, ErrUnknownEK, ErrCredential.
func (t *TPM) Activate(ctx context.Context, ekPublic, akName, blob, secret []byte) ([]byte, error) {
	var opened []byte

	err := t.use(ctx, ClassOther, func(s *tpmSession) error {
		ak, err := s.akNamed(akName)
		if err != nil {
			return err
		}

		eks, err := t.endorsementKeys()
		if err != nil {
			return err
		}

		for _, ek := range eks {
			if !bytes.Equal(ek.Public, ekPublic) {
				continue
			}

			opened, err = activate(s.line, t.options.Auths, ek, ak.handle, ak.Name(), blob, secret)
			s.stale = errors.Is(err, ErrUnknownAK) // gone from its handle, as after TPM2_Clear

			if err != nil {
				return err
			}

			if err := t.change(ak, func(record *KeyRecord) { record.Enrolled = true }); err != nil {
				t.options.Logger.Warn("it is not kept that the AK was enrolled", "error", err)
			}

			s.publish(EventNone)

			return nil
		}

		return ErrUnknownEK
	})
	if err != nil {
		return nil, fmt.Errorf("activating a credential: %w", err)
	}

	return opened, nil
}

// InstallCertificate keeps an operator's certificate (DER) for the AK whose key it certifies, and those of the authorities above it.
//
// Errors besides those of the TPM's state: ErrCertificate.
func (t *TPM) InstallCertificate(ctx context.Context, der []byte, chain ...[]byte) error {
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return fmt.Errorf("installing an AK certificate: %w: %w", ErrCertificate, err)
	}

	err = t.use(ctx, ClassOther, func(s *tpmSession) error {
		for _, ak := range []*AK{s.ak, s.pending} {
			if ak == nil || !ak.IsKeyOf(certificate) {
				continue
			}

			if err := t.change(ak, func(record *KeyRecord) { record.Certificate, record.Chain = der, chain }); err != nil {
				return err
			}

			s.publish(EventCertificate)

			return nil
		}

		return fmt.Errorf("%w: it is for another key than this node's AK", ErrCertificate)
	})
	if err != nil {
		return fmt.Errorf("installing an AK certificate: %w", err)
	}

	return nil
}

// IsKeyOf says whether the certificate is for this AK's key.
func (ak *AK) IsKeyOf(certificate *x509.Certificate) bool {
	public, err := tpm2.Unmarshal[tpm2.TPMTPublic](ak.Public)
	if err != nil {
		return false
	}

	key, err := tpm2.Pub(*public)
	if err != nil {
		return false
	}

	equal, ok := key.(interface{ Equal(x crypto.PublicKey) bool })

	return ok && equal.Equal(certificate.PublicKey)
}

// change changes what is remembered of an AK. The AK is replaced, not changed, because replies under way refer to it.
func (t *TPM) change(ak *AK, change func(*KeyRecord)) error {
	record := t.record.clone()
	changed := *ak

	for _, key := range []*KeyRecord{record.AK, record.Pending} {
		if key != nil && bytes.Equal(key.Name, ak.Name()) {
			change(key)
			changed.Record = *key
		}
	}

	if err := t.commit(record); err != nil {
		return err
	}

	if t.session.ak == ak {
		t.session.ak = &changed
	} else {
		t.session.pending = &changed
	}

	return nil
}

// Errors of enrolment.
var (
	// ErrUnknownEK says that this TPM has no EK with this public area.
	ErrUnknownEK = errors.New("no EK with this public area")
	// ErrCertificate says that a certificate can't be that of an AK.
	ErrCertificate = errors.New("not a certificate of an AK")
)
