package main

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/server/pgtest"
)

// person has a browser of which only the session matters.
type person struct {
	t      *testing.T
	http   *http.Client
	cookie string
}

func (x *site) person(t *testing.T) *person {
	t.Helper()

	transport := &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: x.roots(), ServerName: "server.example"}}
	t.Cleanup(transport.CloseIdleConnections)
	return &person{t: t, http: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// sends asks a server, as a form of a site's page does, and takes the cookie that comes. It returns the status and the text, or 0 if nobody answers.
func (p *person) sends(at *site, site, method, path string, form url.Values) (int, string) {
	p.t.Helper()

	r, err := http.NewRequestWithContext(p.t.Context(), method, "https://"+at.address+path, strings.NewReader(form.Encode()))
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "text/html")
	r.Header.Set("Sec-Fetch-Site", site)
	if p.cookie != "" {
		r.Header.Set("Cookie", p.cookie)
	}
	return p.answer(r)
}

// answer is that to a request.
func (p *person) answer(r *http.Request) (int, string) {
	response, err := p.http.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = response.Body.Close() }() // read to its end
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err.Error()
	}
	if value, _, isSet := strings.Cut(response.Header.Get("Set-Cookie"), ";"); isSet {
		p.cookie = value
	}
	return response.StatusCode, string(raw)
}

// asks asks a server's API with the administrator's token.
func (p *person) asks(at *site, path string) (int, string) {
	p.t.Helper()

	r, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, "https://"+at.address+path, http.NoBody)
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+at.token)
	return p.answer(r)
}

// sees wants the page at a server, or the form for strangers.
func (p *person) sees(at *site, want int) {
	p.t.Helper()

	if status, text := p.sends(at, "none", http.MethodGet, "/page/nodes", nil); status != want {
		p.t.Errorf("at %s: %d, want %d: %.300s", at.address, status, want, text)
	}
}

func (p *person) signsIn(at *site, token string) {
	p.t.Helper()

	if status, text := p.sends(at, "same-origin", http.MethodPost, "/page/sign-in", url.Values{"token": {token}}); status != http.StatusSeeOther {
		p.t.Fatalf("signing in at %s: %d %.300s", at.address, status, text)
	}
}

// TestWhoSignedInAtOneReplicaIsKnownAtAll signs in at one of two servers, as behind a load balancer that sends each request to another one.
func TestWhoSignedInAtOneReplicaIsKnownAtAll(t *testing.T) {
	t.Parallel()

	one := newSite(t, 1, time.Hour, pgtest.Start(t).Database(t))
	two := one.replica(t)
	for _, x := range []*site{one, two} {
		x.start(t)
		x.waitUntil(t, "it answers", x.answers)
	}
	bob, err := one.client.AddToken(t.Context(), api.TokenSpec{Name: "bob", Role: "reader"})
	if err != nil {
		t.Fatal(err)
	}

	p := one.person(t)
	p.sees(two, http.StatusUnauthorized)
	p.signsIn(one, bob.Token)
	p.sees(one, http.StatusOK)
	p.sees(two, http.StatusOK)
	if status, _ := p.sends(two, "none", http.MethodGet, "/page/log", nil); status != http.StatusForbidden {
		t.Errorf("a reader sees the admin log at the other one: %d", status)
	}
	if status, _ := p.sends(two, "cross-site", http.MethodPost, "/page/sign-out", nil); status != http.StatusForbidden {
		t.Errorf("another site's page signs him out: %d", status)
	}

	// It outlives the server at which it began.
	one.kill()
	p.sees(two, http.StatusOK)
	one.start(t)
	one.waitUntil(t, "it answers again", one.answers)
	p.sees(one, http.StatusOK)

	// Signing out at one ends it at both, also for whoever kept the cookie.
	kept := p.cookie
	if status, text := p.sends(two, "same-origin", http.MethodPost, "/page/sign-out", nil); status != http.StatusSeeOther || p.cookie == kept {
		t.Errorf("signing out: %d %.300s", status, text)
	}
	p.cookie = kept
	p.sees(one, http.StatusUnauthorized)
	p.sees(two, http.StatusUnauthorized)

	// So does removing the token, at either.
	p.signsIn(two, bob.Token)
	p.sees(one, http.StatusOK)
	if err := two.client.RemoveToken(t.Context(), "bob"); err != nil {
		t.Fatal(err)
	}
	p.sees(one, http.StatusUnauthorized)
	p.sees(two, http.StatusUnauthorized)
}

// answers tells whether the server does.
func (x *site) answers(ctx context.Context) bool {
	_, err := x.client.Caller(ctx)
	return err == nil
}
