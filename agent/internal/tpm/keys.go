package tpm

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// MaxGenerations bounds how often an AK can be rotated: each generation has a handle of its own.
const MaxGenerations = 256

// keys finds and sets up AKs. It uses a TPM that nobody else uses meanwhile.
type keys struct {
	tpm   transport.TPM
	auths Auths
}

// find looks for the AKs of a host without record: only generations whose handle holds something are derived, and the lowest that fits is taken, since a rotation removes the
// old AK at its end and not before. If there is none, the record is that of the first AK, which is still to be made.
func (k keys) find(alg KeyAlgorithm, base tpm2.TPMHandle) (Record, error) {
	occupied, err := handlesBetween(k.tpm, base, base+MaxGenerations-1)
	if err != nil {
		return Record{}, fmt.Errorf("listing persistent handles: %w", err)
	}

	for _, handle := range occupied {
		occupant, err := k.publicAt(handle)
		if err != nil {
			return Record{}, err
		}

		occupantAlg, fits := algorithmOf(occupant)
		if !fits {
			continue
		}

		record, err := k.next(occupantAlg, base, uint32(handle-base))
		if err != nil {
			return Record{}, err
		}

		if bytes.Equal(occupant.Name.Buffer, record.Name) {
			return Record{AK: record}, nil
		}
	}

	record, err := k.next(alg, base, 0)
	if err != nil {
		return Record{}, err
	}

	return Record{AK: record}, nil
}

// algorithmOf returns the algorithm of the AK that an object may be; false if it can be none. Of an object whose hierarchy is switched off nothing is known: occupant is nil.
func algorithmOf(occupant *tpm2.ReadPublicResponse) (KeyAlgorithm, bool) {
	if occupant == nil {
		return "", false
	}

	public, err := occupant.OutPublic.Contents()
	if err != nil {
		return "", false
	}

	if public.Type == tpm2.TPMAlgRSA {
		return RSA2048, true
	}

	curve, err := public.Parameters.ECCDetail()

	switch {
	case err != nil:
		return "", false
	case curve.CurveID == tpm2.TPMECCNistP256:
		return ECDSAP256, true
	case curve.CurveID == tpm2.TPMECCNistP384:
		return ECDSAP384, true
	default:
		return "", false
	}
}

// next derives a key only to learn its Name, and returns its record. The key may not be at its handle yet.
func (k keys) next(alg KeyAlgorithm, base tpm2.TPMHandle, generation uint32) (*KeyRecord, error) {
	if generation >= MaxGenerations {
		return nil, fmt.Errorf("no handle is left for AK %d", generation)
	}

	record := &KeyRecord{Algorithm: alg, Generation: generation, Handle: base + tpm2.TPMHandle(generation)}

	err := k.withPrimary(alg, generation, func(primary *tpm2.CreatePrimaryResponse) (bool, error) {
		record.Name = primary.Name.Buffer

		return false, nil
	})

	return record, err
}

// ensure makes sure that the AK on record, and nothing else, is at its handle. restored says that it was gone and the TPM gave the same key again, as after TPM2_Clear. In
// the usual case this costs one command and derives nothing.
func (k keys) ensure(record KeyRecord) (ak *AK, restored bool, err error) {
	occupant, err := k.publicAt(record.Handle)
	if err != nil {
		return nil, false, err
	}

	if occupant != nil && bytes.Equal(occupant.Name.Buffer, record.Name) {
		ak, err = describe(record, occupant.OutPublic)

		return ak, false, err
	}

	err = k.withPrimary(record.Algorithm, record.Generation, func(primary *tpm2.CreatePrimaryResponse) (bool, error) {
		switch {
		case !bytes.Equal(primary.Name.Buffer, record.Name):
			return false, fmt.Errorf("%w: it derives %x, on record is %x", ErrReplaced, primary.Name.Buffer, []byte(record.Name))
		case occupant != nil:
			return false, fmt.Errorf("%w: 0x%08x", ErrHandleTaken, uint32(record.Handle))
		}

		if ak, err = describe(record, primary.OutPublic); err != nil {
			return false, err
		}

		return k.keep(ak, primary)
	})

	return ak, err == nil, err
}

// keep puts the AK at its handle. Where that is impossible, it stays loaded instead.
func (k keys) keep(ak *AK, primary *tpm2.CreatePrimaryResponse) (loaded bool, err error) {
	why, err := k.persist(primary, ak.Record.Handle)
	if err != nil || why == "" {
		return false, err
	}

	ak.handle, ak.Transient, ak.Why = primary.ObjectHandle, true, why

	return true, nil
}

