package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"time"

	"github.com/trustpool/trustpool/server/internal/store"
)

const (
	// sessionCookie is kept by browsers only if it came over TLS, from this host, for all of its paths (RFC 6265bis, 4.1.3.2).
	sessionCookie = "__Host-trustpool"
	// sessionTime is how long a browser stays signed in.
	sessionTime = 12 * time.Hour
)

// SignIn starts a session for whoever shows a token that counts, and returns its cookie. The session is in the database, so that every server there takes it, and is known by the SHA-256 of the cookie.
// A token that is removed, or ends, takes its sessions along. store.ErrUnavailable: the token could not be looked up, or the session not be kept.
func (d *Door) SignIn(ctx context.Context, token string, now time.Time) (*http.Cookie, error) {
	kept, err := d.tokenOf(ctx, token)
	if err != nil {
		return nil, err
	}
	if _, err := callerBy(kept, now); err != nil {
		return nil, err
	}
	secret := make([]byte, secretBytes)
	_, _ = rand.Read(secret) // never fails
	digest := sha256.Sum256(secret)
	err = d.config.Store.AddSession(ctx, store.Session{SHA256: digest[:], TokenID: kept.ID, EndsAt: now.Add(sessionTime)}, now)
	if err != nil && !errors.Is(err, store.ErrNotFound) { // which the token was in the last moment
		err = &storeError{err}
	}
	if err != nil {
		return nil, err
	}
	return cookie(base64.RawURLEncoding.EncodeToString(secret), 0), nil
}

// SignOut ends the session of a request, if there is one, at all servers that share the database, and returns the cookie that has the browser forget it.
func (d *Door) SignOut(r *http.Request) (*http.Cookie, error) {
	if digest, shown := shownSession(r); shown {
		if err := d.config.Store.RemoveSession(r.Context(), digest); err != nil {
			return nil, err
		}
	}
	return cookie("", -1), nil
}

// IsSession tells whether a request's caller is known by a session, and so can sign out.
func IsSession(ctx context.Context) bool {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c.session
}

// cookie is kept until the browser ends, if maxAge is 0, or is forgotten at once, if it is less.
func cookie(value string, maxAge int) *http.Cookie {
	return &http.Cookie{Name: sessionCookie, Value: value, Path: "/", MaxAge: maxAge, Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode}
}

// shownSession returns the digest of the session that a request shows.
func shownSession(r *http.Request) (digest []byte, shown bool) {
	shownCookie, err := r.Cookie(sessionCookie)
	if err != nil {
		return nil, false
	}
	secret, err := base64.RawURLEncoding.Strict().DecodeString(shownCookie.Value)
	if err != nil || len(secret) != secretBytes {
		return nil, false
	}
	sum := sha256.Sum256(secret)
	return sum[:], true
}

// bySession looks for a session and its token: either may have ended since.
func (d *Door) bySession(ctx context.Context, digest []byte, now time.Time) (Caller, error) {
	kept, err := d.config.Store.SessionToken(ctx, digest, now)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return Caller{}, &storeError{err}
	}
	if err != nil {
		return Caller{}, err
	}
	caller, err := callerBy(kept, now)
	caller.session = true
	return caller, err
}
