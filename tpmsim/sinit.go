package tpmsim

import (
	"crypto/sha256"
	"encoding/binary"
)

// The programs and keys that take part in the launch. They are made up; only
// their hashes matter.
const (
	sinitImage = "simulated SINIT authenticated code module, version 1"
	sinitKey   = "simulated key that the chipset accepts SINIT under"
	tbootImage = "simulated tboot 1.11.2"
)

// sinitCapabilities are what SINIT is told that the launched software can do, and
// measures.
const sinitCapabilities = 0x601

// hashStartData returns what the processor gives the hash sequence: the SHA-256
// digest of SINIT, and EDX of GETSEC[SENTER], which is zero.
func hashStartData() []byte {
	sum := sha256.Sum256([]byte(sinitImage))
	return append(sum[:], 0, 0, 0, 0)
}

// sinitSteps returns what SINIT extends at locality 3 on a TPM 2.0 with the
// details and authorities mapping, in the order of real logs: first all of PCR
// 17, then all of PCR 18. Intel TXT MLE Developer's Guide, 1.10.2 and table E-6.
//
// The MLE is what SINIT launches: tboot, or Linux itself.
func sinitSteps(banks []bank, mle string) []step {
	var (
		mapping      = le32(1)          // bit 0: details and authorities
		registers    = make([]byte, 32) // of the BIOS authenticated code module
		scrtm        = le32(1)          // the core root of trust is in the processor
		lcpControl   = le32(0)
		capabilities = le32(sinitCapabilities)
		none         = []byte{0} // no STM, and a launch policy that allows any
		nv           = nvInfo()
	)

	steps := []step{
		{pcr: pcrMapping, typ: evtypePCRMapping, data: mapping, measure: bank.zeros},
		hashed(17, evtypeBIOSACRegData, registers),
		hashed(17, evtypeCPUSCRTMStat, scrtm),
		hashed(17, evtypeLCPControlHash, lcpControl),
		hashed(17, evtypeLCPDetailsHash, none),
		hashed(17, evtypeSTMHash, none),
		hashed(17, evtypeOSSInitDataCapHash, capabilities),
		undisclosed(17, evtypeMLEHash, mle),
		hashed(17, evtypeNVInfoHash, nv),
		undisclosed(18, evtypeSInitPubKeyHash, sinitKey),
		hashed(18, evtypeCPUSCRTMStat, scrtm),
		hashed(18, evtypeOSSInitDataCapHash, capabilities),
		hashed(18, evtypeLCPControlHash, lcpControl),
		hashed(18, evtypeLCPAuthoritiesHash, none),
		hashed(18, evtypeNVInfoHash, nv),
	}
	for i := range steps {
		steps[i].locality, steps[i].banks = localitySINIT, banks
	}
	return steps
}

// hashed is a step whose digest is the hash of the data that the log tells.
func hashed(pcr uint32, typ eventType, data []byte) step {
	return step{pcr: pcr, typ: typ, data: data, measure: func(b bank) []byte { return b.sum(data) }}
}

// undisclosed is a step that measures something the log does not carry.
func undisclosed(pcr uint32, typ eventType, what string) step {
	return step{pcr: pcr, typ: typ, measure: func(b bank) []byte { return b.sum([]byte(what)) }}
}

// nvInfo returns the data of NV_INFO_HASH: for each of the indices that SINIT
// uses, a one and its TPMS_NV_PUBLIC, or a zero if it is not there. Here the
// auxiliary index and the platform supplier's policy are, the owner's is not.
func nvInfo() []byte {
	aux := nvPublic(0x01c10102, 0x62044408, "simulated auxiliary index policy", 104)
	supplier := nvPublic(0x01c10103, 0x62040408, "simulated supplier index policy", 70)

	b := append([]byte{1}, aux...)
	b = append(append(b, 1), supplier...)
	return append(b, 0)
}

// nvPublic returns a TPMS_NV_PUBLIC. TPM 2.0 Part 2, 13.5; big-endian.
func nvPublic(index, attributes uint32, policy string, size uint16) []byte {
	const algSHA256 = 0x000b

	sum := sha256.Sum256([]byte(policy))
	b := binary.BigEndian.AppendUint32(nil, index)
	b = binary.BigEndian.AppendUint16(b, algSHA256)
	b = binary.BigEndian.AppendUint32(b, attributes)
	b = binary.BigEndian.AppendUint16(b, sha256.Size)
	b = append(b, sum[:]...)
	return binary.BigEndian.AppendUint16(b, size)
}

func le32(v uint32) []byte { return binary.LittleEndian.AppendUint32(nil, v) }
