package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net/http"
	"sync"
	"time"
)

const (
	// sessionCookie is kept by browsers only if it came over TLS, from this host, for all of its paths (RFC 6265bis, 4.1.3.2).
	sessionCookie = "__Host-trustpool"
	// sessionTime is how long a browser stays signed in.
	sessionTime = 12 * time.Hour
	// maxSessions bounds how many there are; beyond it, the oldest ends.
	maxSessions = 4096
)

// session is a browser that showed a token.
type session struct {
	tokenID string
	digest  [sha256.Size]byte
	ends    time.Time
}

// sessions are in the memory of this process: a restart ends them, and of several servers each has its own. They are known by the SHA-256 of their cookie.
type sessions struct {
	mu  sync.Mutex
	all map[[sha256.Size]byte]session // guarded by mu
}

// SignIn starts a session for whoever shows a token that counts, and returns its cookie. A token that is removed, or ends, takes its sessions along.
// store.ErrUnavailable: it could not be looked up.
func (d *Door) SignIn(ctx context.Context, token string, now time.Time) (*http.Cookie, error) {
	id, digest, err := parseToken(token)
	if err != nil {
		return nil, err
	}
	if _, err := d.byDigest(ctx, id, digest, now); err != nil {
		return nil, err
	}
	secret := make([]byte, secretBytes)
	_, _ = rand.Read(secret) // never fails
	d.sessions.add(sha256.Sum256(secret), session{tokenID: id, digest: digest, ends: now.Add(sessionTime)}, now)
	return cookie(base64.RawURLEncoding.EncodeToString(secret), 0), nil
}

// SignOut ends the session of a request, if there is one, and returns the cookie that has the browser forget it.
func (d *Door) SignOut(r *http.Request) *http.Cookie {
	if key, shown := shownSession(r); shown {
		d.sessions.remove(key)
	}
	return cookie("", -1)
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

// shownSession returns the key of the session that a request shows.
func shownSession(r *http.Request) (key [sha256.Size]byte, shown bool) {
	shownCookie, err := r.Cookie(sessionCookie)
	if err != nil {
		return key, false
	}
	secret, err := base64.RawURLEncoding.Strict().DecodeString(shownCookie.Value)
	if err != nil || len(secret) != secretBytes {
		return key, false
	}
	return sha256.Sum256(secret), true
}

// errNoSession is that of a cookie that is worth nothing.
var errNoSession = errors.New("the session has ended")

// bySession looks the token of a session up again: it may have been removed since.
func (d *Door) bySession(ctx context.Context, key [sha256.Size]byte, now time.Time) (Caller, error) {
	s, there := d.sessions.get(key, now)
	if !there {
		return Caller{}, errNoSession
	}
	caller, err := d.byDigest(ctx, s.tokenID, s.digest, now)
	caller.session = true
	return caller, err
}

func (s *sessions) get(key [sha256.Size]byte, now time.Time) (session, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one, there := s.all[key]
	return one, there && now.Before(one.ends)
}

func (s *sessions) remove(key [sha256.Size]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, key)
}

// add makes room first: for those that have ended, and else for the one that ends next.
func (s *sessions) add(key [sha256.Size]byte, one session, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.all) >= maxSessions {
		var next [sha256.Size]byte
		for k, other := range s.all {
			if !now.Before(other.ends) {
				delete(s.all, k)
			} else if first, chosen := s.all[next]; !chosen || other.ends.Before(first.ends) {
				next = k
			}
		}
		if len(s.all) >= maxSessions {
			delete(s.all, next)
		}
	}
	if s.all == nil {
		s.all = make(map[[sha256.Size]byte]session)
	}
	s.all[key] = one
}

// sameDigest compares in constant time; of a token that there is not, the digest is empty.
func sameDigest(kept []byte, digest [sha256.Size]byte) bool {
	return subtle.ConstantTimeCompare(kept, digest[:]) == 1
}
