package tpmsim

import (
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
)

// Where fillNV puts things: the owner's ranges. TCG Registry of Reserved TPM 2.0
// Handles and Localities, 2.2 and 2.3.
const (
	fillIndex  tpm2.TPMHandle = 0x01800f00
	fillHandle tpm2.TPMHandle = 0x81100f00

	maxFill = 0x100 // of each kind; a TPM of a PC has room for fewer
)

// fillNV defines NV indices and makes keys persistent until neither the smallest
// index nor any object fits. Indices alone are not enough: a TPM keeps room for
// some persistent objects that indices can't take.
func (a admin) fillNV() error {
	return a.withForeignKey(func(key *tpm2.NamedHandle) error {
		for _, size := range []uint16{1024, 64, 1} {
			if err := fill(fillIndex, func(index tpm2.TPMHandle) error { return a.defineIndex(index, size) }); err != nil {
				return fmt.Errorf("defining NV indices of %d bytes: %w", size, err)
			}
		}
		if err := fill(fillHandle, func(handle tpm2.TPMHandle) error { return a.persist(key, handle) }); err != nil {
			return fmt.Errorf("making keys persistent: %w", err)
		}
		// The room that was kept for objects may have had some bytes to spare.
		if err := fill(fillIndex, func(index tpm2.TPMHandle) error { return a.defineIndex(index, 1) }); err != nil {
			return fmt.Errorf("defining NV indices of the smallest size: %w", err)
		}
		return nil
	})
}

// fill adds at one handle after the other until the TPM says that it is full.
func fill(first tpm2.TPMHandle, add func(tpm2.TPMHandle) error) error {
	for handle := first; handle < first+maxFill; handle++ {
		err := add(handle)
		if errors.Is(err, tpm2.TPMRCNVSpace) {
			return nil
		}
		if err != nil && !errors.Is(err, tpm2.TPMRCNVDefined) {
			return err
		}
	}
	return errors.New("the TPM has more room than expected")
}

// defineIndex defines an ordinary index of the owner.
func (a admin) defineIndex(index tpm2.TPMHandle, size uint16) error {
	_, err := tpm2.NVDefineSpace{
		AuthHandle: a.owner(),
		PublicInfo: tpm2.New2B(tpm2.TPMSNVPublic{
			NVIndex:    index,
			NameAlg:    tpm2.TPMAlgSHA256,
			Attributes: tpm2.TPMANV{OwnerWrite: true, OwnerRead: true, NoDA: true},
			DataSize:   size,
		}),
	}.Execute(a.tpm)
	return err
}

// freeNV removes what fillNV left.
func (a admin) freeNV() error {
	for handle := fillHandle; handle < fillHandle+maxFill; handle++ {
		if err := a.evict(handle); err != nil {
			return fmt.Errorf("evicting what is at %#x: %w", uint32(handle), err)
		}
	}
	for index := fillIndex; index < fillIndex+maxFill; index++ {
		if err := a.undefineIndex(index); err != nil {
			return fmt.Errorf("undefining NV index %#x: %w", uint32(index), err)
		}
	}
	return nil
}

// undefineIndex removes an index of the owner, if it is there.
func (a admin) undefineIndex(index tpm2.TPMHandle) error {
	read, err := tpm2.NVReadPublic{NVIndex: index}.Execute(a.tpm)
	if errors.Is(err, tpm2.TPMRCHandle) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = tpm2.NVUndefineSpace{
		AuthHandle: a.owner(),
		NVIndex:    tpm2.NamedHandle{Handle: index, Name: read.NVName},
	}.Execute(a.tpm)
	return err
}
