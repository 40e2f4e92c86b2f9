package publish

import (
	"errors"
	"fmt"
	"maps"
	"slices"

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
	// Unmarked are the hosts that are to bear no mark, sorted by name. Only Once tells of them.
	Unmarked []Unmarked `json:"unmarked,omitzero"`
	// Unread: the sink could not be read. What there is of hosts and changes is by what was read of it before, if anything was.
	Unread bool `json:"unread,omitempty"`

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

// Unmarked is a host that is to bear no mark. If it is trusted, no mark stands for its pool.
type Unmarked struct {
	// Host is the sink's name of the host, Node and Pool the attestation server's; empty if it knows none.
	Host string `json:"host"`
	Node string `json:"node,omitempty"`
	Pool string `json:"pool,omitempty"`
	// Trust is what the host is taken for, and Reason says in a word why.
	Trust  api.Trust `json:"trust"`
	Reason string    `json:"reason"`
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

// after returns what two tries to withdraw have done, of which this was the later one: of each host the last that was done to it.
func (r Report) after(earlier Report) Report {
	if r.Unread {
		r.Hosts = earlier.Hosts
	}
	kept := slices.DeleteFunc(earlier.Changes, func(c Change) bool {
		failedOnce := c.Error != "" && !r.Unread // and the later one found nothing to take from it
		return failedOnce || slices.ContainsFunc(r.Changes, func(later Change) bool { return later.Host == c.Host })
	})
	r.Changes = append(kept, r.Changes...)
	return r
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
		Host: c.name, Trust: c.trust, Reason: c.to.Reason, MarksBefore: []string{}, Marks: []string{}, BarBefore: c.from.Bar.String(), Bar: c.to.Bar.String(),
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

// unmarked are the hosts that are to bear no mark.
func (p *Publisher) unmarked() []Unmarked {
	now, all := p.clock(), []Unmarked{}
	for _, name := range slices.Sorted(maps.Keys(p.hosts)) {
		h := p.hosts[name]
		t := h.trust(now, p.config.MaxAge)
		want := p.config.want(h, t)
		if len(want.Marks) > 0 {
			continue
		}
		u := Unmarked{Host: name, Trust: t, Reason: want.Reason}
		if h.answer != nil {
			u.Node, u.Pool = h.answer.Node, h.answer.Pool
		}
		all = append(all, u)
	}
	return all
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
