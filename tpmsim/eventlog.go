package tpmsim

import (
	"encoding/binary"

	"github.com/google/go-tpm/tpm2"
)

// eventType is the type of an event: TCG PC Client Platform Firmware Profile,
// 10.4.1, or from 0x400 on Intel TXT MLE Developer's Guide, appendix E.
type eventType uint32

const (
	evNoAction eventType = 0x3

	evtypePCRMapping         eventType = 0x401
	evtypeHashStart          eventType = 0x402
	evtypeMLEHash            eventType = 0x404
	evtypeBIOSACRegData      eventType = 0x40a
	evtypeCPUSCRTMStat       eventType = 0x40b
	evtypeLCPControlHash     eventType = 0x40c
	evtypeSTMHash            eventType = 0x40e
	evtypeOSSInitDataCapHash eventType = 0x40f
	evtypeSInitPubKeyHash    eventType = 0x410
	evtypeLCPDetailsHash     eventType = 0x412
	evtypeLCPAuthoritiesHash eventType = 0x413
	evtypeNVInfoHash         eventType = 0x414
	evtypeCapValue           eventType = 0x4ff

	// evtypeTboot is what tboot logs its own measurements as.
	evtypeTboot eventType = 0x501
	// evtypeSecureLaunch is what Linux logs its own as after a Secure Launch.
	evtypeSecureLaunch eventType = 0x502
)

// record is one event as a log tells it. It knows nothing of a log's format, of
// which there are several for the same events.
type record struct {
	pcr     uint32
	typ     eventType
	digests []digest
	data    []byte
}

// digest is the digest of one event in one bank.
type digest struct {
	alg   tpm2.TPMAlgID
	value []byte
}

// cryptoAgileLog writes records in the crypto-agile format, which lists the
// banks in its header, without padding behind the last event.
// TCG PC Client Platform Firmware Profile, 10.2; all integers little-endian.
func cryptoAgileLog(banks []bank, records []record) []byte {
	log := appendHeaderEvent(nil, specIDEvent(banks))
	for _, r := range records {
		log = appendEvent2(log, r)
	}
	return log
}

// appendHeaderEvent appends a TCG_PCR_EVENT of PCR 0, type EV_NO_ACTION, with a
// SHA-1 digest of zeros: the old event structure, with which every log begins.
func appendHeaderEvent(b, data []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(evNoAction))
	b = append(b, make([]byte, 20)...)
	return appendSized(b, data)
}

// specIDEvent returns a TCG_EfiSpecIDEvent as SINIT writes it: platform class 0
// even on servers, version 2.0 errata 0, no vendor information.
func specIDEvent(banks []bank) []byte {
	const (
		minor, major, errata = 0, 2, 0
		uintn32              = 1
	)

	b := append([]byte("Spec ID Event03\x00"), 0, 0, 0, 0, minor, major, errata, uintn32)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(banks))) //nolint:gosec // three
	for _, k := range banks {
		b = binary.LittleEndian.AppendUint16(b, uint16(k.alg))
		b = binary.LittleEndian.AppendUint16(b, uint16(k.hash.Size())) //nolint:gosec // at most 64
	}
	return append(b, 0)
}

// appendEvent2 appends a TCG_PCR_EVENT2.
func appendEvent2(b []byte, r record) []byte {
	b = binary.LittleEndian.AppendUint32(b, r.pcr)
	b = binary.LittleEndian.AppendUint32(b, uint32(r.typ))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(r.digests))) //nolint:gosec // one per bank
	for _, d := range r.digests {
		b = binary.LittleEndian.AppendUint16(b, uint16(d.alg))
		b = append(b, d.value...)
	}
	return appendSized(b, r.data)
}

func appendSized(b, data []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(data))) //nolint:gosec // at most some hundred bytes
	return append(b, data...)
}
