package publish

import (
	"errors"
	"fmt"

	"github.com/trustpool/trustpool/server/api"
)

// Report is what one reconcile has done, or would have done.
type Report struct {
	// Hosts is how many hosts the sink knows.
	Hosts int `json:"hosts"`
	// DryRun: nothing was written.
	DryRun bool `json:"dry_run,omitempty"`
	// Changes are the hosts that differed from what they should be, those first that something is taken from.
	Changes []Change `json:"changes"`

	// behind counts the hosts that are not, or may not be, as they should be.
	behind int
	err    error
}

// Change is a host that differed from what it should be.
type Change struct {
	// Host is the sink's name of the host, Node the attestation server's; empty if it knows none.
	Host string `json:"host"`
	Node string `json:"node,omitempty"`
	// Trust is what the host is taken for, and Reason says in a word why.
	Trust  api.Trust `json:"trust"`
	Reason string    `json:"reason"`
	// MarksBefore and Marks are what it bore and should bear, BarBefore and Bar what it was and should be kept from: none, no_new_guests or no_guests.
	MarksBefore []string `json:"marks_before"`
	Marks       []string `json:"marks"`
	BarBefore   string   `json:"bar_before"`
	Bar         string   `json:"bar"`
	// Error says why it could not be written.
	Error string `json:"error,omitempty"`
}

func (r *Report) add(lists ...[]*change) {
	r.Changes = []Change{}
	for _, list := range lists {
		for _, c := range list {
			if c.skipped {
				r.behind++
				continue
			}
			r.Changes = append(r.Changes, c.tell())
		}
	}
	r.behind += r.failed()
}

// failed counts the writes that failed.
func (r *Report) failed() int {
	n := 0
	for _, c := range r.Changes {
		if c.Error != "" {
			n++
		}
	}
	return n
}

// firstError is the first error of a write; empty if there is none.
func (r *Report) firstError() string {
	for _, c := range r.Changes {
		if c.Error != "" {
			return c.Host + ": " + c.Error
		}
	}
	return ""
}

func (c *change) tell() Change {
	told := Change{
		Host: c.name, Trust: c.trust, Reason: c.host.reason(c.trust), MarksBefore: []string{}, Marks: []string{}, BarBefore: c.from.Bar.String(), Bar: c.to.Bar.String(),
	}
	told.MarksBefore = append(told.MarksBefore, c.from.Marks...)
	told.Marks = append(told.Marks, c.to.Marks...)
	if c.host.answer != nil {
		told.Node = c.host.answer.Node
	}
	if c.err != nil && !errors.Is(c.err, ErrNoHost) { // it needs no write any more
		told.Error = c.err.Error()
	}
	return told
}

// String is none, no_new_guests or no_guests.
func (b Bar) String() string {
	switch b {
	case NoBar:
		return "none"
	case NoNewGuests:
		return "no_new_guests"
	case NoGuests:
		return "no_guests"
	default:
		return fmt.Sprintf("bar %d", uint8(b))
	}
}

// tell tells systemctl status how the hosts fare, and the metrics.
func (p *Publisher) tell(counts map[api.Trust]int) {
	barred := make(map[Bar]int)
	failing := 0
	for _, h := range p.hosts {
		barred[h.shown.Bar]++
		if h.fails > 0 {
			failing++
		}
	}
	p.Metrics.hostsAre(counts, barred, failing)
	line := fmt.Sprintf("%d hosts: %d trusted, %d untrusted, %d unknown", len(p.hosts), counts[api.Trusted], counts[api.Untrusted], counts[api.Unknown])
	if failing > 0 {
		line += fmt.Sprintf("; %d could not be written", failing)
	}
	if _, down := p.wrong["server"]; down {
		line += "; the attestation server does not answer"
	}
	if _, down := p.wrong["sink"]; down {
		line += "; the sink can't be read"
	}
	if line != p.status && p.OnStatus != nil {
		p.OnStatus(line)
	}
	p.status = line
}
