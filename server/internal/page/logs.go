package page

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/trustpool/trustpool/server/internal/store"
)

// number reads a number from an address; what is none is 0.
func numberFrom(r *http.Request, key string) int64 {
	n, err := strconv.ParseInt(r.URL.Query().Get(key), 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// alarmsPage is a page of alarms, the oldest first.
type alarmsPage struct {
	current
	// All: those too that somebody acknowledged.
	All    bool
	Alarms []store.Alarm
	Next   int64
}

func (p *Page) alarms(r *http.Request, now time.Time) (view, error) {
	body := alarmsPage{current: current{at: now}, All: r.URL.Query().Get("all") != ""}
	var err error
	if body.Alarms, err = p.config.Store.Alarms(r.Context(), !body.All, numberFrom(r, "after"), pageSize+1); err != nil {
		return view{}, err
	}
	if len(body.Alarms) > pageSize {
		body.Alarms = body.Alarms[:pageSize]
		body.Next = body.Alarms[pageSize-1].ID
	}
	return view{Template: "alarms", Title: "Alarms", Section: "alarms", Body: body}, nil
}

// logPage is a page of the admin log, the newest first.
type logPage struct {
	current
	Entries []logEntry
	// Older and Newer are where the pages beside it end; 0 if there is none.
	Older, Newer int64
}

// logEntry has its detail in lines.
type logEntry struct {
	store.AdminEntry
	Lines string
}

// maxDetail bounds what is shown of an entry; a set's values may be long.
const maxDetail = 4096

func (p *Page) adminLog(r *http.Request, now time.Time) (view, error) {
	last, err := p.config.Store.LastAdminEntry(r.Context())
	if err != nil {
		return view{}, err
	}
	end := last
	if asked := numberFrom(r, "until"); asked > 0 {
		end = min(asked, last)
	}
	from := max(end-pageSize, 0)
	entries, err := p.config.Store.AdminLog(r.Context(), from, int(end-from))
	if err != nil {
		return view{}, err
	}
	body := logPage{current: current{at: now}, Older: from}
	if end < last {
		body.Newer = min(end+pageSize, last)
	}
	slices.Reverse(entries)
	for _, e := range entries {
		body.Entries = append(body.Entries, logEntry{e, indented(e.Detail)})
	}
	return view{Template: "log", Title: "Admin log", Section: "log", Body: body}, nil
}

// indented is JSON in lines, up to a bound.
func indented(raw json.RawMessage) string {
	var out bytes.Buffer
	if err := json.Indent(&out, raw, "", "  "); err != nil || out.String() == "null" {
		return ""
	}
	if out.Len() > maxDetail {
		return out.String()[:maxDetail] + "\n… cut; trustpoolctl admin-log --json has all of it"
	}
	return out.String()
}
