package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/eventlog"
	"github.com/trustpool/trustpool/verifier/eventlog/cel"
)

// logFile is a log of any format.
type logFile struct {
	name    string
	format  string
	banks   []eventlog.Alg // at least one
	size    int            // without padding
	padding int
	log     *eventlog.Log // one of the two is set
	ima     *eventlog.IMALog
}

func parseLog(name string, raw []byte, ima bool) (*logFile, error) {
	if ima || looksLikeIMA(raw) {
		list, err := eventlog.ParseIMA(raw)
		if err != nil {
			return nil, err
		}
		return &logFile{name: name, format: "ima", banks: []eventlog.Alg{eventlog.AlgSHA1}, size: len(raw), ima: list}, nil
	}

	if form := cel.Detect(raw); form != cel.FormatUnknown {
		log, err := cel.Decode(raw)
		if err != nil {
			return nil, err
		}
		return &logFile{name: name, format: log.Format.String() + ", as " + form.String(), banks: log.Algs, size: len(raw), log: log}, nil
	}

	end, err := eventlog.Trim(raw)
	if err != nil {
		return nil, err
	}
	log, err := eventlog.Parse(raw[:end])
	if err != nil {
		return nil, err
	}
	return &logFile{name: name, format: log.Format.String(), banks: log.Algs, size: end, padding: len(raw) - end, log: log}, nil
}

// looksLikeIMA tells whether a list of measured files begins here: u32 PCR, 20 bytes of digest, u32 length and name of the template, "ima-ng" or the like. A TCG log
// has there the end of a digest and the length of the event's data.
func looksLikeIMA(raw []byte) bool {
	const at, most = 4 + 20, 16

	if len(raw) < at+4+4 {
		return false
	}
	return binary.LittleEndian.Uint32(raw[at:]) <= most && bytes.HasPrefix(raw[at+4:], []byte("ima-"))
}

// record is one event of a log, for people and for programs.
type record struct {
	Num int `json:"num"`
	PCR int `json:"pcr"`
	// Type is the name that the type's specification gives it, TypeID its number. An IMA list has the name of a template instead.
	Type   string `json:"type"`
	TypeID uint32 `json:"type_id"`
	// Extended tells whether the digests went into the PCR.
	Extended bool                    `json:"extended"`
	Digests  map[string]verifier.Hex `json:"digests"`
	// About says what the event is about. It is safe to print.
	About string       `json:"about"`
	Data  verifier.Hex `json:"data,omitempty"`
	// DataCheck says whether the digest of the shown bank vouches for Data.
	DataCheck string `json:"data_check,omitempty"`

	changed bool   // the digest is of other data
	like    string // an event with the same may stand for this one in another log
}

// records lists the events. bank is the one by which data is checked.
func (l *logFile) records(bank eventlog.Alg) []record {
	if l.ima != nil {
		return l.imaRecords()
	}

	labels := l.log.Labels()
	records := make([]record, 0, len(l.log.Events))
	for i := range l.log.Events {
		ev := &l.log.Events[i]
		r := record{
			Num: ev.Num, PCR: int(ev.PCR), Type: ev.Type.String(), TypeID: uint32(ev.Type), Extended: ev.Extended(),
			Digests: make(map[string]verifier.Hex), About: ev.Describe(), Data: ev.Data, like: ev.Type.String(),
		}
		if ev.Type == eventlog.TypeTbootMeasurement { // tboot says nothing of it, its place does
			r.About = labels[i] + ", by its place"
		}
		for _, alg := range ev.Algs() {
			digest, _ := ev.Digest(alg)
			r.Digests[alg.String()] = digest
		}
		if len(ev.Data) > 0 {
			check := ev.CheckData(bank)
			r.DataCheck, r.changed = check.String(), check == eventlog.DataDiffers
		}
		records = append(records, r)
	}
	return records
}

func (l *logFile) imaRecords() []record {
	records := make([]record, 0, len(l.ima.Events))
	for i := range l.ima.Events {
		ev := &l.ima.Events[i]
		path := strconv.Quote(string(ev.Path))
		r := record{
			Num: ev.Num, PCR: int(ev.PCR), Type: ev.Name, Extended: true,
			Digests: map[string]verifier.Hex{eventlog.AlgSHA1.String(): ev.Template},
			About:   fmt.Sprintf("file %s, %s %x", path, console.Printable(string(ev.FileAlg)), ev.FileDigest),
			Data:    ev.Data,
			like:    path,
		}
		if ev.Violation() {
			r.About = fmt.Sprintf("file %s was changed while it was measured", path)
		}
		records = append(records, r)
	}
	return records
}

// summary says in one line what kind of log it is.
func (l *logFile) summary(events int) string {
	text := fmt.Sprintf("%s log, %s, %d bytes, digests of %s", l.format, count(events, "event"), l.size, bankNames(l.banks))
	if l.padding > 0 {
		text += fmt.Sprintf(" (and %d bytes of padding)", l.padding)
	}
	return text
}

func bankNames(banks []eventlog.Alg) string { return strings.Join(bankList(banks), ", ") }

func bankList(banks []eventlog.Alg) []string {
	names := make([]string, 0, len(banks))
	for _, bank := range banks {
		names = append(names, bank.String())
	}
	return names
}

// count gives "1 event" or "2 events".
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
