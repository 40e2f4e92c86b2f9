package verifier

import (
	"encoding/binary"
	"slices"

	"github.com/trustpool/trustpool/verifier/eventlog"
)

const (
	maxUnverified      = 4096 // items of a Result
	maxUnverifiedBytes = 256  // shown of each
)

// UnverifiedField says which part of a log nothing vouches for.
type UnverifiedField string

const (
	// FieldLog: the whole log: it does not replay, or the evidence is refused before it is looked at.
	FieldLog UnverifiedField = "log"
	// FieldHeader: the log's header.
	FieldHeader UnverifiedField = "header"
	// FieldEvent: a whole event: it is of a PCR that is not quoted, or it was not extended.
	FieldEvent UnverifiedField = "event"
	// FieldType: the type of an event whose PCR is known-good by its value.
	FieldType UnverifiedField = "type"
	// FieldDigest: an event's digest of a bank that is not quoted.
	FieldDigest UnverifiedField = "digest"
	// FieldData: an event's data, which its digest is not the hash of.
	FieldData UnverifiedField = "data"
)

// Unverified is something that a log says and no signed digest covers: anybody may have changed it. No check builds on it but one: PCR 0 is replayed from the locality that a StartupLocality tells, and
// the signed value shows whether that is true.
type Unverified struct {
	// Log is the log's source, Event the event's number in it.
	Log   string `json:"log"`
	Event int    `json:"event"`
	// Field says which part. Bank is set for a digest.
	Field UnverifiedField `json:"field"`
	Bank  string          `json:"bank,omitempty"`
	// PCR and Type are what the event says of itself.
	PCR  int    `json:"pcr"`
	Type string `json:"type,omitempty"`
	// Bytes are the first bytes of the part, at most 256, and Size is how many there are.
	Bytes Hex `json:"bytes,omitempty"`
	Size  int `json:"size"`
}

// unverified lists them, and counts those that the list has no room for.
func (e *exam) unverified() (list []Unverified, omitted int) {
	add := func(u Unverified) {
		if len(list) == maxUnverified {
			omitted++
			return
		}
		list = append(list, u)
	}

	if !e.passed(CheckReplay, CheckPCRDigest, CheckSignature) {
		for _, l := range e.ev.Logs[:min(len(e.ev.Logs), maxLogs)] {
			add(Unverified{Log: safeText(l.Source), Field: FieldLog, Size: len(l.Raw)})
		}
		return list, omitted
	}
	for i := range e.logs {
		e.unverifiedIn(&e.logs[i], add)
	}
	return list, omitted
}

func (e *exam) unverifiedIn(l *parsedLog, add func(Unverified)) {
	if header := l.header(); len(header) > 0 {
		add(newUnverified(l, nil, FieldHeader, header))
	}
	for i := range l.Events {
		ev := &l.Events[i]
		banks := e.banksOf(l, ev)
		if !ev.Extended() || len(banks) == 0 {
			add(newUnverified(l, ev, FieldEvent, ev.Data))
			continue
		}
		e.unverifiedOf(l, ev, banks, add)
	}
}

// unverifiedOf lists the parts of an event of which only the digests of banks are quoted.
func (e *exam) unverifiedOf(l *parsedLog, ev *eventlog.Event, banks []eventlog.Alg, add func(Unverified)) {
	if !slices.ContainsFunc(banks, func(bank eventlog.Alg) bool { return e.bindsType(pcr{bank, int(ev.PCR)}) }) {
		add(newUnverified(l, ev, FieldType, nil))
	}
	for _, bank := range ev.Algs() {
		if slices.Contains(banks, bank) {
			continue
		}
		digest, _ := ev.Digest(bank)
		u := newUnverified(l, ev, FieldDigest, digest)
		u.Bank = bank.String()
		add(u)
	}
	matches := func(bank eventlog.Alg) bool { return ev.CheckData(bank) == eventlog.DataMatches }
	if len(ev.Data) > 0 && !slices.ContainsFunc(banks, matches) {
		add(newUnverified(l, ev, FieldData, ev.Data))
	}
}

// banksOf returns the banks in which the event's PCR is quoted and explained by this very log.
func (e *exam) banksOf(l *parsedLog, ev *eventlog.Event) []eventlog.Alg {
	var banks []eventlog.Alg
	for i := range e.explained {
		if x := &e.explained[i]; x.log == l && uint32(x.pcr.index) == ev.PCR { //nolint:gosec // checkBank: 0 to 23
			banks = append(banks, x.pcr.bank)
		}
	}
	return banks
}

// bindsType tells whether the known-good slots fix the types of a PCR's events.
func (e *exam) bindsType(p pcr) bool {
	entry, ok := e.policy.KnownGood.entry(p)
	return ok && len(entry.Events) > 0
}

// header returns the bytes before the first event: in the formats that have a header, a TCG_PCClientPCREvent (PC Client Platform Firmware Profile, 9.2.1).
func (l *parsedLog) header() []byte {
	const head = 32
	if l.Format == eventlog.FormatSHA1 || len(l.raw) < head {
		return nil
	}
	size := int(binary.LittleEndian.Uint32(l.raw[head-4:]))
	return l.raw[:min(head+size, len(l.raw))]
}

func newUnverified(l *parsedLog, ev *eventlog.Event, field UnverifiedField, part []byte) Unverified {
	u := Unverified{Log: l.source, Field: field, Bytes: part[:min(len(part), maxUnverifiedBytes)], Size: len(part)}
	if ev != nil {
		u.Event, u.PCR, u.Type = ev.Num, int(ev.PCR), ev.Type.String()
	}
	return u
}
