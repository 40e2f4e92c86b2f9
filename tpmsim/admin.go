package tpmsim

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// admin acts on a TPM with the authorizations of its platform and its owner, as
// firmware and an operator do. It knows the owner's from the manifest.
type admin struct {
	tpm transport.TPM
	dir *stateDir
}

func (a admin) owner() tpm2.AuthHandle {
	return tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(a.dir.manifest.OwnerAuth)}
}

func (a admin) endorsement() tpm2.AuthHandle {
	return tpm2.AuthHandle{Handle: tpm2.TPMRHEndorsement, Auth: tpm2.PasswordAuth(a.dir.manifest.EndorsementAuth)}
}

// clear performs TPM2_Clear, which empties the authorization values too.
// TPM 2.0 Part 3, 24.6.
func (a admin) clear() error {
	platform := tpm2.AuthHandle{Handle: tpm2.TPMRHPlatform, Auth: tpm2.PasswordAuth(nil)}
	if _, err := (tpm2.Clear{AuthHandle: platform}).Execute(a.tpm); err != nil {
		return err
	}

	m := a.dir.manifest
	m.OwnerAuth, m.EndorsementAuth = nil, nil
	return a.dir.save(m)
}

// setAuths sets the authorization values of the owner and endorsement hierarchies.
func (a admin) setAuths(owner, endorsement []byte) error {
	if err := a.setAuth(a.owner(), a.dir.manifest.OwnerAuth, owner); err != nil {
		return fmt.Errorf("of the owner: %w", err)
	}
	m := a.dir.manifest
	m.OwnerAuth = bytes.Clone(owner)
	if err := a.dir.save(m); err != nil {
		return err
	}

	if err := a.setAuth(a.endorsement(), m.EndorsementAuth, endorsement); err != nil {
		return fmt.Errorf("of the endorsement hierarchy: %w", err)
	}
	m.EndorsementAuth = bytes.Clone(endorsement)
	return a.dir.save(m)
}

// setAuth changes one authorization value, unless it is the same.
func (a admin) setAuth(hierarchy tpm2.AuthHandle, old, value []byte) error {
	if bytes.Equal(old, value) {
		return nil
	}
	_, err := tpm2.HierarchyChangeAuth{
		AuthHandle: hierarchy,
		NewAuth:    tpm2.TPM2BAuth{Buffer: value},
	}.Execute(a.tpm)
	return err
}

// setEndorsement enables or disables the endorsement hierarchy.
//
// TPM2_HierarchyControl: TPM 2.0 Part 3, 24.2. go-tpm does not have it.
func (a admin) setEndorsement(enabled bool) error {
	const ccHierarchyControl = 0x00000121

	state := byte(0) // TPMI_YES_NO
	if enabled {
		state = 1
	}
	hierarchy := binary.BigEndian.AppendUint32(nil, uint32(tpm2.TPMRHEndorsement))
	_, err := platformCommand(a.tpm, ccHierarchyControl, append(hierarchy, state))
	return err
}

func (a admin) disableEndorsement() error { return a.setEndorsement(false) }

// withForeignKey derives a restricted signing key that no template of ours
// gives, in the endorsement hierarchy, and flushes it after use.
func (a admin) withForeignKey(use func(*tpm2.NamedHandle) error) (err error) {
	made, err := tpm2.CreatePrimary{
		PrimaryHandle: a.endorsement(),
		InPublic:      tpm2.New2B(foreignTemplate()),
	}.Execute(a.tpm)
	if err != nil {
		return fmt.Errorf("deriving a foreign key: %w", err)
	}
	defer func() {
		_, flushErr := tpm2.FlushContext{FlushHandle: made.ObjectHandle}.Execute(a.tpm)
		err = errors.Join(err, flushErr)
	}()
	return use(&tpm2.NamedHandle{Handle: made.ObjectHandle, Name: made.Name})
}

// occupy puts the foreign key at a persistent handle, in the place of whatever is
// there.
func (a admin) occupy(handle tpm2.TPMHandle) error {
	if err := a.evict(handle); err != nil {
		return fmt.Errorf("evicting what is at %#x: %w", uint32(handle), err)
	}
	return a.withForeignKey(func(key *tpm2.NamedHandle) error { return a.persist(key, handle) })
}

// persist makes a loaded object persistent.
func (a admin) persist(object *tpm2.NamedHandle, handle tpm2.TPMHandle) error {
	_, err := tpm2.EvictControl{
		Auth:             a.owner(),
		ObjectHandle:     object,
		PersistentHandle: handle,
	}.Execute(a.tpm)
	return err
}

// evict removes a persistent object, if there is one.
func (a admin) evict(handle tpm2.TPMHandle) error {
	object, err := tpm2.ReadPublic{ObjectHandle: handle}.Execute(a.tpm)
	if errors.Is(err, tpm2.TPMRCHandle) {
		return nil
	}
	if err != nil {
		return err
	}
	return a.persist(&tpm2.NamedHandle{Handle: handle, Name: object.Name}, handle)
}

// foreignTemplate returns an ECDSA P-256 attestation key whose unique field sets
// it apart from the keys of everybody else.
func foreignTemplate() tpm2.TPMTPublic {
	return tpm2.TPMTPublic{
		Type:    tpm2.TPMAlgECC,
		NameAlg: tpm2.TPMAlgSHA256,
		ObjectAttributes: tpm2.TPMAObject{
			FixedTPM:            true,
			FixedParent:         true,
			SensitiveDataOrigin: true,
			UserWithAuth:        true,
			NoDA:                true,
			Restricted:          true,
			SignEncrypt:         true,
		},
		Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{
			Scheme: tpm2.TPMTECCScheme{
				Scheme:  tpm2.TPMAlgECDSA,
				Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgECDSA, &tpm2.TPMSSigSchemeECDSA{HashAlg: tpm2.TPMAlgSHA256}),
			},
			CurveID: tpm2.TPMECCNistP256,
		}),
		Unique: tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
			X: tpm2.TPM2BECCParameter{Buffer: []byte("simulated key of a stranger")},
		}),
	}
}
