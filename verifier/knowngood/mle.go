package knowngood

import (
	"bytes"
	"compress/gzip"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/trustpool/trustpool/verifier/eventlog"
)

// Bounds of tboot's file. tboot 1.10 has 30 MB, most of it space for what is not measured.
const (
	maxMLEFile = 256 << 20
	maxMLE     = 16 << 20
)

// mleHeader is the header that SINIT finds an MLE by (Intel TXT MLE Developer's Guide, table 1). Offsets count from the beginning of the loaded image.
type mleHeader struct {
	Length, Version, EntryPoint, FirstValidPage uint32
	Start, End                                  uint32
	Capabilities                                uint32
	CommandLineStart, CommandLineEnd            uint32
}

// mleUUID begins the header.
const mleUUID = "\x5a\xac\x82\x90\x6f\x47\xa7\x74\x0f\x5c\x55\xa2\xcb\x51\xb6\x42"

// mlePages returns what SINIT hashes of tboot when it is launched with a command line: its MLE's pages as they are loaded, the command line in them.
func mlePages(file Content, commandLine string) ([]byte, error) {
	raw, err := unzipped(file)
	if err != nil {
		return nil, fmt.Errorf("reading an MLE: %w", err)
	}
	image, err := elf.NewFile(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("reading an MLE: %w", err)
	}
	header, err := findMLE(raw)
	if err != nil {
		return nil, fmt.Errorf("reading an MLE: %w", err)
	}
	if header.End <= header.Start || header.End-header.Start > maxMLE {
		return nil, fmt.Errorf("reading an MLE: it says to be of bytes %d to %d, which can't be", header.Start, header.End)
	}
	pages, err := loaded(image, header.Start, header.End)
	if err != nil {
		return nil, fmt.Errorf("reading an MLE: %w", err)
	}
	return pages, header.put(pages, commandLine)
}

// unzipped returns the file's bytes, out of gzip if they are in it.
func unzipped(file Content) ([]byte, error) {
	if file.Size() > maxMLEFile {
		return nil, fmt.Errorf("it has %d bytes, more than %d", file.Size(), maxMLEFile)
	}
	in := parts(file)
	var magic [2]byte
	if _, err := file.ReadAt(magic[:], 0); err == nil && magic == [2]byte{0x1f, 0x8b} {
		zipped, err := gzip.NewReader(in)
		if err != nil {
			return nil, err
		}
		in = zipped
	}
	raw, err := io.ReadAll(io.LimitReader(in, maxMLEFile+1))
	if err == nil && len(raw) > maxMLEFile {
		err = fmt.Errorf("it has more than %d bytes", maxMLEFile)
	}
	return raw, err
}

func findMLE(raw []byte) (h mleHeader, err error) {
	at := bytes.Index(raw, []byte(mleUUID))
	if at < 0 {
		return h, errors.New("it has no MLE header: give tboot's own file, such as /boot/tboot.gz")
	}
	return h, binary.Read(bytes.NewReader(raw[at+len(mleUUID):]), binary.LittleEndian, &h)
}

// loaded returns bytes [from, to) of the image as a boot loader puts it into memory: the segments at their physical addresses, and zeros where the file has nothing.
func loaded(image *elf.File, from, to uint32) ([]byte, error) {
	base := ^uint64(0)
	for _, p := range image.Progs {
		if p.Type == elf.PT_LOAD {
			base = min(base, p.Paddr)
		}
	}
	if base == ^uint64(0) || base > 1<<32 { // tboot is loaded below 4 GiB
		return nil, errors.New("it has no segment that is loaded")
	}
	memory := make([]byte, to-from)
	begin, end := base+uint64(from), base+uint64(to)
	for _, p := range image.Progs {
		first, last := max(begin, p.Paddr), min(end, p.Paddr+p.Filesz)
		if p.Type != elf.PT_LOAD || first >= last {
			continue
		}
		if _, err := p.ReadAt(memory[first-begin:last-begin], int64(first-p.Paddr)); err != nil { //nolint:gosec // within a file of maxMLEFile
			return nil, fmt.Errorf("a segment is not all there: %w", err)
		}
	}
	return memory, nil
}

// put writes the command line where tboot keeps it, zeros behind it.
func (h *mleHeader) put(pages []byte, commandLine string) error {
	if h.CommandLineEnd <= h.CommandLineStart {
		return nil // such an MLE does not measure it
	}
	if h.CommandLineStart < h.Start || h.CommandLineEnd > h.End {
		return errors.New("reading an MLE: its command line is not within it")
	}
	area := pages[h.CommandLineStart-h.Start : h.CommandLineEnd-h.Start]
	if len(commandLine) >= len(area) {
		return fmt.Errorf("the command line has %d bytes, and tboot keeps %d", len(commandLine), len(area)-1)
	}
	clear(area)
	copy(area, commandLine)
	return nil
}

// mleDigest is SINIT's EVTYPE_MLE_HASH.
func mleDigest(bank eventlog.Alg, pages []byte) ([]byte, error) {
	return digest(bank, bytes.NewReader(pages))
}