// persist puts a key at a handle. why says that this is impossible, because the owner's authorisation was not given or NV is full.
func (k keys) persist(primary *tpm2.CreatePrimaryResponse, handle tpm2.TPMHandle) (why string, err error) {
	_, err = tpm2.EvictControl{
		Auth:             k.auths.owner(),
		ObjectHandle:     &tpm2.NamedHandle{Handle: primary.ObjectHandle, Name: primary.Name},
		PersistentHandle: handle,
	}.Execute(k.tpm)
	if err == nil {
		return "", nil
	}

	err = fmt.Errorf("keeping the key at 0x%08x: %w", uint32(handle), err)

	for _, bearable := range []tpm2.TPMRC{tpm2.TPMRCBadAuth, tpm2.TPMRCAuthFail, tpm2.TPMRCNVSpace, tpm2.TPMRCHierarchy} {
		if errors.Is(err, bearable) {
			return err.Error(), nil
		}
	}

	return "", err
}

// withPrimary derives an AK. It is flushed after use, unless use says that it stays loaded.
func (k keys) withPrimary(alg KeyAlgorithm, generation uint32, use func(*tpm2.CreatePrimaryResponse) (stays bool, err error)) error {
	public, err := template(alg, generation)
	if err != nil {
		return err
	}

	return k.withTemplate(public, use)
}

// withTemplate derives a key of the endorsement hierarchy, as withPrimary.
func (k keys) withTemplate(public tpm2.TPMTPublic, use func(*tpm2.CreatePrimaryResponse) (stays bool, err error)) error {
	primary, err := tpm2.CreatePrimary{PrimaryHandle: k.auths.endorsement(), InPublic: tpm2.New2B(public)}.Execute(k.tpm)

	switch {
	case errors.Is(err, tpm2.TPMRCHierarchy):
		return ErrHierarchyDisabled
	case errors.Is(err, tpm2.TPMRCBadAuth), errors.Is(err, tpm2.TPMRCAuthFail):
		return ErrAuthRequired
	case err != nil:
		return fmt.Errorf("deriving a key: %w", err)
	}

	stays, err := use(primary)
	if stays && err == nil {
		return nil
	}

	return errors.Join(err, k.flush(primary.ObjectHandle))
}

func (k keys) flush(handle tpm2.TPMHandle) error {
	if _, err := (tpm2.FlushContext{FlushHandle: handle}).Execute(k.tpm); err != nil {
		return fmt.Errorf("flushing a key: %w", err)
	}

	return nil
}

// publicAt returns the object at a handle, nil if there is none.
func (k keys) publicAt(handle tpm2.TPMHandle) (*tpm2.ReadPublicResponse, error) {
	object, err := tpm2.ReadPublic{ObjectHandle: handle}.Execute(k.tpm)
	if errors.Is(err, tpm2.TPMRCHandle) {
		return nil, nil
	}

	if err != nil {
		return nil, fmt.Errorf("looking at handle 0x%08x: %w", uint32(handle), err)
	}

	return object, nil
}

// remove takes an AK from its handle. What is not that AK stays.
func (k keys) remove(record KeyRecord) error {
	occupant, err := k.publicAt(record.Handle)
	if err != nil || occupant == nil || !bytes.Equal(occupant.Name.Buffer, record.Name) {
		return err
	}

	_, err = tpm2.EvictControl{
		Auth:             k.auths.owner(),
		ObjectHandle:     &tpm2.NamedHandle{Handle: record.Handle, Name: occupant.Name},
		PersistentHandle: record.Handle,
	}.Execute(k.tpm)
	if err != nil {
		return fmt.Errorf("removing the AK from 0x%08x: %w", uint32(record.Handle), err)
	}

	return nil
}

// describe computes once what each quote is checked against.
func describe(record KeyRecord, outPublic tpm2.TPM2BPublic) (*AK, error) {
	public, err := outPublic.Contents()
	if err != nil {
		return nil, fmt.Errorf("reading the AK's public area: %w", err)
	}

	nameHash, err := public.NameAlg.Hash()
	if err != nil {
		return nil, fmt.Errorf("reading the AK's public area: %w", err)
	}

	// TPM 2.0 Part 1, 16. With another public area beside it, no quote would verify.
	if name, err := tpm2.ObjectName(public); err != nil || !bytes.Equal(name.Buffer, record.Name) {
		return nil, fmt.Errorf("reading the AK's public area: the TPM gave one that is not of the Name %x", []byte(record.Name))
	}

	h := nameHash.New()
	h.Write([]byte{0x40, 0x00, 0x00, 0x0B}) // TPM_RH_ENDORSEMENT (TPM 2.0 Part 2, 7.4): a hierarchy's Name is its handle
	h.Write(record.Name)

	return &AK{
		Record:        record,
		Public:        outPublic.Bytes(),
		handle:        record.Handle,
		hash:          nameHash, // template gives scheme and Name the same hash
		qualifiedName: h.Sum(bytes.Clone(record.Name[:2])),
	}, nil
}
