// Package cmw carries evidence as one message: a Conceptual Message Wrapper of the Remote ATtestation procedureS (RFC 9999), in JSON or CBOR, for protocols and tools that take evidence in
// this shape from any kind of attester.
//
// The message is a Collection CMW (RFC 9999, 3.3) of the type CollectionType. Each of its members is a Record CMW (3.1) that carries one file of an evidence folder, under the file's
// name and with a media type that says what the file is; package saved tells what the files are. The indicator of every record is that of Evidence. Event logs are carried as they are, or
// in TCG's canonical form.
//
// A CMW protects nothing (RFC 9999, 8): what [Decode] returns is to be judged by verifier.Verify, as anything that a node says.
//
// BUG: Other messages than these are refused: Tag CMWs, records with a CoAP Content-Format in the place of a media type, collections in a collection, and CBOR of indefinite length.
package cmw

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/eventlog/cel"
	"github.com/trustpool/trustpool/verifier/saved"
)

// CollectionType says of a collection, under the key "__cmwc_t", that it is evidence as this package writes it.
const CollectionType = "https://github.com/trustpool/trustpool/blob/main/docs/evidence.md#as-one-message"

// MaxSize bounds a message, in bytes: 64 MiB of files, in base64, and a little around them.
const MaxSize = 88 << 20

// Format is how a message is encoded.
type Format uint8

// The encodings.
const (
	FormatUnknown Format = iota
	// FormatJSON is application/cmw+json.
	FormatJSON
	// FormatCBOR is application/cmw+cbor.
	FormatCBOR
)

// String gives "cmw-json" or "cmw-cbor".
func (f Format) String() string {
	switch f {
	case FormatJSON:
		return "cmw-json"
	case FormatCBOR:
		return "cmw-cbor"
	default:
		return "unknown"
	}
}

// MediaType gives the registered media type of a message (RFC 9999, IANA considerations); empty for FormatUnknown.
func (f Format) MediaType() string {
	switch f {
	case FormatJSON:
		return "application/cmw+json"
	case FormatCBOR:
		return "application/cmw+cbor"
	default:
		return ""
	}
}

// ParseFormat reads what [Format.String] gives.
func ParseFormat(s string) (Format, error) {
	for _, f := range []Format{FormatJSON, FormatCBOR} {
		if f.String() == s {
			return f, nil
		}
	}
	return FormatUnknown, fmt.Errorf("unknown form %q of evidence: write cmw-json or cmw-cbor", s)
}

// Detect tells by its first byte how a collection is encoded (RFC 9999, 3.4); FormatUnknown if it is none.
func Detect(data []byte) Format {
	text := bytes.TrimLeft(data[:min(len(data), 64)], " \t\r\n")
	switch {
	case len(text) > 0 && text[0] == '{':
		return FormatJSON
	case len(data) > 0 && data[0] >= 0xA0 && data[0] <= 0xBB: // a CBOR map (RFC 8949, appendix B)
		return FormatCBOR
	default:
		return FormatUnknown
	}
}

// Encode writes evidence as one message, with its event logs in that canonical form; with cel.FormatUnknown they stay as they are. A log that can't be parsed has no
// canonical form, and a record can't hold nothing: evidence with such a log, or without a quote, a signature or PCR values, is an error.
func Encode(ev verifier.Evidence, f Format, logs cel.Format) ([]byte, error) {
	out, err := encode(ev, f, logs)
	if err != nil {
		return nil, fmt.Errorf("writing evidence as %s: %w", f, err)
	}
	return out, nil
}

func encode(ev verifier.Evidence, f Format, logs cel.Format) ([]byte, error) {
	files, err := saved.Files(ev)
	if err != nil {
		return nil, err
	}
	c := collection{typ: CollectionType}
	for _, file := range files {
		m, err := wrap(file, logs)
		if err == nil {
			err = c.add(m)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file.Name, err)
		}
	}

	var out []byte
	switch f {
	case FormatJSON:
		out, err = c.json()
	case FormatCBOR:
		out, err = c.cbor()
	default:
		err = fmt.Errorf("form %d is none", f)
	}
	if err == nil && len(out) > MaxSize {
		err = fmt.Errorf("it needs %d bytes, more than %d", len(out), MaxSize)
	}
	return out, err
}

// Decode reads a message in either encoding. Event logs come back as the node had them, whatever form they were carried in.
//
// If saved.ErrAltered is in the chain of the error, it was evidence of this kind, and is not as it was written: it is to be refused.
func Decode(data []byte) (verifier.Evidence, error) {
	f := Detect(data)
	switch {
	case len(data) == 0:
		return verifier.Evidence{}, errors.New("reading evidence: the message is empty")
	case len(data) > MaxSize:
		return verifier.Evidence{}, fmt.Errorf("reading evidence: the message has more than %d bytes", MaxSize)
	case f == FormatUnknown:
		return verifier.Evidence{}, fmt.Errorf("reading evidence: it is no collection, in neither %s nor %s", FormatJSON, FormatCBOR)
	}
	ev, err := decode(data, f)
	if err != nil {
		return verifier.Evidence{}, fmt.Errorf("reading evidence as %s: %w", f, err)
	}
	return ev, nil
}

func decode(data []byte, f Format) (verifier.Evidence, error) {
	parse := parseJSON
	if f == FormatCBOR {
		parse = parseCBOR
	}
	c, err := parse(data)
	if err != nil {
		return verifier.Evidence{}, err
	}
	if c.typ != CollectionType {
		return verifier.Evidence{}, fmt.Errorf("the collection is of the type %.80q, which is not %q", c.typ, CollectionType)
	}

	var files []saved.File
	for _, m := range c.members {
		file, err := m.unwrap()
		if err != nil {
			return verifier.Evidence{}, fmt.Errorf("%w: %.64q: %w", saved.ErrAltered, m.label, err)
		}
		files = append(files, file)
	}
	return saved.FromFiles(files)
}
