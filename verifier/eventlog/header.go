package eventlog

import (
	"bytes"
	"errors"
	"fmt"
)

// Sizes of what every format begins with.
const (
	legacyHead    = 4 + 4 + 20 + 4 // PCR, type, SHA-1 digest, data size (PFP 9.2.1)
	signatureSize = 16
)

// Signatures of header events. NUL included.
const (
	sigCryptoAgile = "Spec ID Event03\x00"
	sigTXT         = "FRMT ID EVENT00\x00"
	sigContainer   = "TXT Event Container\x00"
)

// parseHeader tells the format of raw and returns an empty log of it, and the offset of the first event.
func parseHeader(raw []byte) (*Log, int, error) {
	switch {
	case len(raw) > MaxLogSize:
		return nil, 0, fmt.Errorf("%d bytes, more than the %d a log may have", len(raw), MaxLogSize)
	case all(raw, 0) || all(raw, 0xFF):
		return nil, 0, ErrEmpty
	case bytes.HasPrefix(raw, []byte(sigContainer)):
		return nil, 0, errors.New("this is a TPM 1.2 event container: such machines are out of scope")
	case len(raw) < legacyHead:
		return nil, 0, fmt.Errorf("%d bytes are less than one record", len(raw))
	}

	data := raw[legacyHead:]
	switch {
	case bytes.HasPrefix(data, []byte(sigCryptoAgile)):
		return parseSpecID(raw)
	case bytes.HasPrefix(data, []byte(sigTXT)):
		return parseTXTDescriptor(raw)
	default:
		l, err := oneBank(&file{raw: raw, format: FormatSHA1}, AlgSHA1, AlgSHA1.Size())

		return l, 0, err
	}
}

// headerData returns the data of the header event, which is a SHA-1 record in all formats: PCR 0,
// EV_NO_ACTION, zero digest (PFP 9.4.5.1).
func headerData(raw []byte) ([]byte, error) {
	switch {
	case le32(raw) != 0 || EventType(le32(raw[4:])) != TypeNoAction:
		return nil, fmt.Errorf("header has PCR %d and type %s, not PCR 0 and %s", le32(raw), EventType(le32(raw[4:])), TypeNoAction)
	case !all(raw[8:28], 0):
		return nil, errors.New("header's digest is not zero")
	}
	data, _, err := cut(raw[28:], MaxDataSize)
	if err != nil {
		return nil, fmt.Errorf("header's data: %w", err)
	}

	return data, nil
}

// parseSpecID reads TCG_EfiSpecIDEvent (PFP 9.4.5.1).
func parseSpecID(raw []byte) (*Log, int, error) {
	data, err := headerData(raw)
	if err != nil {
		return nil, 0, err
	}
	const fixed = signatureSize + 4 + 4 + 4
	if len(data) < fixed {
		return nil, 0, fmt.Errorf("header of %d bytes breaks off", len(data))
	}
	f := &file{raw: raw, format: FormatCryptoAgile, empty: 16}
	l := &Log{Format: f.format, file: f, Spec: SpecID{
		PlatformClass: le32(data[16:]),
		Minor:         data[20],
		Major:         data[21],
		Errata:        data[22],
		UintnSize:     data[23],
	}}

	n := le32(data[24:])
	rest := data[fixed:]
	if n < 1 || n > MaxAlgs || len(rest) < int(n)*4+1 {
		return nil, 0, fmt.Errorf("header says %d algorithms: 1 to %d are possible, and %d bytes are left for them", n, MaxAlgs, len(rest))
	}
	for ; n > 0; n, rest = n-1, rest[4:] {
		a := Alg(le16(rest))
		if err := f.add(a, int(le16(rest[2:]))); err != nil {
			return nil, 0, fmt.Errorf("header: %w", err)
		}
		l.Algs = append(l.Algs, a)
	}
	if int(rest[0]) != len(rest)-1 {
		return nil, 0, fmt.Errorf("header says %d bytes of vendor information, %d are left", rest[0], len(rest)-1)
	}
	l.Spec.VendorInfo = rest[1:]

	return l, legacyHead + len(data), nil
}

// parseTXTDescriptor reads TCG_LOG_DESCRIPTOR (MLE appendix E). Its algorithm numbers are its own, not TPM_ALG_ID.
func parseTXTDescriptor(raw []byte) (*Log, int, error) {
	data, err := headerData(raw)
	if err != nil {
		return nil, 0, err
	}
	const size, revision = signatureSize + 12, 1
	if len(data) != size || le32(data[16:]) != revision {
		return nil, 0, fmt.Errorf("header of %d bytes is not revision %d of %q", len(data), revision, sigTXT)
	}
	algs := txtAlgs()
	id := le32(data[20:])
	if id < 1 || id > uint32(len(algs)) {
		return nil, 0, fmt.Errorf("header says unknown digest algorithm %d", id)
	}
	a := algs[id-1]
	l, err := oneBank(&file{raw: raw, format: FormatTXT}, a, int(le32(data[24:])))

	return l, legacyHead + len(data), err
}

// oneBank returns a log whose records have one digest each, without a list around it.
func oneBank(f *file, a Alg, size int) (*Log, error) {
	if err := f.add(a, size); err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	f.empty = 4 + 4 + size + 4

	return &Log{Format: f.format, Algs: []Alg{a}, file: f}, nil
}

// txtAlgs are the algorithms of TCG_LOG_DESCRIPTOR.DigestAlgID, counted from 1.
func txtAlgs() [5]Alg {
	return [5]Alg{AlgSHA1, AlgSHA256, AlgSHA384, AlgSHA512, AlgSM3}
}
