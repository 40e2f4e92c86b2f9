package txt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Public configuration registers: physical address of their space and offsets in it (MLE appendix B).
const (
	publicSpace = 0xFED30000

	regSTS       = 0x000
	regESTS      = 0x008
	regErrorCode = 0x030
	regDIDVID    = 0x110
	regHeapBase  = 0x300
	regHeapSize  = 0x308
	regE2STS     = 0x8F0

	registerSize = 8
)

// ErrNoRegisters says that this host has no TXT registers.
var ErrNoRegisters = errors.New("no TXT registers")

// Registers are the public TXT registers that tell how a launch went. Nothing signs or protects them.
type Registers struct {
	STS, ESTS, ErrorCode, E2STS, DIDVID uint64
}

// ReadRegisters reads them from memory. An error that wraps ErrNoRegisters means that the platform has none.
func ReadRegisters(memory io.ReaderAt) (Registers, error) {
	return collect(func(r register) (uint64, error) { return readRegister(memory, r.offset) })
}

// ReadSecureLaunchRegisters reads them from a directory of files as Linux's Secure Launch has it, /sys/kernel/security/slaunch/txt: hexadecimal text, with the
// NUL that ends it in C.
func ReadSecureLaunchRegisters(dir string) (Registers, error) {
	return collect(func(r register) (uint64, error) {
		path := filepath.Join(dir, r.file)

		text, err := readText(path)
		if errors.Is(err, fs.ErrNotExist) {
			return 0, fmt.Errorf("%w: no %s", ErrNoRegisters, path)
		}

		if err != nil {
			return 0, err
		}

		value, err := strconv.ParseUint(strings.TrimPrefix(strings.TrimRight(text, "\n\x00"), "0x"), 16, 64)
		if err != nil {
			return 0, fmt.Errorf("reading %s: %w", path, err)
		}

		return value, nil
	})
}

// register is one of Registers: where it is, in both ways to read it, and where it goes.
type register struct {
	offset int64
	file   string
	value  *uint64
}

func collect(read func(register) (uint64, error)) (Registers, error) {
	var r Registers

	for _, reg := range []register{
		{regDIDVID, "didvid", &r.DIDVID},
		{regSTS, "sts", &r.STS},
		{regESTS, "ests", &r.ESTS},
		{regErrorCode, "errorcode", &r.ErrorCode},
		{regE2STS, "e2sts", &r.E2STS},
	} {
		value, err := read(reg)
		if err != nil {
			return Registers{}, err
		}

		*reg.value = value

		if reg.offset == regDIDVID && uint16(value) != intel { // #nosec G115 -- the lower half is the vendor
			return Registers{}, fmt.Errorf("%w: TXT.DIDVID is %#x, and vendor 0x%04x is meant to be there", ErrNoRegisters, value, intel)
		}
	}

	return r, nil
}

// intel is the only vendor of TXT (PCI vendor ID).
const intel = 0x8086

// readRegister reads one register, in one piece: what a device answers to other widths is its own affair.
func readRegister(memory io.ReaderAt, offset int64) (uint64, error) {
	var b [registerSize]byte

	n, err := memory.ReadAt(b[:], publicSpace+offset)

	switch {
	case n == registerSize:
	case errors.Is(err, io.EOF):
		return 0, fmt.Errorf("%w: %w: nothing is at %#x", ErrNoLog, ErrNoRegisters, publicSpace+offset)
	default:
		return 0, fmt.Errorf("reading the TXT register at %#x: %w", publicSpace+offset, err)
	}

	return binary.LittleEndian.Uint64(b[:]), nil
}

// readText reads a short file.
func readText(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }() // read only: nothing to lose

	const most = 64

	text, err := io.ReadAll(io.LimitReader(file, most+1))
	if err == nil && len(text) > most {
		err = fmt.Errorf("reading %s: more than %d bytes", path, most)
	}

	return string(text), err
}
