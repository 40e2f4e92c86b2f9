package tpm

import (
	"bytes"
	"crypto"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
)

// errMalformed says that a response of the TPM is not what the specification says.
var errMalformed = errors.New("the TPM's response is malformed")

// signed is one response of TPM2_Quote.
type signed struct {
	// quoted is TPMS_ATTEST, signature TPMT_SIGNATURE.
	quoted, signature []byte
	pcrDigest         []byte
}

// parseQuote takes apart the response of TPM2_Quote (TPM 2.0 Part 3, 18.4, table 89): TPM2B_ATTEST and TPMT_SIGNATURE, and the authorisation of a password session. What it returns are
// parts of the response. A response code other than success is returned as tpm2.TPMRC.
func parseQuote(response []byte) (*signed, error) {
	r := &reader{rest: response}
	tag, size, code := r.u16(), r.u32(), r.u32()

	switch {
	case r.short || int64(size) != int64(len(response)):
		return nil, fmt.Errorf("%w: %d bytes", errMalformed, len(response))
	case code != uint32(tpm2.TPMRCSuccess):
		return nil, tpm2.TPMRC(code)
	case tag != uint16(tpm2.TPMSTSessions):
		return nil, fmt.Errorf("%w: tag 0x%04x", errMalformed, tag)
	}

	parameters := &reader{rest: r.take(int64(r.u32()))}
	quoted := parameters.sized()

	// TPMS_AUTH_RESPONSE (TPM 2.0 Part 2, 10.13.3) of a password session: an empty nonce, continueSession, an empty acknowledgement (TPM 2.0 Part 1, 19.4).
	const passwordSession = "\x00\x00\x01\x00\x00"
	if r.short || parameters.short || string(r.rest) != passwordSession {
		return nil, fmt.Errorf("%w: %d bytes that do not fit", errMalformed, len(response))
	}

	return &signed{quoted: quoted, signature: parameters.rest}, nil
}

// check compares what was signed with what was asked, and notes its pcrDigest. With a password session the TPM does not check the key's Name, so whatever was put at the AK's handle
// would sign in the AK's name: only qualifiedSigner tells. The error is ErrForeignKey then.
func (s *signed) check(ak *AK, extraData, pcrSelect []byte) error {
	r := &reader{rest: s.quoted}

	// TPMS_ATTEST (TPM 2.0 Part 2, 10.12.12).
	magic, structure, signer, extra := r.u32(), r.u16(), r.sized(), r.sized()
	r.take(8 + 4 + 4) // TPMS_CLOCK_INFO: clock, resetCount, restartCount
	safe := r.u8()
	r.take(8) // firmwareVersion
	// TPMS_QUOTE_INFO (10.12.4).
	selection, pcrDigest := r.take(int64(len(pcrSelect))), r.sized()

	switch {
	case r.short || magic != uint32(tpm2.TPMGeneratedValue) || structure != uint16(tpm2.TPMSTAttestQuote) || safe > 1:
		return fmt.Errorf("%w: TPMS_ATTEST", errMalformed)
	case subtle.ConstantTimeCompare(signer, ak.qualifiedName) != 1:
		return ErrForeignKey
	case !bytes.Equal(extra, extraData):
		return errors.New("the TPM signed another nonce")
	case !bytes.Equal(selection, pcrSelect):
		return errors.New("the TPM signed another PCR selection")
	case len(pcrDigest) != ak.hash.Size() || len(r.rest) > 0:
		return fmt.Errorf("%w: TPMS_QUOTE_INFO", errMalformed)
	}

	s.pcrDigest = pcrDigest

	return checkSignature(s.signature, ak)
}

// checkSignature makes sure that a TPMT_SIGNATURE (TPM 2.0 Part 2, 11.3.4) is one of the AK's scheme and nothing else, as far as its form goes.
func checkSignature(signature []byte, ak *AK) error {
	scheme, most := tpm2.TPMAlgECDSA, ak.hash.Size() // a number of P-256 has as many bytes as SHA-256, one of P-384 as SHA-384
	if ak.Record.Algorithm == RSA2048 {
		scheme, most = tpm2.TPMAlgRSASSA, 2048/8
	}

	r := &reader{rest: signature}
	alg, hash, numbers := r.u16(), r.u16(), [][]byte{r.sized()}

	if scheme == tpm2.TPMAlgECDSA { // TPMS_SIGNATURE_ECC: r, then s
		numbers = append(numbers, r.sized())
	}

	for _, number := range numbers {
		if len(number) == 0 || len(number) > most {
			r.short = true
		}
	}

	if r.short || len(r.rest) > 0 || alg != uint16(scheme) || hash != algOf(ak.hash) {
		return fmt.Errorf("%w: TPMT_SIGNATURE", errMalformed)
	}

	return nil
}

// algOf returns the TPM_ALG_ID of a hash that an AK signs with.
func algOf(hash crypto.Hash) uint16 {
	if hash == crypto.SHA384 {
		return uint16(tpm2.TPMAlgSHA384)
	}

	return uint16(tpm2.TPMAlgSHA256)
}

// reader takes a TPM structure apart, big-endian. Once something is missing, all that follows is zero or nil, and short tells.
type reader struct {
	rest  []byte
	short bool
}

// take returns the next n bytes as a part of what is read.
func (r *reader) take(n int64) []byte {
	if r.short || n > int64(len(r.rest)) {
		r.rest, r.short = nil, true

		return nil
	}

	part := r.rest[:n:n]
	r.rest = r.rest[n:]

	return part
}

func (r *reader) u8() uint8 {
	if b := r.take(1); b != nil {
		return b[0]
	}

	return 0
}

func (r *reader) u16() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}

	return 0
}

func (r *reader) u32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}

	return 0
}

// sized returns the contents of a TPM2B: u16 size, then as many bytes.
func (r *reader) sized() []byte {
	return r.take(int64(r.u16()))
}
