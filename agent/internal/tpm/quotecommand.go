package tpm

import (
	"crypto"
	"encoding/binary"
	"slices"

	"github.com/google/go-tpm/tpm2"
)

// maxPrepared bounds how many quotes stay prepared: callers choose their selections.
const maxPrepared = 16

// prepared is what a quote by one AK over one selection has in common with the next one, so that making it again costs next to nothing beside the TPM.
type prepared struct {
	handle     tpm2.TPMHandle
	selections []Selection
	// pcrSelect is the TPML_PCR_SELECTION of the selections.
	pcrSelect []byte
	// command holds the last command; its head never changes.
	command []byte
	// banks are the values whose digest was signed last, digest is theirs.
	banks  []Bank
	digest []byte
}

// quoteHead is the size of what stands before qualifyingData in a TPM2_Quote: the header, the handle, and the authorisation area with its size.
const quoteHead = headerSize + 4 + 4 + 9

// prepare returns what is prepared for such a quote.
func (s *tpmSession) prepare(ak *AK, selections []Selection) *prepared {
	for _, p := range s.prepared {
		if p.handle == ak.handle && slices.Equal(p.selections, selections) {
			return p
		}
	}

	if len(s.prepared) == maxPrepared {
		s.prepared = slices.Delete(s.prepared, 0, 1)
	}

	p := newPrepared(ak.handle, selections)
	s.prepared = append(s.prepared, p)

	return p
}

func newPrepared(handle tpm2.TPMHandle, selections []Selection) *prepared {
	p := &prepared{handle: handle, selections: slices.Clone(selections)}

	// TPML_PCR_SELECTION (TPM 2.0 Part 2, 10.9.7): u32 count, then u16 hash, u8 sizeofSelect and the bit map of each.
	p.pcrSelect = binary.BigEndian.AppendUint32(nil, uint32(len(selections))) // #nosec G115 -- no more than there are banks
	for _, selection := range selections {
		p.pcrSelect = binary.BigEndian.AppendUint16(p.pcrSelect, uint16(selection.Bank))
		p.pcrSelect = append(p.pcrSelect, byte(len(selection.Mask)))
		p.pcrSelect = append(p.pcrSelect, selection.Mask[:]...)
	}

	// TPM 2.0 Part 3, 18.4. The size is set when it is known.
	p.command = make([]byte, 0, quoteHead+2+maxExtraData+2+len(p.pcrSelect))
	p.command = binary.BigEndian.AppendUint16(p.command, uint16(tpm2.TPMSTSessions))
	p.command = binary.BigEndian.AppendUint32(p.command, 0)
	p.command = binary.BigEndian.AppendUint32(p.command, uint32(tpm2.TPMCCQuote))
	p.command = binary.BigEndian.AppendUint32(p.command, uint32(handle))
	// One TPMS_AUTH_COMMAND (TPM 2.0 Part 2, 10.13.2): a password session with an empty nonce, no attributes and an empty password.
	p.command = binary.BigEndian.AppendUint32(p.command, 9)
	p.command = binary.BigEndian.AppendUint32(p.command, uint32(tpm2.TPMRSPW))
	p.command = append(p.command, 0, 0, 0, 0, 0)

	return p
}

// maxExtraData is the most that any TPM takes: a u16 and the largest digest there is (TPM 2.0 Part 2, 10.4.3).
const maxExtraData = 2 + 64

// quote returns the bytes of a TPM2_Quote that signs extraData. They are good until the next call.
func (p *prepared) quote(extraData []byte) []byte {
	c := p.command[:quoteHead]
	c = binary.BigEndian.AppendUint16(c, uint16(len(extraData))) // #nosec G115 -- at most maxExtraData, see checkRequest
	c = append(c, extraData...)
	c = binary.BigEndian.AppendUint16(c, uint16(tpm2.TPMAlgNull)) // inScheme: the key's own
	c = append(c, p.pcrSelect...)
	binary.BigEndian.PutUint32(c[2:], uint32(len(c))) // #nosec G115 -- some hundred bytes

	p.command = c

	return c
}

// proven returns the banks if these are their values: those that were signed last, else those that were read last. Nil: neither are.
func (p *prepared) proven(s *tpmSession, hash crypto.Hash, signed []byte) []Bank {
	if p.banks != nil && slices.Equal(p.digest, signed) {
		return p.banks
	}

	banks := s.kept(p.selections)
	if banks == nil {
		return nil
	}

	if d := digest(hash, banks); slices.Equal(d, signed) {
		p.banks, p.digest = banks, d

		return banks
	}

	return nil
}
