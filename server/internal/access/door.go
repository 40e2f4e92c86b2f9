package access

import (
	"context"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/trustpool/trustpool/server/internal/store"
)

// Caller is somebody who was let in.
type Caller struct {
	// Name is what the admin log shows: token:NAME, or the name in the certificate that a rule has: dns:NAME, uri:URI, subject:NAME.
	Name string
	// Role is what the caller may do.
	Role Role
	// session: a browser's cookie told who it is.
	session bool
}

// Config says who is let in.
type Config struct {
	Store *store.Store
	// Rules are for client certificates.
	Rules []Rule
	// VerifyTLS says why the client of a connection may no longer come in: its certificate was revoked or has ended since the handshake. Nil: nobody's may be looked at again.
	VerifyTLS func(tls.ConnectionState) error
	// SignIn, if not nil, answers strangers whose browser wants to see a page: always by the same 401. Only then do sessions count.
	SignIn     http.HandlerFunc
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Door lets callers in.
type Door struct {
	config  Config
	rules   rules
	denials prometheus.Counter
	// heard bounds how many lines strangers make in the log.
	heard *rate.Limiter
	// sameOrigin refuses what a page of another origin has a browser do in the name of whoever uses it, by his certificate or his session.
	sameOrigin *http.CrossOriginProtection
}

// New returns a Door. Its error tells all that is wrong with the rules.
func New(config Config) (*Door, error) {
	compiled, problems := newRules(config.Rules)
	var errs []error
	for key, problem := range problems {
		errs = append(errs, fmt.Errorf("%s: %s", key, problem))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	d := &Door{config: config, rules: compiled, heard: rate.NewLimiter(1, 10), sameOrigin: http.NewCrossOriginProtection(), denials: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "trustpool_server_api_strangers_total",
		Help: "Requests with neither a token that counts nor a client certificate that a rule names.",
	})}
	config.Registerer.MustRegister(d.denials)
	return d, nil
}

// callerKey is where a context has its caller.
type callerKey struct{}

// From returns who is calling. Behind a Door there is always somebody.
func From(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}

// Protect lets only callers through to next, with themselves in the context. Strangers are all answered the same, whatever they ask for.
func (d *Door) Protect(next http.Handler) http.Handler {
	return d.ProtectElse(next, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusServiceUnavailable, "The server can't look tokens up now. Try again in a moment; its log says why.")
	}))
}

// ProtectElse is Protect, with away to answer whoever shows a token while tokens can't be looked up. That may be a stranger: it has to be told nothing.
func (d *Door) ProtectElse(next, away http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, err := d.caller(r, time.Now())
		if unavailable, ok := errors.AsType[*storeError](err); ok {
			d.config.Logger.Error("tokens can't be looked up, so that nobody can be let in by one", "error", unavailable.err)
			away.ServeHTTP(w, r)
			return
		}
		if err != nil || caller.Role == Nobody {
			d.stranger(w, r, err)
			return
		}
		if err := d.sameOrigin.Check(r); err != nil {
			refuse(w, http.StatusForbidden, "Another site's page had your browser send this.")
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, caller)))
	})
}

// storeError says that the database did not answer.
type storeError struct{ err error }

func (e *storeError) Error() string { return e.err.Error() }

// Unwrap gives store.ErrUnavailable, whatever it was: who shows a token can't be told from others for now.
func (e *storeError) Unwrap() []error { return []error{store.ErrUnavailable, e.err} }

// errStranger is that of a caller who shows nothing.
var errStranger = errors.New("no token and no client certificate that a rule names")

// caller finds out who is calling. A token goes before a session and that before a certificate: whoever shows one wants to be known by it. A session that has ended is like none.
func (d *Door) caller(r *http.Request, now time.Time) (Caller, error) {
	if text, shown := shownToken(r.Header); shown {
		return d.byToken(r.Context(), text, now)
	}
	if key, shown := shownSession(r); shown && d.config.SignIn != nil {
		caller, err := d.bySession(r.Context(), key, now)
		if _, unavailable := errors.AsType[*storeError](err); err == nil || unavailable {
			return caller, err
		}
	}
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return Caller{}, errStranger
	}
	if d.config.VerifyTLS != nil {
		if err := d.config.VerifyTLS(*r.TLS); err != nil {
			return Caller{}, fmt.Errorf("the client certificate does not count any more: %w", err)
		}
	}
	certificate := r.TLS.PeerCertificates[0]
	if now.After(certificate.NotAfter) {
		return Caller{}, errors.New("the client certificate has ended")
	}
	return d.rules.caller(certificate), nil
}

// shownToken returns the token of a request: that of RFC 6750, or the "auth blob" of OpenStack's TrustedFilter, whose header OpenAttestation called by another name.
func shownToken(h http.Header) (text string, shown bool) {
	if values := h.Values("Authorization"); len(values) > 0 {
		scheme, token, _ := strings.Cut(values[0], " ")
		if len(values) > 1 || !strings.EqualFold(scheme, "Bearer") {
			return "", true
		}
		return strings.TrimSpace(token), true
	}
	for _, name := range []string{"X-Auth-Blob", "Auth_blob"} {
		if values := h.Values(name); len(values) > 0 {
			return values[0], true
		}
	}
	return "", false
}

func (d *Door) byToken(ctx context.Context, text string, now time.Time) (Caller, error) {
	kept, err := d.tokenOf(ctx, text)
	if err != nil {
		return Caller{}, err
	}
	return callerBy(kept, now)
}

// tokenOf looks a token up by its text.
func (d *Door) tokenOf(ctx context.Context, text string) (store.Token, error) {
	id, digest, err := parseToken(text)
	if err != nil {
		return store.Token{}, err
	}
	kept, err := d.config.Store.TokenByID(ctx, id)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return store.Token{}, &storeError{err}
	}
	if subtle.ConstantTimeCompare(kept.SHA256, digest[:]) != 1 { // of a token that there is not, the digest is empty
		return store.Token{}, errors.New("the token is unknown, or was revoked")
	}
	return kept, nil
}

// callerBy is whoever has shown a token, if it counts at a time.
func callerBy(kept store.Token, now time.Time) (Caller, error) {
	if !kept.ExpiresAt.IsZero() && !now.Before(kept.ExpiresAt) {
		return Caller{}, fmt.Errorf("the token %s has expired", kept.Name)
	}
	role, err := ParseRole(kept.Role)
	if err != nil {
		return Caller{}, err
	}
	return Caller{Name: "token:" + kept.Name, Role: role}, nil
}
