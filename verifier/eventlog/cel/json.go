package cel

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/trustpool/trustpool/verifier/eventlog"
	"github.com/trustpool/trustpool/verifier/internal/strictjson"
)

// contentPCClient is the content_type of firmware's events (CEL 5.3).
const contentPCClient = "pcclient_std"

// maxRecord bounds a record in JSON: its data in two digits per byte, and less than 4 KiB around it.
const maxRecord = 2*eventlog.MaxDataSize + 4<<10

// The layout of a record, in the order in which its members are written.
type (
	jsonRecord struct {
		RecNum      uint64       `json:"recnum"`
		PCR         uint32       `json:"pcr"`
		Digests     []jsonDigest `json:"digests"`
		ContentType string       `json:"content_type"`
		Content     jsonContent  `json:"content"`
	}
	jsonDigest struct {
		HashAlg string `json:"hashAlg"`
		Digest  string `json:"digest"`
	}
	jsonContent struct {
		EventType any    `json:"event_type"`
		EventData string `json:"event_data"`
	}
)

// encodeJSON writes a record on each line.
func encodeJSON(log *eventlog.Log) ([]byte, error) {
	var out bytes.Buffer
	before := "[\n"
	err := each(log, func(r *record) error {
		j := jsonRecord{
			RecNum: r.num, PCR: r.pcr, Digests: []jsonDigest{}, ContentType: contentPCClient,
			Content: jsonContent{EventType: typeName(r.typ), EventData: hex.EncodeToString(r.data)},
		}
		for _, d := range r.digests {
			j.Digests = append(j.Digests, jsonDigest{d.alg.String(), hex.EncodeToString(d.value)})
		}
		line, err := json.Marshal(j)
		out.WriteString(before)
		out.Write(line)
		before = ",\n"
		return err
	})
	out.WriteString("\n]\n")
	return out.Bytes(), err
}

// typeName gives the name of a type that TCG's own specifications name, and the number of all others, Intel's and tboot's among them.
func typeName(t eventlog.EventType) any {
	if name := t.String(); strings.HasPrefix(name, "EV_") {
		return name
	}
	return uint32(t)
}

// eachJSON calls yield for every record of data.
func eachJSON(data []byte, yield func(*record) error) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	if token, err := dec.Token(); err != nil || token != json.Delim('[') {
		return errors.New("it does not begin with [")
	}
	for n := 0; dec.More(); n++ {
		var one json.RawMessage
		if err := dec.Decode(&one); err != nil {
			return fmt.Errorf("record %d: %w", n, err)
		}
		r, err := parseRecord(one)
		if err == nil {
			err = yield(&r)
		}
		if err != nil {
			return fmt.Errorf("record %d: %w", n, err)
		}
	}
	if _, err := dec.Token(); err != nil {
		return fmt.Errorf("its end: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("something follows the end of the log, at byte %d", dec.InputOffset())
	}
	return nil
}

func parseRecord(text []byte) (record, error) {
	o, err := strictjson.Decode(text, maxRecord)
	if err != nil {
		return record{}, err
	}
	r := record{num: uint64(o.Int("recnum", math.MaxInt)), pcr: uint32(o.Int("pcr", math.MaxUint32))} //nolint:gosec // at most that
	digests := o.Objects("digests")
	if len(digests) > eventlog.MaxAlgs {
		o.Problem("digests", "are %d, more than %d", len(digests), eventlog.MaxAlgs)
		digests = nil
	}
	for _, d := range digests {
		r.digests = append(r.digests, digest{parseAlg(d), unhex(d, "digest")})
		d.Done()
	}
	if kind := o.String("content_type"); kind != contentPCClient && kind != "" {
		o.Problem("content_type", "is %.40q, and only %s is read", kind, contentPCClient)
	}
	if content := o.Object("content"); content != nil {
		r.typ = parseType(content)
		r.data = unhex(content, "event_data")
		content.Done()
	}
	o.Done()
	return r, o.Err()
}

func parseAlg(o *strictjson.Object) eventlog.Alg {
	name := o.String("hashAlg")
	if number, ok := strings.CutPrefix(name, "0x"); ok {
		if n, err := strconv.ParseUint(number, 16, 16); err == nil {
			return eventlog.Alg(n)
		}
	}
	alg, err := eventlog.ParseAlg(name)
	if err != nil && name != "" {
		o.Problem("hashAlg", "is no algorithm, write sha256 or the like")
	}
	return alg
}

// parseType reads a name or a number.
func parseType(o *strictjson.Object) eventlog.EventType {
	if !o.IsText("event_type") {
		return eventlog.EventType(o.Int("event_type", math.MaxUint32)) //nolint:gosec // at most that
	}
	name := o.String("event_type")
	t, err := eventlog.ParseEventType(name)
	if err != nil || !strings.HasPrefix(name, "EV_") {
		o.Problem("event_type", "is no name of TCG's, write EV_SEPARATOR or the like, or a number")
	}
	return t
}

func unhex(o *strictjson.Object, key string) []byte {
	if !o.Has(key) {
		o.Problem(key, "missing, write hexadecimal digits")
	}
	b, err := hex.DecodeString(o.OptionalString(key))
	if err != nil {
		o.Problem(key, "is not hexadecimal")
	}
	return b
}
