package tpmsim

import (
	"fmt"

	"github.com/google/go-tpm/tpm2"
)

// maxNVChunk is how much one TPM2_NV_Write takes: less than the 1024 bytes of
// TPM_PT_NV_BUFFER_MAX that all TPMs of PCs have.
const maxNVChunk = 768

// writeReadOnlyNV defines an NV index with the platform's authorization, as a
// TPM vendor does, writes data and locks it for good. The owner, or anybody with
// the empty authorization of the index, may read it.
func writeReadOnlyNV(m *machine, index tpm2.TPMHandle, data []byte) error {
	public := tpm2.TPMSNVPublic{
		NVIndex: index,
		NameAlg: tpm2.TPMAlgSHA256,
		Attributes: tpm2.TPMANV{
			PPWrite:        true,
			WriteDefine:    true,
			PPRead:         true,
			OwnerRead:      true,
			AuthRead:       true,
			NoDA:           true,
			PlatformCreate: true,
		},
		DataSize: uint16(len(data)), //nolint:gosec // an index larger than its TPM allows is refused by it
	}
	if _, err := (tpm2.NVDefineSpace{
		AuthHandle: tpm2.TPMRHPlatform,
		PublicInfo: tpm2.New2B(public),
	}).Execute(m); err != nil {
		return fmt.Errorf("defining NV index %#x: %w", uint32(index), err)
	}

	for offset := 0; offset < len(data); offset += maxNVChunk {
		if err := writeNV(m, index, data, offset); err != nil {
			return fmt.Errorf("writing NV index %#x: %w", uint32(index), err)
		}
	}

	handle, err := nvHandle(m, index)
	if err != nil {
		return err
	}
	if _, err := (tpm2.NVWriteLock{AuthHandle: tpm2.TPMRHPlatform, NVIndex: handle}).Execute(m); err != nil {
		return fmt.Errorf("locking NV index %#x: %w", uint32(index), err)
	}
	return nil
}

// writeNV writes the chunk of data that begins at offset.
func writeNV(m *machine, index tpm2.TPMHandle, data []byte, offset int) error {
	handle, err := nvHandle(m, index)
	if err != nil {
		return err
	}

	chunk := data[offset:min(offset+maxNVChunk, len(data))]
	_, err = tpm2.NVWrite{
		AuthHandle: tpm2.TPMRHPlatform,
		NVIndex:    handle,
		Data:       tpm2.TPM2BMaxNVBuffer{Buffer: chunk},
		Offset:     uint16(offset), //nolint:gosec // below the size of the index
	}.Execute(m)
	return err
}

// nvHandle returns an index with its name, which the first write changes.
func nvHandle(m *machine, index tpm2.TPMHandle) (tpm2.NamedHandle, error) {
	read, err := tpm2.NVReadPublic{NVIndex: index}.Execute(m)
	if err != nil {
		return tpm2.NamedHandle{}, fmt.Errorf("reading the name of NV index %#x: %w", uint32(index), err)
	}
	return tpm2.NamedHandle{Handle: index, Name: read.NVName}, nil
}
