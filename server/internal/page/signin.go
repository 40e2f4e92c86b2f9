package page

import (
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/trustpool/trustpool/server/internal/store"
)

const signInPath = Root + "sign-in"

// maxForm bounds what is read of a form.
const maxForm = 4096

// SignIn returns the answer to strangers with a browser, for access.Config: a form that takes a token, always the same.
func SignIn() (http.HandlerFunc, error) {
	l, err := newLook()
	if err != nil {
		return nil, err
	}
	form, err := l.render("signin", "")
	if err != nil {
		return nil, err
	}
	return func(w http.ResponseWriter, _ *http.Request) { send(w, http.StatusUnauthorized, form) }, nil
}

// signIn takes a token, and gives a session for it.
func (p *Page) signIn(w http.ResponseWriter, r *http.Request) {
	if err := http.NewCrossOriginProtection().Check(r); err != nil {
		p.again(w, http.StatusForbidden, "That came from another site's page. Sign in here.")
		return
	}
	now := time.Now()
	if !p.guesses.may(r.RemoteAddr, now) {
		w.Header().Set("Retry-After", "60")
		p.again(w, http.StatusTooManyRequests, "Too many attempts failed. Try again in a minute.")
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	cookie, err := p.config.Door.SignIn(r.Context(), strings.TrimSpace(r.PostFormValue("token")), now)
	if errors.Is(err, store.ErrUnavailable) && r.Context().Err() == nil { // no wrong guess, or all who try while the database is away would be kept out afterwards
		p.config.Logger.Error("tokens can't be looked up, so that nobody can sign in", "error", err)
		p.away(w, r)
		return
	}
	if err != nil {
		p.guesses.failed(r.RemoteAddr, now)
		p.config.Logger.Warn("somebody did not sign in", "address", r.RemoteAddr, "error", err)
		p.again(w, http.StatusUnauthorized, "That is no token that counts here.")
		return
	}
	http.SetCookie(w, cookie)
	secure(w.Header())
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, back(r), http.StatusSeeOther)
}

// isAway is what is said while the database does not answer.
const isAway = "The database does not answer now. Try again in a moment."

// away answers whoever shows a token, or the session of one, while tokens can't be looked up. That may be a stranger.
func (p *Page) away(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Retry-After", "1")
	p.again(w, http.StatusServiceUnavailable, isAway)
}

// again shows the form with what was wrong.
func (p *Page) again(w http.ResponseWriter, status int, why string) {
	form, err := p.look.render("signin", why)
	if err != nil {
		p.config.Logger.Error("the form for signing in can't be written", "error", err)
	}
	send(w, status, form)
}

// back is the page on which the form was: a path of ours, whatever the browser says.
func back(r *http.Request) string {
	from, err := url.Parse(r.Referer())
	if err != nil || from.Host != r.Host || !strings.HasPrefix(from.Path, Root) || from.Path == signInPath {
		return Root
	}
	return (&url.URL{Path: from.Path, RawQuery: from.RawQuery}).String()
}

// signOut ends the session.
func (p *Page) signOut(w http.ResponseWriter, r *http.Request) {
	forgotten, err := p.config.Door.SignOut(r)
	if err != nil { // still signed in: the browser keeps its cookie, to try again
		p.fail(w, r, err)
		return
	}
	http.SetCookie(w, forgotten)
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, Root, http.StatusSeeOther)
}

const (
	// Of one network, so many attempts may fail at once, and one more every few seconds. Nobody guesses a token; this keeps the database and the log from being flooded.
	guessBurst = 10
	guessEvery = 6 * time.Second
	// maxGuessers bounds the networks that are remembered. Beyond it all are forgotten.
	maxGuessers = 4096
)

// guesses counts attempts to sign in that failed.
type guesses struct {
	mu  sync.Mutex
	all map[netip.Prefix]*rate.Limiter // guarded by mu
}

func newGuesses() *guesses { return &guesses{all: make(map[netip.Prefix]*rate.Limiter)} }

// may tells whether somebody at an address may try again.
func (g *guesses) may(address string, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	limit, there := g.all[networkOf(address)]
	return !there || limit.TokensAt(now) >= 1
}

func (g *guesses) failed(address string, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	network := networkOf(address)
	limit, there := g.all[network]
	if !there {
		if len(g.all) >= maxGuessers {
			clear(g.all)
		}
		limit = rate.NewLimiter(rate.Every(guessEvery), guessBurst)
		g.all[network] = limit
	}
	limit.AllowN(now, 1)
}

// networkOf is an IPv4 address or an IPv6 /64; all callers of a unix socket are one.
func networkOf(address string) netip.Prefix {
	port, err := netip.ParseAddrPort(address)
	if err != nil {
		return netip.Prefix{}
	}
	ip := port.Addr().Unmap()
	bits := ip.BitLen()
	if ip.Is6() {
		bits = 64
	}
	network, err := ip.WithZone("").Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return network
}
