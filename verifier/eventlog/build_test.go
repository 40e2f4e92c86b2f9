package eventlog_test

import (
	"encoding/binary"
	"slices"

	"github.com/trustpool/trustpool/verifier/eventlog"
)

// The tests write logs by a few lines of their own, so that a misreading of the format cannot hide in parser and writer at once.

// rec is one record to write.
type rec struct {
	pcr, typ uint32
	digests  []dig
	data     []byte
}

type dig struct {
	alg eventlog.Alg
	sum []byte
}

// hashed makes a record whose digests are those of its data.
func hashed(pcr uint32, typ eventlog.EventType, data []byte, algs ...eventlog.Alg) rec {
	r := rec{pcr: pcr, typ: uint32(typ), data: data}
	for _, a := range algs {
		r.digests = append(r.digests, dig{a, sum(a, data)})
	}

	return r
}

// filled makes a record without data, with digests of one repeated byte.
func filled(pcr uint32, typ eventlog.EventType, b byte, algs ...eventlog.Alg) rec {
	r := rec{pcr: pcr, typ: uint32(typ)}
	for _, a := range algs {
		r.digests = append(r.digests, dig{a, slices.Repeat([]byte{b}, a.Size())})
	}

	return r
}

func sum(a eventlog.Alg, data ...[]byte) []byte {
	h := a.Hash().New()
	for _, d := range data {
		h.Write(d)
	}

	return h.Sum(nil)
}

func u16(n int) []byte { return binary.LittleEndian.AppendUint16(nil, uint16(n)) }
func u32(n int) []byte { return binary.LittleEndian.AppendUint32(nil, uint32(n)) }
func u64(n int) []byte { return binary.LittleEndian.AppendUint64(nil, uint64(n)) }

// legacy writes a TCG_PCClientPCREvent.
func legacy(pcr, typ uint32, digest, data []byte) []byte {
	return slices.Concat(u32(int(pcr)), u32(int(typ)), digest, u32(len(data)), data)
}

// specID writes the header of a crypto-agile log.
func specID(vendor []byte, algs ...eventlog.Alg) []byte {
	data := slices.Concat([]byte("Spec ID Event03\x00"), u32(0), []byte{0, 2, 1, 2}, u32(len(algs)))
	for _, a := range algs {
		data = slices.Concat(data, u16(int(a)), u16(a.Size()))
	}
	data = append(append(data, byte(len(vendor))), vendor...)

	return legacy(0, 3, make([]byte, 20), data)
}

// agile writes a crypto-agile log.
func agile(algs []eventlog.Alg, recs ...rec) []byte {
	b := specID(nil, algs...)
	for _, r := range recs {
		b = slices.Concat(b, r.agile())
	}

	return b
}

// agile writes a TCG_PCR_EVENT2.
func (r rec) agile() []byte {
	b := slices.Concat(u32(int(r.pcr)), u32(int(r.typ)), u32(len(r.digests)))
	for _, d := range r.digests {
		b = slices.Concat(b, u16(int(d.alg)), d.sum)
	}

	return slices.Concat(b, u32(len(r.data)), r.data)
}

// sha1Log writes a log of TCG_PCClientPCREvent records.
func sha1Log(recs ...rec) []byte {
	var b []byte
	for _, r := range recs {
		b = append(b, legacy(r.pcr, r.typ, r.digests[0].sum, r.data)...)
	}

	return b
}

// txtLog writes Intel's original TPM 2.0 log for one algorithm, id being its number in the descriptor.
func txtLog(id int, a eventlog.Alg, recs ...rec) []byte {
	b := legacy(0, 3, make([]byte, 20), slices.Concat([]byte("FRMT ID EVENT00\x00"), u32(1), u32(id), u32(a.Size())))
	for _, r := range recs {
		b = slices.Concat(b, u32(int(r.pcr)), u32(int(r.typ)), r.digests[0].sum, u32(len(r.data)), r.data)
	}

	return b
}

// launch is a small measured launch: what SINIT measures into both banks, and what tboot measures into one.
func launch(algs ...eventlog.Alg) []rec {
	return []rec{
		hashed(17, eventlog.TypeHashStart, append(slices.Repeat([]byte{0x51}, 32), 0, 0, 0, 0), algs...),
		{pcr: 0xFF, typ: uint32(eventlog.TypePCRMapping), digests: filled(0, 0, 0, algs...).digests, data: u32(1)},
		hashed(17, eventlog.TypeLCPControlHash, u32(2), algs...),
		filled(17, eventlog.TypeMLEHash, 0x4D, algs...),
		hashed(18, eventlog.TypeLCPControlHash, u32(2), algs...),
		filled(17, eventlog.TypeTbootMeasurement, 0xA0, eventlog.AlgSHA256),
		filled(18, eventlog.TypeTbootMeasurement, 0xA0, eventlog.AlgSHA256),
		filled(17, eventlog.TypeTbootMeasurement, 0xA1, eventlog.AlgSHA256),
	}
}

var bothBanks = []eventlog.Alg{eventlog.AlgSHA1, eventlog.AlgSHA256}

// imaRecord writes a record of Linux's IMA list.
func imaRecord(template, alg, path string, digest []byte, sig ...[]byte) []byte {
	field := func(b ...[]byte) []byte { all := slices.Concat(b...); return slices.Concat(u32(len(all)), all) }
	data := slices.Concat(field([]byte(alg+":\x00"), digest), field([]byte(path+"\x00")))
	for _, s := range sig {
		data = append(data, field(s)...)
	}

	return slices.Concat(u32(10), sum(eventlog.AlgSHA1, data), field([]byte(template)), field(data))
}
