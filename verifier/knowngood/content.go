package knowngood

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"unicode/utf16"

	"github.com/trustpool/trustpool/verifier/eventlog"
)

// Content is a file's bytes. An *io.SectionReader is one, and so is a *bytes.Reader.
type Content interface {
	io.ReaderAt
	Size() int64
}

// rule is how somebody who measures makes a digest of content.
type rule struct {
	// name is for people: "the file".
	name string
	// sum returns the digest; an error if the content is none that the rule is for.
	sum func(bank eventlog.Alg, c Content) ([]byte, error)
}

// fileRule is that of GRUB for files, of Linux' EFI stub for the initrd, and of the Secure Launch kernel.
func fileRule() rule {
	return rule{"the hash of the file", func(bank eventlog.Alg, c Content) ([]byte, error) { return digest(bank, parts(c)) }}
}

// textRules are those for command lines.
func textRules() []rule {
	return []rule{
		{"the hash of the text", textSum(func(text string) []byte { return []byte(text) })},
		{"the hash of the text with a zero byte", textSum(func(text string) []byte { return append([]byte(text), 0) })},
		{"the hash of the text in UTF-16 with a zero", textSum(func(text string) []byte { return utf16Bytes(text + "\x00") })},
		{"the hash of the text in UTF-16", textSum(utf16Bytes)},
	}
}

func textSum(encode func(string) []byte) func(eventlog.Alg, Content) ([]byte, error) {
	return func(bank eventlog.Alg, c Content) ([]byte, error) {
		text, err := readAll(c, maxText)
		if err != nil {
			return nil, err
		}
		return digest(bank, bytes.NewReader(encode(string(text))))
	}
}

// maxText bounds a command line: Linux takes 2048 bytes on x86 (COMMAND_LINE_SIZE), GRUB's commands may be longer.
const maxText = 64 << 10

// utf16Bytes is UCS-2 as UEFI has it, little-endian (UEFI 2.10, 2.3.1).
func utf16Bytes(text string) []byte {
	var out []byte
	for _, unit := range utf16.Encode([]rune(text)) {
		out = binary.LittleEndian.AppendUint16(out, unit)
	}
	return out
}

// text is a text as Content.
func text(s string) Content { return bytes.NewReader([]byte(s)) }

// parts reads content from its beginning to its end, or only the ranges [from, to) of it.
func parts(c Content, ranges ...[2]int64) io.Reader {
	if len(ranges) == 0 {
		ranges = [][2]int64{{0, c.Size()}}
	}
	readers := make([]io.Reader, 0, len(ranges))
	for _, r := range ranges {
		readers = append(readers, io.NewSectionReader(c, r[0], r[1]-r[0]))
	}
	return io.MultiReader(readers...)
}

// newHash returns a bank's hash.
func newHash(bank eventlog.Alg) (hash.Hash, error) {
	if !slices.Contains(banks(), bank) {
		return nil, fmt.Errorf("there is no known-good value of the bank %s", bank)
	}
	return bank.Hash().New(), nil
}

// banks are those that can be known-good.
func banks() []eventlog.Alg {
	return []eventlog.Alg{eventlog.AlgSHA256, eventlog.AlgSHA384, eventlog.AlgSHA512}
}

// digest hashes all that r gives.
func digest(bank eventlog.Alg, r io.Reader) ([]byte, error) {
	h, err := newHash(bank)
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(h, r); err != nil {
		return nil, fmt.Errorf("reading what is measured: %w", err)
	}
	return h.Sum(nil), nil
}

// readAll reads content that has at most that many bytes.
func readAll(c Content, most int64) ([]byte, error) {
	if c.Size() > most {
		return nil, fmt.Errorf("it has %d bytes, more than %d", c.Size(), most)
	}
	raw := make([]byte, c.Size())
	if _, err := c.ReadAt(raw, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("reading what is measured: %w", err)
	}
	return raw, nil
}
