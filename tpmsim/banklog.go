package tpmsim

import (
	"crypto"
	"encoding/binary"
)

// bankLog writes records in the older format of TXT logs for TPM 2.0, one log a
// bank, without padding behind the last event. An event that was not extended
// into the bank is left out. A log of another hash than SHA-1 begins with a
// TCG_LOG_DESCRIPTOR. Intel TXT MLE Developer's Guide, appendix E; all integers
// little-endian.
func bankLog(b bank, records []record) []byte {
	var log []byte
	if b.hash != crypto.SHA1 {
		log = appendHeaderEvent(log, logDescriptor(b))
	}
	for _, r := range records {
		for _, d := range r.digests {
			if d.alg == b.alg {
				log = appendBankEvent(log, r, d)
			}
		}
	}
	return log
}

// logDescriptor returns a TCG_LOG_DESCRIPTOR. Its numbers of algorithms are its
// own and not those of the TPM.
func logDescriptor(b bank) []byte {
	const revision = 1
	algorithm := map[crypto.Hash]uint32{crypto.SHA1: 1, crypto.SHA256: 2, crypto.SHA384: 3}[b.hash]

	d := []byte("FRMT ID EVENT00\x00")
	d = binary.LittleEndian.AppendUint32(d, revision)
	d = binary.LittleEndian.AppendUint32(d, algorithm)
	return binary.LittleEndian.AppendUint32(d, uint32(b.hash.Size())) //nolint:gosec // at most 64
}

func appendBankEvent(b []byte, r record, d digest) []byte {
	b = binary.LittleEndian.AppendUint32(b, r.pcr)
	b = binary.LittleEndian.AppendUint32(b, uint32(r.typ))
	b = append(b, d.value...)
	return appendSized(b, r.data)
}
