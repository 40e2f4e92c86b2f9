package tpm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/go-tpm/tpm2"
)

// quoteRounds is how often a quote is made anew because PCRs moved under it.
const quoteRounds = 3

// Quote is a signed quote together with the PCR values whose digest it signs.
type Quote struct {
	// Quoted is TPMS_ATTEST, Signature TPMT_SIGNATURE, as the TPM gave them.
	Quoted, Signature []byte
	// Banks are the values, in the order of the selections.
	Banks []Bank
	// AK is the key that signed.
	AK *AK
}

// Request asks for a quote.
type Request struct {
	// ExtraData is signed as it is.
	ExtraData []byte
	// Selections are the PCRs: at least one, each bank once, no empty ones.
	Selections []Selection
	// AKName chooses the AK; empty: the one in use.
	AKName []byte
}

// Quote signs extraData and the selected PCRs. It waits for its turn at the TPM as long as ctx allows.
//
// Errors: those of this package, ctx's own, or the TPM's.
func (t *TPM) Quote(ctx context.Context, request Request) (*Quote, error) {
	var quote *Quote

	err := t.use(ctx, ClassQuote, func(s *tpmSession) error {
		ak, err := s.akNamed(request.AKName)
		if err != nil {
			return err
		}

		quote, err = s.quote(ak, request.ExtraData, request.Selections)

		return err
	})
	if err != nil {
		return nil, fmt.Errorf("quoting: %w", err)
	}

	return quote, nil
}

// akNamed returns the AK with this Name.
func (s *tpmSession) akNamed(name []byte) (*AK, error) {
	switch {
	case len(name) == 0 || bytes.Equal(name, s.ak.Name()):
		return s.ak, nil
	case s.pending != nil && bytes.Equal(name, s.pending.Name()):
		return s.pending, nil
	default:
		return nil, ErrUnknownAK
	}
}

// quote costs one TPM command as long as the PCRs are what they were at the last quote, which for PCR 17-19 is the rule: the kept values are proven by the
// signed digest. Otherwise the PCRs are read and compared with the same quote, and only then is another one made.
func (s *tpmSession) quote(ak *AK, extraData []byte, selections []Selection) (*Quote, error) {
	if err := s.checkRequest(extraData, selections); err != nil {
		return nil, err
	}

	p := s.prepare(ak, selections)

	for range quoteRounds {
		response, err := s.sign(ak, p, extraData)
		if err != nil {
			return nil, err
		}

		banks, err := s.match(ak, p, response.pcrDigest)
		if err != nil {
			return nil, err
		}

		if banks != nil {
			return &Quote{Quoted: response.quoted, Signature: response.signature, Banks: banks, AK: ak}, nil
		}
	}

	return nil, ErrPCRRace
}

func (s *tpmSession) checkRequest(extraData []byte, selections []Selection) error {
	if len(extraData) > min(s.properties.MaxNonce, maxExtraData) {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrNonceTooLong, len(extraData), s.properties.MaxNonce)
	}

	for _, selection := range selections {
		if !slices.Contains(s.properties.Banks, selection.Bank) {
			return fmt.Errorf("%w: %s", ErrBankInactive, BankName(selection.Bank))
		}
	}

	return nil
}

// match returns values whose digest is the signed one: kept ones, or those read now. Nil, if neither.
func (s *tpmSession) match(ak *AK, p *prepared, signed []byte) ([]Bank, error) {
	if banks := p.proven(s, ak.hash, signed); banks != nil {
		return banks, nil
	}

	if err := s.readPCRs(p.selections); err != nil {
		return nil, err
	}

	return p.proven(s, ak.hash, signed), nil
}

// sign performs TPM2_Quote (TPM 2.0 Part 3, 18.4) and makes sure that the answer is to this question.
func (s *tpmSession) sign(ak *AK, p *prepared, extraData []byte) (*signed, error) {
	response, err := s.line.Send(p.quote(extraData))
	if err != nil {
		return nil, err
	}

	answer, err := parseQuote(response)
	if err != nil {
		return nil, s.signError(ak, err, extraData)
	}

	if err := answer.check(ak, extraData, p.pcrSelect); err != nil {
		s.stale = s.stale || errors.Is(err, ErrForeignKey)

		return nil, err
	}

	return answer, nil
}

// authorized is the AK as a command takes it; its authorisation value is empty.
func (ak *AK) authorized() tpm2.AuthHandle {
	return tpm2.AuthHandle{Handle: ak.handle, Name: tpm2.TPM2BName{Buffer: ak.Name()}, Auth: tpm2.PasswordAuth(nil)}
}

// signError gives the TPM's refusals of a quote the names that callers know.
func (s *tpmSession) signError(ak *AK, err error, extraData []byte) error {
	var format1 tpm2.TPMFmt1Error

	if errors.Is(err, tpm2.TPMRCSize) && errors.As(err, &format1) {
		// The first parameter is qualifyingData: this TPM takes less than it announced.
		if isParameter, index := format1.Parameter(); isParameter && index == 1 {
			s.properties.MaxNonce = len(extraData) - 1
			s.publish(EventNone)

			return fmt.Errorf("%w: %d bytes refused", ErrNonceTooLong, len(extraData))
		}
	}

	// The key is gone from its handle, as after TPM2_Clear: TPM_RC_HANDLE for a persistent one, TPM_RC_REFERENCE_H0 for a transient one.
	if errors.Is(err, tpm2.TPMRCHandle) || errors.Is(err, tpm2.TPMRCReferenceH0) {
		s.stale = true

		return fmt.Errorf("%w: no key at 0x%08x", ErrForeignKey, uint32(ak.handle))
	}

	return err
}
