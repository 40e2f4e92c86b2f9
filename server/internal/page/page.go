package page

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/trustpool/trustpool/server/internal/access"
	"github.com/trustpool/trustpool/server/internal/knowngood"
	"github.com/trustpool/trustpool/server/internal/store"
)

// Root is where the page begins.
const Root = "/page/"

// Config is what the page works with.
type Config struct {
	Store *store.Store
	// Door lets callers in. Its SignIn is that of this package.
	Door *access.Door
	// Tools make dry runs. They are those of the API: one dry run works at a time.
	Tools  *knowngood.Tools
	Logger *slog.Logger
}

// Page answers browsers. Make one with New.
type Page struct {
	config  Config
	look    *look
	mux     *http.ServeMux
	closed  http.Handler // the mux, behind the Door
	guesses *guesses
	// judging bounds how many are having evidence judged again.
	judging chan struct{}
}

// maxJudging is how many at a time: it is work that a reader of the page could have done without end.
const maxJudging = 2

// New returns the page.
func New(config Config) (*Page, error) {
	if config.Store == nil || config.Door == nil || config.Tools == nil || config.Logger == nil {
		return nil, errors.New("making the page: its configuration is not whole")
	}
	look, err := newLook()
	if err != nil {
		return nil, fmt.Errorf("making the page: %w", err)
	}
	p := &Page{config: config, look: look, mux: http.NewServeMux(), guesses: newGuesses(), judging: make(chan struct{}, maxJudging)}
	p.mux.Handle("GET /{$}", http.RedirectHandler(Root, http.StatusSeeOther))
	p.route("GET /page/{$}", access.Reader, p.overview)
	p.route("GET /page/nodes", access.Reader, p.nodes)
	p.route("GET /page/nodes/{name}", access.Reader, p.node)
	p.route("GET /page/pools/{name}", access.Reader, p.pool)
	p.route("GET /page/sets", access.Reader, p.sets)
	p.route("GET /page/sets/{name}", access.Reader, p.set)
	p.route("POST /page/sets/{name}/effect", access.Operator, p.effect)
	p.route("GET /page/alarms", access.Reader, p.alarms)
	p.route("GET /page/log", access.Admin, p.adminLog)
	p.mux.HandleFunc("POST /page/sign-out", p.signOut)
	p.mux.HandleFunc("/", p.lost)
	p.closed = config.Door.ProtectElse(p.mux, http.HandlerFunc(p.away))
	return p, nil
}

// Takes tells whether the page answers for a path.
func (p *Page) Takes(path string) bool {
	return path == "/" || path == strings.TrimSuffix(Root, "/") || strings.HasPrefix(path, Root)
}

// ServeHTTP implements http.Handler. Strangers get through to the files that the form for signing in needs, and to where it is sent.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if file, ours := p.look.files[r.URL.Path]; ours && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		file.serve(w)
		return
	}
	if r.URL.Path == signInPath && r.Method == http.MethodPost {
		p.signIn(w, r)
		return
	}
	p.closed.ServeHTTP(w, r)
}

// view is what a route shows.
type view struct {
	// Template is its name, Title what the window is called, Section where it belongs.
	Template, Title, Section string
	// Live is whose changes have the page loaded anew: that node's, or all if it is *. Empty: it stays as it is.
	Live string
	Body any
}

// route makes a route for callers of a role and those above it.
func (p *Page) route(pattern string, role access.Role, show func(*http.Request, time.Time) (view, error)) {
	p.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		if access.From(r.Context()).Role < role {
			p.refuse(w, r, http.StatusForbidden, "This takes the role "+role.String()+".")
			return
		}
		now := time.Now()
		v, err := show(r, now)
		var to *redirect
		switch {
		case errors.As(err, &to):
			http.Redirect(w, r, to.path, http.StatusSeeOther)
		case err != nil:
			p.fail(w, r, err)
		default:
			p.show(w, r, http.StatusOK, v, now)
		}
	})
}

// redirect sends the browser elsewhere.
type redirect struct{ path string }

// Error implements error.
func (r *redirect) Error() string { return "see " + r.path }

// lost answers for paths that there are not.
func (p *Page) lost(w http.ResponseWriter, r *http.Request) {
	p.refuse(w, r, http.StatusNotFound, "There is no such page.")
}

// fail answers by what an error means to a caller. What is none of the store's own is for the log.
func (p *Page) fail(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, store.ErrNotFound):
		p.refuse(w, r, http.StatusNotFound, "There is none of this name.")
	case errors.Is(err, store.ErrConflict), errors.Is(err, store.ErrInvalid):
		p.refuse(w, r, http.StatusConflict, sentence(err))
	case errors.Is(err, store.ErrUnavailable):
		p.config.Logger.Error("the database does not answer", "path", r.URL.Path, "error", err)
		w.Header().Set("Retry-After", "1")
		p.refuse(w, r, http.StatusServiceUnavailable, isAway)
	default:
		if r.Context().Err() == nil { // somebody is still there
			p.config.Logger.Error("a page can't be shown", "path", r.URL.Path, "error", err)
		}
		p.refuse(w, r, http.StatusInternalServerError, "Something failed in the server; its log says what.")
	}
}

// refuse shows why there is nothing to see.
func (p *Page) refuse(w http.ResponseWriter, r *http.Request, status int, why string) {
	p.show(w, r, status, view{Template: "refusal", Title: http.StatusText(status), Body: why}, time.Now())
}

// sentence is an error's text on one line.
func sentence(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
