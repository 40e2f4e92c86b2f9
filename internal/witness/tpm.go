package witness

import (
	"bytes"
	"fmt"
	"sync"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/trustpool/trustpool/verifier/eventlog"
)

// Keys looks for keys at a TPM's persistent handles, and remembers them: a Name is that of one public area, for ever.
func Keys(tpm transport.TPM) func(name []byte) (public []byte, ok bool) {
	var found sync.Map

	return func(name []byte) (public []byte, ok bool) {
		if known, ok := found.Load(string(name)); ok {
			return known.([]byte), true //nolint:forcetypeassert // what is stored below
		}

		// The owner's range of persistent handles, TCG Registry of Reserved TPM 2.0 Handles and Localities, 2.3.1.
		response, err := tpm2.GetCapability{Capability: tpm2.TPMCapHandles, Property: 0x81000000, PropertyCount: 254}.Execute(tpm)
		if err != nil {
			return nil, false
		}

		handles, err := response.CapabilityData.Data.Handles()
		if err != nil {
			return nil, false
		}

		for _, handle := range handles.Handle {
			read, err := tpm2.ReadPublic{ObjectHandle: handle}.Execute(tpm)
			if err == nil && bytes.Equal(read.Name.Buffer, name) {
				found.Store(string(name), read.OutPublic.Bytes())

				return read.OutPublic.Bytes(), true
			}
		}

		return nil, false
	}
}

// PCRs reads all PCRs of a TPM's SHA-256 bank.
func PCRs(tpm transport.TPM) (map[PCR][]byte, error) {
	values := make(map[PCR][]byte)

	for index := range 24 {
		read, err := tpm2.PCRRead{PCRSelectionIn: tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{
			{Hash: tpm2.TPMAlgSHA256, PCRSelect: tpm2.PCClientCompatible.PCRs(uint(index))},
		}}}.Execute(tpm)
		if err != nil {
			return nil, fmt.Errorf("reading PCR %d: %w", index, err)
		}

		if len(read.PCRValues.Digests) != 1 {
			return nil, fmt.Errorf("reading PCR %d: %d values", index, len(read.PCRValues.Digests))
		}

		values[PCR{eventlog.AlgSHA256, index}] = read.PCRValues.Digests[0].Buffer
	}

	return values, nil
}
