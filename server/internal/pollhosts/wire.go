package pollhosts

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/trustpool/trustpool/server/internal/trust"
)

// Bounds of a request. A filter asks for all hosts of its cloud at once.
const (
	maxBody  = 1 << 20
	maxHosts = 10_000
)

// request is what is asked.
type request struct {
	hosts []askedHost
	// threshold is how old a verdict may be; nil: as old as the server lets it be.
	threshold *time.Duration
}

// askedHost is a name, and the JSON in which it was written: the filter compares what it gets back with what it has, and the same text can be written in several ways.
type askedHost struct {
	raw  json.RawMessage
	name string
}

// parse reads a request. count, pcrmask and whatever else clients send are of no use here.
func parse(raw []byte) (request, error) {
	var q request
	if !utf8.Valid(raw) {
		return q, wrong("the body is not UTF-8, write JSON (RFC 8259)")
	}
	var body struct {
		Hosts     json.RawMessage `json:"hosts"`
		Threshold *int64          `json:"timeThreshold"`
	}
	if err := json.Unmarshal(raw, &body); err != nil {
		return q, wrong(`the body is no JSON of the form {"count": 1, "hosts": ["node1"]}`)
	}
	if body.Threshold != nil {
		age := time.Duration(min(max(*body.Threshold, 0), maxThreshold)) * time.Millisecond
		q.threshold = &age
	}

	var list []json.RawMessage
	switch first := bytes.TrimSpace(body.Hosts); {
	case len(first) == 0 || first[0] != '"' && first[0] != '[':
		return q, wrong("hosts is missing, write a list of names")
	case first[0] == '"': // Folsom's filter asks for one host at a time
		list = []json.RawMessage{first}
	default:
		if err := json.Unmarshal(first, &list); err != nil {
			return q, wrong("hosts is no list of names")
		}
	}
	if len(list) > maxHosts {
		return q, wrong(fmt.Sprintf("hosts has %d names, ask for at most %d at a time", len(list), maxHosts))
	}

	q.hosts = make([]askedHost, len(list))
	for i, one := range list {
		q.hosts[i].raw = one
		if len(one) == 0 || one[0] != '"' || json.Unmarshal(one, &q.hosts[i].name) != nil {
			return q, wrong("hosts[" + strconv.Itoa(i) + "] is no name, write it as a string")
		}
	}
	return q, nil
}

// maxThreshold is a year, in milliseconds: longer than any verdict lasts.
const maxThreshold = 365 * 24 * 3600 * 1000

func wrong(text string) error { return &requestError{http.StatusBadRequest, text} }

// entry is the answer for one name.
type entry struct {
	name  json.RawMessage
	level trust.Level
	vtime time.Time
}

// response writes the body. It is written by hand since a name has to leave as it came, letter by letter.
func response(entries []entry) []byte {
	body := make([]byte, 0, 16+112*len(entries))
	body = append(body, `{"hosts":[`...)
	for i, e := range entries {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(append(body, `{"host_name":`...), e.name...)
		body = append(append(body, `,"trust_lvl":"`...), e.level.String()...)
		body = append(body, `","vtime":"`...)
		body = e.vtime.UTC().AppendFormat(body, "2006-01-02T15:04:05Z") // seconds, cut: never later than it is
		body = append(body, `"}`...)
	}
	return append(body, `]}`...)
}
