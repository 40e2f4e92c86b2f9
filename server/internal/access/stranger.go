package access

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// stranger answers somebody whom nobody knows. The answer depends on nothing that was asked, only on whether a browser asks for something to show; and the log has the reason.
func (d *Door) stranger(w http.ResponseWriter, r *http.Request, err error) {
	d.denials.Inc()
	if d.heard.Allow() {
		d.config.Logger.Warn("a stranger was turned away", "address", r.RemoteAddr, "error", err)
	}
	w.Header().Set("WWW-Authenticate", "Bearer")
	if d.config.SignIn != nil && wantsPage(r) {
		d.config.SignIn(w, r)
		return
	}
	refuse(w, http.StatusUnauthorized, "Send a token as Authorization: Bearer TOKEN, or show a client certificate that a rule of the server names.")
}

// wantsPage tells a browser that goes somewhere from a program.
func wantsPage(r *http.Request) bool {
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) && strings.Contains(r.Header.Get("Accept"), "text/html")
}

// refuse writes a problem (RFC 9457), and has the connection closed: what was sent with the request is not read.
func refuse(w http.ResponseWriter, status int, detail string) {
	body := fmt.Sprintf(`{"title":%q,"status":%d,"detail":%q}`+"\n", http.StatusText(status), status, detail)
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Connection", "close")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body))
}
