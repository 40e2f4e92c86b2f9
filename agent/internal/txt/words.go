package txt

import (
	"fmt"
	"strings"
)

// Bits of the registers (MLE appendix B and, for TXT.ERRORCODE, appendix I).
const (
	stsLaunched    = 1 << 0 // SENTER.DONE.STS
	estsReset      = 1 << 0 // TXT_RESET.STS
	errorValid     = 1 << 31
	errorSoftware  = 1 << 30
	errorByMLE     = 1 << 15
	e2stsSecrets   = 1 << 1 // SECRETS.STS
	errorOfSuccess = 0xC0000001
)

// Launched tells whether TXT.STS says that a measured launch was done in this boot.
func (r Registers) Launched() bool { return r.STS&stsLaunched != 0 }

// Failed tells whether TXT.ESTS or TXT.ERRORCODE says that a launch went wrong. The error code outlives a soft reset: it may tell of an earlier boot.
func (r Registers) Failed() bool {
	return r.ESTS&estsReset != 0 || r.ErrorCode&errorValid != 0 && uint32(r.ErrorCode) != errorOfSuccess // #nosec G115 -- a register of 32 bits
}

// Words tells what the registers say, one register a line.
func (r Registers) Words() []string {
	return []string{
		fmt.Sprintf("TXT.STS %#08x: %s", r.STS, bits(r.STS, "no measured launch", []bit{
			{stsLaunched, "measured launch done"},
			{1 << 1, "measured launch ended (SEXIT)"},
			{1 << 6, "memory configuration locked"},
			{1 << 7, "private space open"},
			{1 << 15, "locality 1 open"},
			{1 << 16, "locality 2 open"},
		})),
		fmt.Sprintf("TXT.ESTS %#02x: %s", r.ESTS, bits(r.ESTS, "no TXT reset", []bit{
			{estsReset, "TXT reset: no launch works before the host was powered off"},
		})),
		fmt.Sprintf("TXT.ERRORCODE %#08x: %s", r.ErrorCode, errorWords(uint32(r.ErrorCode))), // #nosec G115 -- a register of 32 bits
		fmt.Sprintf("TXT.E2STS %#08x: %s", r.E2STS, bits(r.E2STS, "no secrets in memory", []bit{
			{e2stsSecrets, "secrets in memory: they are scrubbed at a reset"},
		})),
		fmt.Sprintf("TXT.DIDVID %#016x: vendor %04x, device %04x, revision %d", r.DIDVID, r.DIDVID&0xFFFF, r.DIDVID>>16&0xFFFF, r.DIDVID>>32&0xFFFF),
	}
}

// bit is what a bit says if it is set.
type bit struct {
	mask uint64
	text string
}

// bits names the bits that are set; none is what it means that the first of them, the one that matters, is clear.
func bits(value uint64, none string, names []bit) string {
	var set []string

	if value&names[0].mask == 0 {
		set = append(set, none)
	}

	for _, b := range names {
		if value&b.mask != 0 {
			set = append(set, b.text)
		}
	}

	return strings.Join(set, ", ")
}

// errorWords takes an error code apart: bit 31 valid; 30 reported by software, else by the processor; 29 to 16 type 1 or minor code; 15 by the MLE, else by
// an ACM; 14 to 10 major code; 9 to 4 class; 3 to 0 module.
func errorWords(code uint32) string {
	switch {
	case code == 0:
		return "no error"
	case code&errorValid == 0:
		return "not valid"
	case code == errorOfSuccess:
		return "no error: what a launch that went well leaves"
	case code&errorSoftware == 0:
		return fmt.Sprintf("reported by the processor or chipset, type %#x", code&0x3FFFFFFF)
	case code&errorByMLE != 0:
		return fmt.Sprintf("reported by the launched software (MLE), code %#x", code&0x3FFF7FFF)
	}

	module := fmt.Sprintf("ACM module %d", code&0xF)
	switch code & 0xF {
	case 0:
		module = "the BIOS ACM"
	case 1:
		module = "SINIT"
	}

	return fmt.Sprintf("reported by %s, class %#x, major %#x, minor %#x; the ACM's error list names it", module, code>>4&0x3F, code>>10&0x1F, code>>16&0x3FFF)
}
