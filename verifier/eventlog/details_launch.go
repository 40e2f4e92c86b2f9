package eventlog

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
)

// decodeLaunch decodes the events of a measured launch (MLE table E-6).
func (e *Event) decodeLaunch() []Detail {
	d := decoder{rest: e.Data}
	switch e.Type {
	case TypeHashStart:
		return decodeHashStart(e.Data)
	case TypePCRMapping:
		return d.dword("mapping", func(v uint32) string {
			return choose(v&1 != 0, "details and authorities", "legacy")
		})
	case TypeCPUSCRTMStat:
		return d.dword("S-CRTM", func(v uint32) string {
			return choose(v == 1, "in the CPU", fmt.Sprintf("in the BIOS (%#x)", v))
		})
	case TypeLCPControlHash:
		return d.dword("policy control", func(v uint32) string { return fmt.Sprintf("0x%08x", v) })
	case TypeOsSinitDataCap:
		return d.dword("capabilities", capabilities)
	case TypeBIOSACRegData:
		return when(len(e.Data) == 32, Detail{"registration data", hexa(e.Data)})
	case TypeSTMHash:
		return when(isZeroByte(e.Data), Detail{"STM", "none"})
	case TypeLCPDetailsHash, TypeLCPAuthorities:
		return when(isZeroByte(e.Data), Detail{"policy", "none in force, any launch is allowed"})
	case TypeNVInfoHash:
		return decodeNVInfo(e.Data)
	case TypeMLEHash, TypeSINITPubkeyHash:
		return e.digestDetails()
	default:
		return nil
	}
}

// decodeHashStart decodes SHA256(SINIT) || EDX, which GETSEC[SENTER] hashes.
func decodeHashStart(data []byte) []Detail {
	if len(data) != 36 {
		return nil
	}

	return []Detail{{"SINIT hash", hexa(data[:32])}, {"EDX", fmt.Sprintf("0x%08x", le32(data[32:]))}}
}

// digestDetails shows the digests of an event that has no data: they are what it is about.
func (e *Event) digestDetails() []Detail {
	if len(e.Data) > 0 {
		return nil
	}
	var all []Detail
	for _, a := range e.Algs() {
		if digest, ok := e.Digest(a); ok {
			all = append(all, Detail{a.String(), hexa(digest)})
		}
	}

	return all
}

// capabilities names the bits of OsSinitData.Capabilities (MLE table 2, "MLE/SINIT Capabilities Field").
func capabilities(v uint32) string {
	var set []string
	for i, name := range [32]string{
		0: "RLP wake-up by GETSEC", 1: "RLP wake-up by MONITOR", 2: "page table base in ECX", 3: "STM", 4: "no legacy PCR mapping",
		5: "details and authorities mapping", 6: "client platform", 7: "server platform", 8: "all physical addresses", 9: "TCG event log", 10: "CBnT",
	} {
		if v&(1<<i) != 0 {
			set = append(set, choose(name != "", name, fmt.Sprintf("bit %d", i)))
		}
	}

	return fmt.Sprintf("0x%08x (%s)", v, strings.Join(set, "; "))
}

// decodeNVInfo decodes what MLE table E-6 calls NV_INFO: for the AUX, platform supplier and platform owner index a byte that says whether
// it is defined, then its TPMS_NV_PUBLIC (TPM2 Part 2, 13.5).
func decodeNVInfo(data []byte) []Detail {
	d := decoder{rest: data}
	var all []Detail
	for _, name := range []string{"AUX index", "platform supplier index", "platform owner index"} {
		switch d.u8() {
		case 0:
			all = append(all, Detail{name, "not defined"})
		case 1:
			all = append(all, Detail{name, d.nvPublic()})
		default:
			return nil
		}
	}

	return when(d.ok() && len(d.rest) == 0, all...)
}

// nvPublic takes a TPMS_NV_PUBLIC, big-endian as the TPM gave it.
func (d *decoder) nvPublic() string {
	be := binary.BigEndian
	head := d.take(4 + 2 + 4 + 2)
	if head == nil {
		return ""
	}
	policy := d.take(uint64(be.Uint16(head[10:])))
	size := d.take(2)
	if size == nil {
		return ""
	}

	return fmt.Sprintf("0x%08x (%d bytes, name algorithm %s, attributes 0x%08x, policy %s)",
		be.Uint32(head), be.Uint16(size), Alg(be.Uint16(head[4:])), be.Uint32(head[6:]), hexa(policy))
}

// dword decodes data that is one little-endian 32-bit number.
func (d *decoder) dword(name string, say func(uint32) string) []Detail {
	v := d.u32()

	return when(d.ok() && len(d.rest) == 0, Detail{name, say(v)})
}

func isZeroByte(data []byte) bool { return bytes.Equal(data, []byte{0}) }

// when returns details if the data had their shape, else nil.
func when(ok bool, details ...Detail) []Detail {
	if !ok {
		return nil
	}

	return details
}

func choose(ok bool, yes, no string) string {
	if ok {
		return yes
	}

	return no
}
