package page

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/trustpool/trustpool/server/internal/access"
)

//go:embed templates static
var content embed.FS

// look is what all pages have in common: templates, and the files that they name.
type look struct {
	pages map[string]*template.Template
	// files are by path. Each path has the digest of its content in it, so that a browser may keep it for ever.
	files  map[string]file
	byName map[string]string
}

// file is one that is served as it is.
type file struct {
	kind string
	raw  []byte
}

func (f file) serve(w http.ResponseWriter) {
	h := w.Header()
	secure(h)
	h.Set("Content-Type", f.kind)
	h.Set("Content-Length", strconv.Itoa(len(f.raw)))
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	_, _ = w.Write(f.raw)
}

// layouts are the templates around the others.
func layouts() []string { return []string{"templates/layout.html", "templates/parts.html"} }

func newLook() (*look, error) {
	l := &look{pages: make(map[string]*template.Template), files: make(map[string]file), byName: make(map[string]string)}
	static, err := content.ReadDir("static")
	if err != nil {
		return nil, err
	}
	for _, entry := range static {
		raw, err := content.ReadFile("static/" + entry.Name())
		if err != nil {
			return nil, err
		}
		digest := sha256.Sum256(raw)
		ext := path.Ext(entry.Name())
		at := Root + "static/" + strings.TrimSuffix(entry.Name(), ext) + "-" + hex.EncodeToString(digest[:8]) + ext
		l.files[at], l.byName[entry.Name()] = file{kind: mime.TypeByExtension(ext), raw: raw}, at
	}

	templates, err := content.ReadDir("templates")
	if err != nil {
		return nil, err
	}
	for _, entry := range templates {
		name := strings.TrimSuffix(entry.Name(), ".html")
		begin := "layout.html"
		if name == "signin" { // it stands alone
			begin = entry.Name()
		}
		t, err := template.New(begin).Funcs(l.funcs()).ParseFS(content, append(layouts(), "templates/"+entry.Name())...)
		if err != nil {
			return nil, err
		}
		l.pages[name] = t.Option("missingkey=error")
	}
	return l, nil
}

// secure sets what holds for all answers: nothing inline, nothing from elsewhere, in nobody's frame.
func secure(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
}

// frame is what the layout shows around a view.
type frame struct {
	view
	Caller  access.Caller
	Session bool
	Now     time.Time
	// Generation is that of the last change that can be in what is shown.
	Generation int64
	// Alarms is how many are open, up to a bound.
	Alarms int
}

// show answers with a page, or with an error if it can't be made.
func (p *Page) show(w http.ResponseWriter, r *http.Request, status int, v view, now time.Time) {
	f := frame{view: v, Caller: access.From(r.Context()), Session: access.IsSession(r.Context()), Now: now}
	if b, ok := v.Body.(interface{ shownAt() (int64, time.Time) }); ok {
		f.Generation, f.Now = b.shownAt()
	}
	if status < http.StatusInternalServerError { // else the database may be away, and it would be waited for once more
		alarms, err := p.config.Store.Alarms(r.Context(), true, 0, maxAlarms)
		if err != nil && status == http.StatusOK {
			p.fail(w, r, err)
			return
		}
		f.Alarms = len(alarms)
	}
	raw, err := p.look.render(v.Template, f)
	if err != nil {
		p.config.Logger.Error("a page can't be written", "path", r.URL.Path, "error", err)
		secure(w.Header())
		http.Error(w, "Something failed in the server; its log says what.", http.StatusInternalServerError)
		return
	}
	send(w, status, raw)
}

// send answers with a page that nobody may keep.
func send(w http.ResponseWriter, status int, raw []byte) {
	h := w.Header()
	secure(h)
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(raw)))
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(raw)
}

// render writes a page.
func (l *look) render(name string, data any) ([]byte, error) {
	t, there := l.pages[name]
	if !there {
		return nil, fmt.Errorf("there is no template %s", name)
	}
	var out bytes.Buffer
	if err := t.Execute(&out, data); err != nil {
		return nil, err
	}
	return printable(out.Bytes()), nil
}

// printable writes characters as their numbers that do not print or that change the order of others, such as U+202E: templates have none, so they come from somebody.
func printable(html []byte) []byte {
	isOdd := func(r rune) bool { return r != '\n' && r != '\t' && !unicode.IsPrint(r) }
	if bytes.IndexFunc(html, isOdd) < 0 {
		return html
	}
	var out bytes.Buffer
	for _, r := range string(html) {
		if isOdd(r) {
			fmt.Fprintf(&out, `\u{%x}`, r)
		} else {
			out.WriteRune(r)
		}
	}
	return out.Bytes()
}
