package tpm

import (
	"bytes"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// Where the TCG keeps EK certificates and the certificates of their issuers. TCG EK Credential Profile for TPM Family 2.0, version 2.6, 2.2.1.
const (
	firstEKIndex tpm2.TPMHandle = 0x01c00002
	firstChain   tpm2.TPMHandle = 0x01c00100
	lastChain    tpm2.TPMHandle = 0x01c001ff
)

// maxChain bounds what is read of the issuers' certificates. TPMs have a few KiB of NV.
const maxChain = 64 << 10

// nvReader reads NV indices, and only those of which it was told that they exist: absence costs no command and no error.
type nvReader struct {
	tpm   transport.TPM
	auths Auths
	// indices are the defined ones between firstEKIndex and lastChain, in rising order.
	indices []tpm2.TPMHandle
	// chunk is how much the TPM gives in one TPM2_NV_Read.
	chunk int
}

func newNVReader(tpm transport.TPM, auths Auths) (*nvReader, error) {
	indices, err := handlesBetween(tpm, firstEKIndex, lastChain)
	if err != nil {
		return nil, fmt.Errorf("listing NV indices: %w", err)
	}

	response, err := tpm2.GetCapability{Capability: tpm2.TPMCapTPMProperties, Property: uint32(tpm2.TPMPTNVBufferMax), PropertyCount: 1}.Execute(tpm)
	if err != nil {
		return nil, fmt.Errorf("reading TPM_PT_NV_BUFFER_MAX: %w", err)
	}

	properties, err := response.CapabilityData.Data.TPMProperties()
	if err != nil {
		return nil, fmt.Errorf("reading TPM_PT_NV_BUFFER_MAX: %w", err)
	}

	chunk := 512 // what a TPM takes that does not tell: the PC Client Platform TPM Profile asks for at least that much
	if p := properties.TPMProperty; len(p) > 0 && p[0].Property == tpm2.TPMPTNVBufferMax && p[0].Value > 0 {
		chunk = int(min(p[0].Value, maxNVChunk))
	}

	return &nvReader{tpm: tpm, auths: auths, indices: indices, chunk: chunk}, nil
}

// maxNVChunk keeps a response well below the 4096 bytes that the kernel passes on.
const maxNVChunk = 2048

// has says whether an index is defined.
func (r *nvReader) has(index tpm2.TPMHandle) bool {
	return slices.Contains(r.indices, index)
}

// read reads a whole index. An error that refused can tell is about this index only.
func (r *nvReader) read(index tpm2.TPMHandle) ([]byte, error) {
	response, err := tpm2.NVReadPublic{NVIndex: index}.Execute(r.tpm)
	if err != nil {
		return nil, err
	}

	public, err := response.NVPublic.Contents()
	if err != nil {
		return nil, err
	}

	if !public.Attributes.Written {
		return nil, fmt.Errorf("%w: it was never written", errNotReadable)
	}

	err = fmt.Errorf("%w: its attributes forbid it", errNotReadable)
	named := tpm2.NamedHandle{Handle: index, Name: response.NVName}

	for _, auth := range r.readers(public, named) {
		var data []byte
		if data, err = r.readAs(auth, named, int(public.DataSize)); err == nil || !refused(err) {
			return data, err
		}
	}

	return nil, err
}

// certificate reads the EK certificate in an index. An error that refused can tell is about this index only.
func (r *nvReader) certificate(index tpm2.TPMHandle) (*ekCertificate, error) {
	source := fmt.Sprintf("nv 0x%08x", uint32(index))

	stored, err := r.read(index)
	if err != nil {
		return nil, fmt.Errorf("no certificate from %s: %w", source, err)
	}

	parsed, err := parseEKCertificate(stored)
	if err != nil {
		return nil, fmt.Errorf("no certificate from %s: %w: %w", source, errNotReadable, err)
	}

	return &ekCertificate{parsed: parsed, source: source}, nil
}

// errNotReadable says that an index is there and can't be read, or makes no sense.
var errNotReadable = errors.New("not readable")

// readers returns the authorisations by which an index may be read: its own empty one, or the owner's. An index that counts as a target of dictionary attacks is never
// authorised by itself: if somebody gave it a value, the empty one would be a failed try.
func (r *nvReader) readers(public *tpm2.TPMSNVPublic, index tpm2.NamedHandle) []tpm2.AuthHandle {
	var auths []tpm2.AuthHandle
	if public.Attributes.AuthRead && public.Attributes.NoDA {
		auths = append(auths, tpm2.AuthHandle{Handle: index.Handle, Name: index.Name, Auth: tpm2.PasswordAuth(nil)})
	}

	if public.Attributes.OwnerRead {
		auths = append(auths, r.auths.owner())
	}

	return auths
}

// readAs performs TPM2_NV_Read (TPM 2.0 Part 3, 31.13) until it has all the bytes.
func (r *nvReader) readAs(auth tpm2.AuthHandle, index tpm2.NamedHandle, size int) ([]byte, error) {
	data := make([]byte, 0, size)

	for len(data) < size {
		response, err := tpm2.NVRead{
			AuthHandle: auth,
			NVIndex:    index,
			Size:       uint16(min(size-len(data), r.chunk)), // #nosec G115 -- size is a u16 of the TPM
			Offset:     uint16(len(data)),                    // #nosec G115 -- less than size
		}.Execute(r.tpm)
		if err != nil {
			return nil, err
		}

		if n := len(response.Data.Buffer); n == 0 || n > size-len(data) {
			return nil, fmt.Errorf("%w: %d bytes given at offset %d of %d", errNotReadable, n, len(data), size)
		}

		data = append(data, response.Data.Buffer...)
	}

	return data, nil
}

// chain returns the certificates beside those of the EKs. The indices hold them one after the other, each perhaps padded, and a certificate may go on in the next index.
// The second result says what could not be used.
func (r *nvReader) chain() (certificates [][]byte, details []string, err error) {
	var stored []byte

	for _, index := range r.indices {
		if index < firstChain {
			continue
		}

		data, err := r.read(index)
		if err == nil && len(stored)+len(data) > maxChain {
			err = fmt.Errorf("%w: the chain is too long", errNotReadable)
		}

		switch {
		case err == nil:
			stored = append(stored, data...)
		case refused(err):
			details = append(details, fmt.Sprintf("NV index 0x%08x of the chain is left out: %v", uint32(index), err))
		default:
			return nil, nil, fmt.Errorf("reading NV index 0x%08x: %w", uint32(index), err)
		}
	}

	certificates, rest := splitDER(stored)
	if len(rest) > 0 {
		details = append(details, fmt.Sprintf("%d bytes of the chain in NV are no certificate", len(rest)))
	}

	return certificates, details, nil
}

// splitDER cuts what is stored into its certificates, and drops the padding between them. What follows the first thing that is none is returned as rest.
func splitDER(stored []byte) (certificates [][]byte, rest []byte) {
	for {
		stored = bytes.TrimLeft(stored, padding)

		var certificate asn1.RawValue

		rest, err := asn1.Unmarshal(stored, &certificate)
		if err != nil || certificate.Tag != asn1.TagSequence || certificate.Class != asn1.ClassUniversal {
			return certificates, stored
		}

		certificates = append(certificates, certificate.FullBytes)
		stored = rest
	}
}

// padding is what NV indices are filled up with: zeros, or the FF of erased memory. No certificate begins so.
const padding = "\x00\xff"
