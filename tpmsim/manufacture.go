package tpmsim

import (
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// manufacture makes a TPM that was just started for the first time into one as a
// vendor ships it: its PCR banks, its EKs at the handles and its certificates in
// the NV indices that the TCG EK Credential Profile gives them. The TPM is left as
// after a power cycle. It returns, in PEM, what the certificates verify against.
func manufacture(m *machine, ships Endorsement) (ekRoots string, err error) {
	if err := allocateBanks(m); err != nil {
		return "", fmt.Errorf("allocating PCR banks: %w", err)
	}
	if err := m.powerOn(); err != nil {
		return "", err
	}

	ca, err := newEKAuthority()
	if err != nil {
		return "", fmt.Errorf("making the EK authority: %w", err)
	}
	for _, k := range ships.keys() {
		if err := ships.manufacture(m, ca, k); err != nil {
			return "", fmt.Errorf("making the %s EK: %w", k.name, err)
		}
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.cert.Raw})), nil
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

	answer, err := platformCommand(m, ccPCRAllocate, tpm2.Marshal(selection))
	if err != nil {
		return err
	}
	if len(answer) == 0 || answer[0] != 1 { // allocationSuccess
		return errors.New("the TPM has no room for these banks")
	}
	return nil
}

// platformCommand sends a command that go-tpm does not have: one with the
// platform's authorization, which is empty, and no handles but that. It returns the
// response's parameters, and what may follow them.
func platformCommand(tpm transport.TPM, code uint32, parameters []byte) ([]byte, error) {
	body := binary.BigEndian.AppendUint32(nil, uint32(tpm2.TPMRHPlatform))
	body = append(body, emptyPasswordAuth()...)
	body = append(body, parameters...)

	cmd := binary.BigEndian.AppendUint16(nil, uint16(tpm2.TPMSTSessions))
	cmd = binary.BigEndian.AppendUint32(cmd, uint32(headerSize+len(body))) //nolint:gosec // some 50 bytes
	cmd = binary.BigEndian.AppendUint32(cmd, code)

	response, err := tpm.Send(append(cmd, body...))
	if err != nil {
		return nil, err
	}
	if code := parseHeader([headerSize]byte(response)).code; code != 0 {
		return nil, tpm2.TPMRC(code)
	}

	const parameterSize = 4 // the size of the parameters comes first
	return response[min(headerSize+parameterSize, len(response)):], nil
}

// emptyPasswordAuth returns the size of an authorization area and in it one
// TPMS_AUTH_COMMAND with an empty password. TPM 2.0 Part 2, 10.13.2.
func emptyPasswordAuth() []byte {
	b := binary.BigEndian.AppendUint32(nil, 9)
	b = binary.BigEndian.AppendUint32(b, uint32(tpm2.TPMRSPW))
	return append(b, 0, 0, 0, 0, 0) // no nonce, no attributes, no password
}
