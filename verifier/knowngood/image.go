package knowngood

import (
	"debug/pe"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/trustpool/trustpool/verifier/eventlog"
)

// imageRule is that of firmware, and of shim, for what they start: PE/COFF images. The Authenticode hash leaves out what signing changes.
func imageRule() rule {
	return rule{"the Authenticode hash of the image", func(bank eventlog.Alg, c Content) ([]byte, error) {
		ranges, err := authenticodeRanges(c)
		if err != nil {
			return nil, fmt.Errorf("reading an image: %w", err)
		}
		return digest(bank, parts(c, ranges...))
	}}
}

// Offsets in the optional header (Microsoft PE Format, "Optional Header Windows-Specific Fields" and "Optional Header Data Directories").
const (
	checksumAt      = 64
	directories32At = 96
	directories64At = 112
	certificateDir  = 4
	maxSections     = 96 // the loader of Windows takes no more
)

// authenticodeRanges lists what is hashed, in its order (Windows Authenticode Portable Executable Signature Format 1.0, "Calculating the PE Image Hash"): the headers without the checksum and the
// certificate table's entry, the sections by their place in the file, and what follows them up to the certificate table.
func authenticodeRanges(c Content) ([][2]int64, error) {
	image, err := pe.NewFile(c)
	if err != nil {
		return nil, err
	}
	var (
		headers, certificates int64
		directories           int64 = directories32At
	)
	switch h := image.OptionalHeader.(type) {
	case *pe.OptionalHeader32:
		headers, certificates = int64(h.SizeOfHeaders), int64(h.DataDirectory[certificateDir].Size)
	case *pe.OptionalHeader64:
		headers, certificates = int64(h.SizeOfHeaders), int64(h.DataDirectory[certificateDir].Size)
		directories = directories64At
	default:
		return nil, errors.New("it has no optional header, so that no firmware starts it")
	}

	optional, err := optionalHeaderAt(c)
	if err != nil {
		return nil, err
	}
	checksum, entry := optional+checksumAt, optional+directories+8*certificateDir
	ranges := [][2]int64{{0, checksum}, {checksum + 4, entry}, {entry + 8, headers}}
	hashed := headers
	sections, err := bySection(image)
	if err != nil {
		return nil, err
	}
	for _, s := range sections {
		ranges = append(ranges, [2]int64{int64(s.Offset), int64(s.Offset) + int64(s.Size)})
		hashed += int64(s.Size)
	}
	if end := c.Size() - certificates; end > hashed {
		ranges = append(ranges, [2]int64{hashed, end})
	}
	return ranges, checkRanges(ranges, c.Size())
}

// optionalHeaderAt finds the optional header: behind the MS-DOS stub, the signature and the COFF header.
func optionalHeaderAt(c Content) (int64, error) {
	var lfanew [4]byte
	if _, err := c.ReadAt(lfanew[:], 0x3C); err != nil {
		return 0, err
	}
	return int64(binary.LittleEndian.Uint32(lfanew[:])) + 4 + 20, nil
}

// bySection lists the sections that have bytes in the file, by their place.
func bySection(image *pe.File) ([]*pe.Section, error) {
	if len(image.Sections) > maxSections {
		return nil, fmt.Errorf("it has %d sections, more than %d", len(image.Sections), maxSections)
	}
	sections := slices.DeleteFunc(slices.Clone(image.Sections), func(s *pe.Section) bool { return s.Size == 0 })
	slices.SortStableFunc(sections, func(a, b *pe.Section) int { return int(int64(a.Offset) - int64(b.Offset)) })
	return sections, nil
}

func checkRanges(ranges [][2]int64, size int64) error {
	for _, r := range ranges {
		if r[0] < 0 || r[1] < r[0] || r[1] > size {
			return fmt.Errorf("it is broken: it speaks of bytes %d to %d and has %d", r[0], r[1], size)
		}
	}
	return nil
}

// section is one that systemd-stub measures.
type section struct {
	name    string
	content Content
}

// ukiSections lists the sections that systemd-stub measures, in its order (UAPI.5, "UKI TPM PCR Measurements"). No Linux section: it is no unified kernel image, and there are none.
func ukiSections(c Content) ([]section, error) {
	image, err := pe.NewFile(c)
	if err != nil {
		return nil, fmt.Errorf("reading an image: %w", err)
	}
	if image.Section(".linux") == nil {
		return nil, nil
	}
	var all []section
	for _, name := range []string{".linux", ".osrel", ".cmdline", ".initrd", ".ucode", ".splash", ".dtb", ".dtbauto", ".hwids", ".uname", ".sbat", ".pcrpkey", ".profile"} {
		s := image.Section(name)
		if s == nil {
			continue
		}
		// What is loaded counts: the virtual size, without the file's padding.
		if s.VirtualSize > s.Size || int64(s.Offset)+int64(s.VirtualSize) > c.Size() {
			return nil, fmt.Errorf("reading an image: the section %s is not all in the file", name)
		}
		all = append(all, section{name, io.NewSectionReader(c, int64(s.Offset), int64(s.VirtualSize))})
	}
	return all, nil
}
