package page_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/trustpool/trustpool/server/internal/access"
)

// routes says who may see what, once more and by hand.
func routes() map[string]access.Role {
	return map[string]access.Role{
		"GET /page/":                      access.Reader,
		"GET /page/nodes":                 access.Reader,
		"GET /page/nodes?trust=untrusted": access.Reader,
		"GET /page/nodes/good.example":    access.Reader,
		"GET /page/nodes/bad.example":     access.Reader,
		"GET /page/nodes/silent.example":  access.Reader,
		"GET /page/pools/pool":            access.Reader,
		"GET /page/sets":                  access.Reader,
		"GET /page/sets/xen":              access.Reader,
		"GET /page/sets/draft":            access.Reader,
		"POST /page/sets/draft/effect":    access.Operator,
		"POST /page/sets/xen/effect":      access.Operator,
		"GET /page/alarms":                access.Reader,
		"GET /page/alarms?all=1":          access.Reader,
		"GET /page/log":                   access.Admin,
	}
}

func TestEachPageShowsItselfToItsRoleAndThoseAbove(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for route, smallest := range routes() {
		method, path, _ := strings.Cut(route, " ")
		for _, role := range access.Roles() {
			a := s.ask(t, s.tokens[role], method, path, "")
			want := http.StatusOK
			if role < smallest {
				want = http.StatusForbidden
			}
			if a.status != want || !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") {
				t.Errorf("%s as %s: %d %s %s", route, role, a.status, a.header.Get("Content-Type"), a.text())
			}
			if want == http.StatusOK && !strings.HasSuffix(strings.TrimSpace(a.body), "</html>") {
				t.Errorf("%s as %s ends in the middle: %s", route, role, a.body[max(0, len(a.body)-200):])
			}
		}
	}
}

func TestNothingIsInlineAndNothingIsFromElsewhere(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	inline := regexp.MustCompile(`(?i)\sstyle=|\son[a-z]+=|<style|<script(?:>|\s[^>]*>[^<])|javascript:|https?://`)
	for route := range routes() {
		method, path, _ := strings.Cut(route, " ")
		a := s.ask(t, s.tokens[access.Admin], method, path, "")
		if found := inline.FindString(a.body); found != "" {
			t.Errorf("%s has %q", route, found)
		}
		csp := a.header.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"} {
			if !strings.Contains(csp, want) || strings.Contains(csp, "unsafe") {
				t.Errorf("%s: Content-Security-Policy: %s", route, csp)
			}
		}
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Referrer-Policy": "same-origin", "X-Frame-Options": "DENY", "Cross-Origin-Opener-Policy": "same-origin",
		} {
			if got := a.header.Get(name); got != want {
				t.Errorf("%s: %s: %q, want %q", route, name, got, want)
			}
		}
	}
}

func TestTheOverviewSaysWhatFailsAndWhy(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a := s.see(t, access.Reader, "/page/")
	for _, want := range []string{
		"2 of 3 nodes are not trusted", "1 untrusted; 1 unknown, since no verdict is in force", "bad.example booted something that is not known good", "PCR 17, event", "expected sha256",
		"silent.example has not given a quote", "The set draft waits for approval",
	} {
		if !strings.Contains(a.text(), want) {
			t.Errorf("the overview does not say %q: %s", want, a.text())
		}
	}
	if !strings.Contains(a.body, `href="/page/nodes/bad.example"`) {
		t.Error("the failing node is not one click away")
	}
}
