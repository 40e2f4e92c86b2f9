package nodetest

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/trustpool/trustpool/verifier/eventlog"
)

// event is one event, whose data is what was measured.
type event struct {
	pcr  uint32
	typ  eventlog.EventType
	what string
}

func (e event) digest() [sha256.Size]byte { return sha256.Sum256([]byte(e.what)) }

// logBytes writes a crypto-agile log with a SHA-256 bank (PC Client Platform Firmware Profile, 9.4.5.1 and 9.2.2).
func logBytes(events []event) []byte {
	le := binary.LittleEndian
	header := []byte("Spec ID Event03\x00\x00\x00\x00\x00\x00\x02\x00\x01\x01\x00\x00\x00\x0B\x00\x20\x00\x00")
	log := append([]byte{0, 0, 0, 0, 3, 0, 0, 0}, make([]byte, 20)...)
	log = append(le.AppendUint32(log, uint32(len(header))), header...) //nolint:gosec // a few bytes
	for _, e := range events {
		digest := e.digest()
		log = le.AppendUint32(le.AppendUint32(log, e.pcr), uint32(e.typ))
		log = le.AppendUint16(le.AppendUint32(log, 1), uint16(eventlog.AlgSHA256))
		log = append(log, digest[:]...)
		data := ""
		if e.typ == eventlog.TypeHashStart {
			data = e.what
		}
		log = append(le.AppendUint32(log, uint32(len(data))), data...) //nolint:gosec // a few bytes
	}
	return log
}
