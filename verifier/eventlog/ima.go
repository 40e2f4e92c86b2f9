package eventlog

import (
	"bytes"
	"errors"
	"fmt"
)

// MaxIMASize is the longest IMA list that ParseIMA takes, in bytes: some 400,000 files.
const MaxIMASize = 64 << 20

const (
	imaTemplateName = 255 // MAX_TEMPLATE_NAME_LEN of the kernel
	imaAlgName      = 16  // longest name of a hash in the kernel is "streebog512"
	imaMinDigest    = 16  // MD5, the shortest that IMA knows
	imaViolation    = 0xFF
)

// IMAEvent is one record of Linux's binary_runtime_measurements. All slices alias the input.
type IMAEvent struct {
	Num      int    // position, from 0
	PCR      uint32 // 10 unless the kernel was told otherwise
	Template []byte // SHA-1 of Data; all zeros for a violation
	Name     string // ima-ng or ima-sig
	Data     []byte // the template's fields, each with its length

	FileAlg    []byte // hash of the file, as the kernel names it ("sha256")
	FileDigest []byte
	Path       []byte // without its NUL; any bytes but NUL
	Signature  []byte // ima-sig only, may be empty
}

// Violation tells whether the kernel saw a file change while it was measured. It logs zeros then and extends FF, so that
// this PCR never again equals a list that hides it.
func (e *IMAEvent) Violation() bool { return all(e.Template, 0) }

// IMALog is a parsed IMA list.
type IMALog struct {
	Events []IMAEvent
}

// ParseIMA reads Linux's binary list of measured files, templates ima-ng and ima-sig, little-endian. An empty list is
// [ErrEmpty]. The result aliases raw.
//
// Source: Linux, security/integrity/ima/ima_fs.c (ima_measurements_show) and Documentation/security/IMA-templates.rst.
func ParseIMA(raw []byte) (*IMALog, error) {
	if len(raw) > MaxIMASize {
		return nil, fmt.Errorf("parsing IMA list: %d bytes, more than the %d a list may have", len(raw), MaxIMASize)
	}
	n := 0
	var e IMAEvent
	for off := 0; off < len(raw); n++ {
		next, err := e.parse(raw[off:])
		if err != nil {
			return nil, fmt.Errorf("parsing IMA list: event %d at offset %d: %w", n, off, err)
		}
		off += next
	}
	if n == 0 {
		return nil, fmt.Errorf("parsing IMA list: %w", ErrEmpty)
	}

	l := &IMALog{Events: make([]IMAEvent, n)}
	off := 0
	for i := range l.Events {
		next, err := l.Events[i].parse(raw[off:])
		if err != nil {
			return nil, fmt.Errorf("parsing IMA list: event %d at offset %d: %w", i, off, err)
		}
		l.Events[i].Num = i
		off += next
	}

	return l, nil
}

// parse reads the record at the head of b and returns its length.
func (e *IMAEvent) parse(b []byte) (int, error) {
	const head = 4 + 20
	if len(b) < head {
		return 0, errBreaksOff()
	}
	e.PCR, e.Template = le32(b), b[4:head:head]
	if e.PCR >= NumPCRs {
		return 0, fmt.Errorf("PCR index %d is out of range", e.PCR)
	}
	name, rest, err := cut(b[head:], imaTemplateName)
	if err != nil {
		return 0, fmt.Errorf("template name: %w", err)
	}
	data, rest, err := cut(rest, MaxDataSize)
	if err != nil {
		return 0, fmt.Errorf("template data: %w", err)
	}
	e.Data = data

	return len(b) - len(rest), e.parseFields(string(name))
}

// parseFields reads d-ng, n-ng and, for ima-sig, sig.
func (e *IMAEvent) parseFields(template string) error {
	digest, rest, err := cut(e.Data, MaxDataSize)
	if err != nil {
		return fmt.Errorf("file digest: %w", err)
	}
	path, rest, err := cut(rest, MaxDataSize)
	if err != nil {
		return fmt.Errorf("path: %w", err)
	}
	switch template {
	case "ima-ng":
		e.Name, e.Signature = "ima-ng", nil
	case "ima-sig":
		e.Name = "ima-sig"
		if e.Signature, rest, err = cut(rest, MaxDataSize); err != nil {
			return fmt.Errorf("signature: %w", err)
		}
	default:
		return fmt.Errorf("template %q: only ima-ng and ima-sig can be read", template)
	}
	if len(rest) > 0 {
		return fmt.Errorf("%d bytes follow the template's last field", len(rest))
	}

	// d-ng is "sha256:" NUL digest; n-ng is the path and a NUL.
	alg, sum, ok := bytes.Cut(digest, []byte(":\x00"))
	if !ok || len(alg) == 0 || len(alg) > imaAlgName || len(sum) < imaMinDigest || len(sum) > maxDigest {
		return errors.New("file digest has no algorithm or no digest")
	}
	e.FileAlg, e.FileDigest = alg, sum
	end := bytes.IndexByte(path, 0)
	if end < 0 || end != len(path)-1 {
		return errors.New("path does not end in its only NUL")
	}
	e.Path = path[:end]

	return nil
}
