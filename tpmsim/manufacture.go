package tpmsim

import (
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
)

// manufacture makes a TPM that was just started for the first time into one as a
// vendor ships it: its PCR banks, its EKs at the handles and its EK certificates
// in the NV indices that the TCG EK Credential Profile gives them. The TPM is
// left as after a power cycle.
func manufacture(m *machine) (manifest, error) {
	if err := allocateBanks(m); err != nil {
		return manifest{}, fmt.Errorf("allocating PCR banks: %w", err)
	}
	if err := m.powerOn(); err != nil {
		return manifest{}, err
	}

	ca, err := newEKAuthority()
	if err != nil {
		return manifest{}, fmt.Errorf("making the EK authority: %w", err)
	}
	for _, k := range endorsementKeys() {
		if err := k.manufacture(m, ca); err != nil {
			return manifest{}, fmt.Errorf("making the %s EK: %w", k.name, err)
		}
	}

	roots := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.cert.Raw})
	return manifest{Manufactured: true, EKRoots: string(roots)}, nil
}

// manufacture makes the key persistent and writes its certificate.
func (k endorsementKey) manufacture(m *machine, ca *ekAuthority) error {
	public, err := k.persist(m)
	if err != nil {
		return fmt.Errorf("making it persistent: %w", err)
	}

	cert, err := ca.certify(public, k.keyUsage)
	if err != nil {
		return fmt.Errorf("certifying it: %w", err)
	}
	if err := writeReadOnlyNV(m, k.certIndex, cert); err != nil {
		return fmt.Errorf("writing its certificate: %w", err)
	}
	return nil
}

// allocateBanks chooses the active banks, from the next power cycle on. swtpm
// begins with all banks it has; SHA-512 is the one that is switched off.
//
// TPM2_PCR_Allocate: TPM 2.0 Part 3, 22.5. go-tpm does not have it.
func allocateBanks(m *machine) error {
	const (
		ccPCRAllocate = 0x0000012b
		allPCRs       = "\xff\xff\xff"
		noPCRs        = "\x00\x00\x00"
	)

	selection := tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{
		{Hash: tpm2.TPMAlgSHA512, PCRSelect: []byte(noPCRs)},
	}}
	for _, b := range activeBanks() {
		selection.PCRSelections = append(selection.PCRSelections,
			tpm2.TPMSPCRSelection{Hash: b.alg, PCRSelect: []byte(allPCRs)})
	}

	body := binary.BigEndian.AppendUint32(nil, uint32(tpm2.TPMRHPlatform))
	body = append(body, emptyPasswordAuth()...)
	body = append(body, tpm2.Marshal(selection)...)

	cmd := binary.BigEndian.AppendUint16(nil, uint16(tpm2.TPMSTSessions))
	cmd = binary.BigEndian.AppendUint32(cmd, uint32(headerSize+len(body))) //nolint:gosec // some 50 bytes
	cmd = binary.BigEndian.AppendUint32(cmd, ccPCRAllocate)

	response, err := m.Send(append(cmd, body...))
	if err != nil {
		return err
	}
	if code := parseHeader([headerSize]byte(response)).code; code != 0 {
		return tpm2.TPMRC(code)
	}

	// The parameters begin, behind their size, with allocationSuccess.
	const success = headerSize + 4
	if len(response) <= success || response[success] != 1 {
		return errors.New("the TPM has no room for these banks")
	}
	return nil
}

// emptyPasswordAuth returns the size of an authorization area and in it one
// TPMS_AUTH_COMMAND with an empty password. TPM 2.0 Part 2, 10.13.2.
func emptyPasswordAuth() []byte {
	b := binary.BigEndian.AppendUint32(nil, 9)
	b = binary.BigEndian.AppendUint32(b, uint32(tpm2.TPMRSPW))
	return append(b, 0, 0, 0, 0, 0) // no nonce, no attributes, no password
}
