package tpm

import (
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// EK is one endorsement key as it was found.
type EK struct {
	// Public is its TPMT_PUBLIC; nil if there is a certificate whose key this TPM can't make.
	Public []byte
	// Certificate is DER without the padding that NV has; nil if there is none that can be parsed. It may be another key's: Detail says so.
	Certificate []byte
	// Chain are the certificates found beside it (DER, not checked), in no certain order.
	Chain [][]byte
	// KeySource is "handle 0x81010001" or "template L-1", CertificateSource "nv 0x01c00002" or the path of a file.
	KeySource, CertificateSource string
	// Detail says to people what is missing or odd; empty if nothing is.
	Detail string

	// handle is where the key is persistent, 0 if it is not; template makes it, nil if none of ours does.
	handle   tpm2.TPMHandle
	template *ekTemplate
}

// readEKs finds the EKs: one for each TCG index that holds a certificate, one for each TCG template that a persistent key was made from, and one for the certificate file if the
// operator has one. If there is none of these, it is those that the templates L-1 and L-2 make. A persistent key is taken before one is derived, which may take a TPM half a minute.
//
// Odd, missing or unreadable certificates are told in Detail. Errors: ErrHierarchyDisabled, ErrAuthRequired, the file's, or the TPM's own.
func readEKs(tpm transport.TPM, auths Auths, certificateFile string) ([]EK, error) {
	f := ekFinder{tpm: tpm, auths: auths, derived: make(map[string]*ekKey)}

	eks, err := f.find(certificateFile)
	if err != nil {
		return nil, fmt.Errorf("reading the EKs: %w", err)
	}

	return eks, nil
}

// withEK calls use with the key loaded: from its persistent handle, or, where that is empty as after TPM2_Clear, derived anew. It is always the key whose public area ek
// has, and nothing stays loaded.
func withEK(tpm transport.TPM, auths Auths, ek EK, use func(tpm2.NamedHandle) error) error {
	if ek.handle != 0 {
		response, err := tpm2.ReadPublic{ObjectHandle: ek.handle}.Execute(tpm)
		if err != nil && !refused(err) {
			return fmt.Errorf("looking at handle 0x%08x: %w", uint32(ek.handle), err)
		}

		if err == nil && string(response.OutPublic.Bytes()) == string(ek.Public) {
			return use(tpm2.NamedHandle{Handle: ek.handle, Name: response.Name})
		}
	}

	if ek.template == nil {
		return fmt.Errorf("the EK is gone from handle 0x%08x", uint32(ek.handle))
	}

	return withDerivedEK(tpm, auths, ek.template, func(primary *tpm2.CreatePrimaryResponse) error {
		if string(primary.OutPublic.Bytes()) != string(ek.Public) {
			return fmt.Errorf("template %s makes another EK now", ek.template.name)
		}

		return use(tpm2.NamedHandle{Handle: primary.ObjectHandle, Name: primary.Name})
	})
}

// withDerivedEK makes the EK of a template (TPM 2.0 Part 3, 24.1) and flushes it after use.
func withDerivedEK(tpm transport.TPM, auths Auths, template *ekTemplate, use func(*tpm2.CreatePrimaryResponse) error) error {
	primary, err := tpm2.CreatePrimary{PrimaryHandle: auths.endorsement(), InPublic: tpm2.New2B(template.public)}.Execute(tpm)
	if err != nil {
		return fmt.Errorf("deriving the EK of template %s: %w", template.name, endorsementError(err))
	}

	err = use(primary)
	if _, flushErr := (tpm2.FlushContext{FlushHandle: primary.ObjectHandle}).Execute(tpm); flushErr != nil {
		err = errors.Join(err, fmt.Errorf("flushing the EK: %w", flushErr))
	}

	return err
}

// endorsementError gives the refusals of the endorsement hierarchy the names that callers know. The hierarchy is not under dictionary-attack protection (TPM 2.0 Part 1, 19.8): a
// wrong value counts nowhere.
func endorsementError(err error) error {
	switch {
	case errors.Is(err, tpm2.TPMRCHierarchy):
		return fmt.Errorf("%w: %w", ErrHierarchyDisabled, err)
	case errors.Is(err, tpm2.TPMRCBadAuth), errors.Is(err, tpm2.TPMRCAuthFail):
		return fmt.Errorf("%w: %w", ErrAuthRequired, err)
	default:
		return err
	}
}

// refused says that err is a refusal of this one command, not a trouble with the TPM or the way to it.
func refused(err error) bool {
	var code tpm2.TPMRC

	return errors.Is(err, errNotReadable) || errors.As(err, &code) && !code.IsWarning() && !errors.Is(code, tpm2.TPMRCFailure)
}

// handlesBetween lists the handles in a range that hold something, in rising order: TPM2_GetCapability (TPM 2.0 Part 3, 30.2).
func handlesBetween(tpm transport.TPM, first, last tpm2.TPMHandle) ([]tpm2.TPMHandle, error) {
	var found []tpm2.TPMHandle

	for from := first; from <= last; {
		response, err := tpm2.GetCapability{Capability: tpm2.TPMCapHandles, Property: uint32(from), PropertyCount: 64}.Execute(tpm)
		if err != nil {
			return nil, err
		}

		list, err := response.CapabilityData.Data.Handles()
		if err != nil {
			return nil, err
		}

		for _, handle := range list.Handle {
			if handle < from || handle > last {
				return found, nil
			}

			found = append(found, handle)
			from = handle + 1
		}

		if !response.MoreData || len(list.Handle) == 0 {
			break
		}
	}

	return found, nil
}
