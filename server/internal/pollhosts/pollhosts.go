package pollhosts

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/trustpool/trustpool/server/internal/store"
	"github.com/trustpool/trustpool/server/internal/trust"
)

// Paths are those at which OpenAttestation answered: until 1.4, and since 1.5.
func Paths() []string {
	return []string{"/OpenAttestationWebServices/V1.0/PollHosts", "/AttestationService/resources/PollHosts"}
}

// DefaultFilterCache is how long Nova's filter keeps an answer after its vtime (CACHE_VALID_TIME in trusted_filter.py).
const DefaultFilterCache = 60 * time.Second

// Config is what the answers are made from.
type Config struct {
	Store *store.Store
	// FilterCache is how long a filter keeps an answer after its vtime. The vtime is set back by so much before the end of a verdict, so that no filter trusts a host for longer than the
	// verdict lasts.
	FilterCache time.Duration
	Logger      *slog.Logger
}

// Handler answers POST at each of Paths. Callers have to be known already: it goes behind access.Door.Protect. Its answer to whoever asks rightly is always 200 with an entry for each name, in
// the order and with the bytes in which they were asked for, all of them unknown if the database does not answer; all else that can go wrong is another status with a JSON body, upon which the filter trusts nobody.
func Handler(config Config) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := config.answer(w, r, time.Now())
		if err != nil {
			config.refuse(w, r, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.Header().Set("Cache-Control", "no-store")
		_, _ = w.Write(body) // #nosec G705 -- JSON, and the content type says so; a caller that hung up can't be told
	})
}

// Away answers while the database does not: all hosts are unknown, whoever asks.
func Away(logger *slog.Logger) http.Handler { return Handler(Config{Logger: logger}) }

func (c *Config) answer(w http.ResponseWriter, r *http.Request, now time.Time) ([]byte, error) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return nil, &requestError{http.StatusMethodNotAllowed, "PollHosts is asked by POST"}
	}
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, &requestError{http.StatusRequestEntityTooLarge, fmt.Sprintf("the body has more than %d bytes, ask in several requests", tooLarge.Limit)}
	}
	if err != nil {
		return nil, &requestError{http.StatusBadRequest, "the body ended early, send it whole"}
	}
	asked, err := parse(raw)
	if err != nil {
		return nil, err
	}

	names := make([]string, len(asked.hosts))
	for i, h := range asked.hosts {
		names[i] = h.name
	}
	found, err := c.lookup(r, names, now)
	if err != nil {
		c.Logger.Error("the database does not answer: PollHosts is told that all hosts are unknown", "path", r.URL.Path, "error", err)
		return response(nobody(asked.hosts, now)), nil
	}
	entries := make([]entry, len(found))
	for i, host := range found {
		entries[i] = entry{asked.hosts[i].raw, asked.level(host.Verdict, now), c.vtime(host.Verdict, now)}
	}
	return response(entries), nil
}

// errAway is why nobody is looked up by Away.
var errAway = errors.New("tokens can't be looked up")

// lookup asks the store, if there is one.
func (c *Config) lookup(r *http.Request, names []string, now time.Time) ([]store.Host, error) {
	if c.Store == nil {
		return nil, errAway
	}
	return c.Store.Lookup(r.Context(), names, now)
}

// nobody are entries that say unknown, as of now.
func nobody(hosts []askedHost, now time.Time) []entry {
	entries := make([]entry, len(hosts))
	for i, host := range hosts {
		entries[i] = entry{host.raw, trust.Unknown, now}
	}
	return entries
}

// level is what the filter compares with a flavor's trust:trusted_host. A verdict older than the caller wants is unknown.
func (q *request) level(v trust.Verdict, now time.Time) trust.Level {
	if q.threshold != nil && now.Sub(v.QuotedAt) > *q.threshold {
		return trust.Unknown
	}
	return v.Level
}

// vtime is from when on the filter counts its cache time: now, or earlier if the host is trusted and its verdict ends before that time is over. Of other hosts an early vtime would only
// have the filter ask about all hosts again for each of them.
func (c *Config) vtime(v trust.Verdict, now time.Time) time.Time {
	if latest := v.ExpiresAt.Add(-c.FilterCache); v.Level == trust.Trusted && latest.Before(now) {
		return latest
	}
	return now
}

// requestError is what is wrong with a request.
type requestError struct {
	status int
	text   string
}

func (e *requestError) Error() string { return e.text }

func (c *Config) refuse(w http.ResponseWriter, r *http.Request, err error) {
	wrong, ok := errors.AsType[*requestError](err)
	if !ok {
		c.Logger.Error("PollHosts can't be answered, so that the filter trusts nobody", "path", r.URL.Path, "error", err)
		wrong = &requestError{http.StatusServiceUnavailable, "the server can't look hosts up now, try again in a moment; its log says why"}
	}
	body := fmt.Sprintf(`{"title":%q,"status":%d,"detail":%q}`+"\n", http.StatusText(wrong.status), wrong.status, wrong.text)
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(wrong.status)
	_, _ = w.Write([]byte(body))
}
