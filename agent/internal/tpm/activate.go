package tpm

import (
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// ErrCredential says that a credential is not for this EK and this AK, or is damaged.
var ErrCredential = errors.New("credential refused by the TPM")

// No TPM takes more. TPM2B_ID_OBJECT holds two digests with their sizes (TPM 2.0 Part 2, 12.4.3); TPM2B_ENCRYPTED_SECRET an RSA block or an ECC point (11.4.34): 4096 bits.
const (
	maxIDObject        = 2 + 64 + 2 + 64
	maxEncryptedSecret = 512
)

// activate opens a credential: TPM2_ActivateCredential (TPM 2.0 Part 3, 12.5). It gives the secret only if the credential was made for this EK and for the AK's Name, and the AK, which is
// at akHandle, is in the same TPM. The AK must have no authorisation value. blob is TPMS_ID_OBJECT, secret the encrypted seed, both without size prefixes. Nothing stays loaded.
//
// Errors: ErrCredential for what the maker of the credential did wrong, ErrAuthRequired, ErrHierarchyDisabled, ErrUnknownAK if akHandle holds no key of that Name, or the TPM's own.
func activate(tpm transport.TPM, auths Auths, ek EK, akHandle tpm2.TPMHandle, akName []byte, blob, secret []byte) ([]byte, error) {
	if len(blob) > maxIDObject || len(secret) > maxEncryptedSecret {
		return nil, fmt.Errorf("%w: blob of %d bytes, encrypted secret of %d", ErrCredential, len(blob), len(secret))
	}

	var opened []byte

	err := withEK(tpm, auths, ek, func(key tpm2.NamedHandle) error {
		command := tpm2.ActivateCredential{
			ActivateHandle: tpm2.AuthHandle{Handle: akHandle, Name: tpm2.TPM2BName{Buffer: akName}, Auth: tpm2.PasswordAuth(nil)},
			CredentialBlob: tpm2.TPM2BIDObject{Buffer: blob},
			Secret:         tpm2.TPM2BEncryptedSecret{Buffer: secret},
		}

		return withEKPolicy(tpm, auths, ek, func(policy tpm2.Session) error {
			command.KeyHandle = tpm2.AuthHandle{Handle: key.Handle, Name: key.Name, Auth: policy}

			response, err := command.Execute(tpm)
			if err != nil {
				return credentialError(tpm, err)
			}

			opened = response.CertInfo.Buffer

			return nil
		})
	})
	if err != nil {
		return nil, err
	}

	return opened, nil
}

// credentialError tells what the maker of a credential did wrong from what is wrong with the keys or the TPM.
func credentialError(tpm transport.TPM, err error) error {
	var format1 tpm2.TPMFmt1Error
	if errors.As(err, &format1) {
		if isParameter, _ := format1.Parameter(); isParameter {
			return fmt.Errorf("%w: %w", ErrCredential, err)
		}
	}

	switch {
	case errors.Is(err, tpm2.TPMRCNoResult):
		return fmt.Errorf("%w: %w", ErrCredential, err)
	case errors.Is(err, tpm2.TPMRCFailure) && works(tpm):
		// An RSA block that does not decrypt: seen at libtpms 0.9.2. The word is that of a TPM which is broken, but this one goes on working.
		return fmt.Errorf("%w: %w", ErrCredential, err)
	case errors.Is(err, tpm2.TPMRCHandle), errors.Is(err, tpm2.TPMRCReferenceH0):
		return fmt.Errorf("%w at its handle: %w", ErrUnknownAK, err)
	case errors.Is(err, tpm2.TPMRCBadAuth), errors.Is(err, tpm2.TPMRCAuthFail):
		// The policy was satisfied, the AK needs no authorisation: so the key at akHandle has another Name, which the policy session's HMAC covers, or is not the AK.
		return fmt.Errorf("%w at its handle: %w", ErrUnknownAK, err)
	default:
		return err
	}
}

// works says whether the TPM does more than report a failure: in failure mode it would refuse TPM2_GetRandom (TPM 2.0 Part 1, 12.2.4).
func works(tpm transport.TPM) bool {
	_, err := tpm2.GetRandom{BytesRequested: 1}.Execute(tpm)

	return err == nil
}
