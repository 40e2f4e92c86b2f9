package tpm

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/google/go-tpm/tpm2"
)

// Properties are what the TPM says of itself, read once after it was opened.
type Properties struct {
	// Banks are the active PCR banks, in the TPM's order.
	Banks []tpm2.TPMAlgID
	// MaxNonce is the most bytes of extraData that TPM2_Quote takes: a TPM2B_DATA holds a TPMT_HA, which is a u16 algorithm and the largest digest
	// (TPM 2.0 Part 2, 10.4.3).
	MaxNonce int
	// Manufacturer is TPM_PT_MANUFACTURER as text, Vendor the vendor strings joined.
	Manufacturer, Vendor string
	// Firmware is TPM_PT_FIRMWARE_VERSION_1 << 32 | TPM_PT_FIRMWARE_VERSION_2.
	Firmware uint64
}

func readProperties(tpm *line) (*Properties, error) {
	banks, err := activeBanks(tpm)
	if err != nil {
		return nil, err
	}

	// TPM_PT_FIXED begins with TPM_PT_FAMILY_INDICATOR, and all that is asked for lies within 64 properties (TPM 2.0 Part 2, 6.13).
	values, err := fixedProperties(tpm, 64)
	if err != nil {
		return nil, err
	}

	maxDigest := int(values[tpm2.TPMPTMaxDigest])
	if maxDigest == 0 || maxDigest > 64 {
		return nil, fmt.Errorf("reading TPM properties: TPM_PT_MAX_DIGEST is %d", maxDigest)
	}

	var vendor []byte
	for pt := tpm2.TPMPTVendorString1; pt <= tpm2.TPMPTVendorString4; pt++ {
		vendor = append(vendor, text(values[pt])...)
	}

	return &Properties{
		Banks:        banks,
		MaxNonce:     2 + maxDigest,
		Manufacturer: string(text(values[tpm2.TPMPTManufacturer])),
		Vendor:       string(vendor),
		Firmware:     uint64(values[tpm2.TPMPTFirmwareVersion1])<<32 | uint64(values[tpm2.TPMPTFirmwareVersion2]),
	}, nil
}

// activeBanks returns the banks with at least one PCR: an inactive bank is listed with an empty selection.
func activeBanks(tpm *line) ([]tpm2.TPMAlgID, error) {
	response, err := tpm2.GetCapability{Capability: tpm2.TPMCapPCRs, PropertyCount: 1}.Execute(tpm)
	if err != nil {
		return nil, fmt.Errorf("reading the PCR banks: %w", err)
	}

	assigned, err := response.CapabilityData.Data.AssignedPCR()
	if err != nil {
		return nil, fmt.Errorf("reading the PCR banks: %w", err)
	}

	var banks []tpm2.TPMAlgID

	for _, selection := range assigned.PCRSelections {
		if slices.ContainsFunc(selection.PCRSelect, func(b byte) bool { return b != 0 }) {
			banks = append(banks, selection.Hash)
		}
	}

	return banks, nil
}

func fixedProperties(tpm *line, count uint32) (map[tpm2.TPMPT]uint32, error) {
	response, err := tpm2.GetCapability{
		Capability:    tpm2.TPMCapTPMProperties,
		Property:      uint32(tpm2.TPMPTFamilyIndicator),
		PropertyCount: count,
	}.Execute(tpm)
	if err != nil {
		return nil, fmt.Errorf("reading TPM properties: %w", err)
	}

	properties, err := response.CapabilityData.Data.TPMProperties()
	if err != nil {
		return nil, fmt.Errorf("reading TPM properties: %w", err)
	}

	values := make(map[tpm2.TPMPT]uint32, len(properties.TPMProperty))
	for _, p := range properties.TPMProperty {
		values[p.Property] = p.Value
	}

	return values, nil
}

// text returns the four characters of a property without padding, and without what a terminal might act on.
func text(value uint32) []byte {
	b := bytes.TrimRight(binary.BigEndian.AppendUint32(nil, value), "\x00 ")

	return bytes.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}

		return r
	}, b)
}
