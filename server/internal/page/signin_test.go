package page_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/trustpool/trustpool/server/internal/access"
	"github.com/trustpool/trustpool/server/internal/store/storetest"
	"github.com/trustpool/trustpool/server/pgtest"
)

// browser are the headers of a browser that goes somewhere.
func browser() []string { return []string{"Accept", "text/html,application/xhtml+xml,*/*;q=0.8"} }

// signedIn returns the cookie of a session, as a header.
func (s *site) signedIn(t *testing.T, role access.Role) []string {
	t.Helper()
	a := s.ask(t, "", http.MethodPost, "/page/sign-in", "token="+url.QueryEscape(s.tokens[role]), "Sec-Fetch-Site", "same-origin")
	if a.status != http.StatusSeeOther || a.header.Get("Location") != "/page/" {
		t.Fatalf("signing in: %d %s", a.status, a.text())
	}
	value, _, _ := strings.Cut(a.header.Get("Set-Cookie"), ";")
	return append([]string{"Cookie", value}, browser()...)
}

func TestADatabaseThatIsAwayIsSaidSoAndNoWrongGuess(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Start(t)
	db := storetest.Open(t, cluster.Database(t))
	s := siteOf(t, db, db)
	shown := siteOf(t, storetest.New(t), storetest.Open(t, cluster.Database(t)))
	reader := shown.signedIn(t, access.Reader)
	cluster.Stop(t)

	away := func(what string, a answer) {
		t.Helper()
		if a.status != http.StatusServiceUnavailable || !strings.Contains(a.text(), "The database does not answer now.") || a.header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %s", what, a.status, a.text())
		}
	}
	token := "token=" + url.QueryEscape(s.tokens[access.Reader])
	for range 12 { // more than may guess wrong
		away("signing in", s.ask(t, "", http.MethodPost, "/page/sign-in", token, "Sec-Fetch-Site", "same-origin"))
	}
	away("a caller who can't be looked up", s.ask(t, s.tokens[access.Reader], http.MethodGet, "/page/", "", browser()...))
	for _, path := range []string{"/page/", "/page/nodes", "/page/alarms"} {
		away(path, shown.ask(t, "", http.MethodGet, path, "", reader...))
	}
	cluster.Up(t)
	if a := s.ask(t, "", http.MethodPost, "/page/sign-in", token, "Sec-Fetch-Site", "same-origin"); a.status != http.StatusSeeOther {
		t.Errorf("it is there again: %d %s", a.status, a.text())
	}
}

func TestAStrangerIsShownTheSameFormWhateverHeAsksFor(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	asked := []string{"/", "/page", "/page/", "/page/nothing", "/page/sign-in", "/page/sign-out", "/page/nodes/nobody.example", "/page/static/style.css", "/page/../page/", "//page/", "/page//nodes", "/page/log"}
	for route := range routes() {
		_, path, _ := strings.Cut(route, " ")
		asked = append(asked, path)
	}
	var first *answer
	for i, path := range asked {
		for _, header := range [][]string{nil, {"Cookie", "__Host-trustpool=" + strings.Repeat("A", 43)}, {"Authorization", "Bearer trustpool_0123456789abcdef_" + strings.Repeat("A", 43)}} {
			a := s.ask(t, "", http.MethodGet, path, "", append(header, browser()...)...)
			a.header.Del("Date")
			if first == nil {
				first = &a
			}
			if diff := cmp.Diff(*first, a, cmp.AllowUnexported(answer{})); diff != "" || a.status != http.StatusUnauthorized {
				t.Errorf("%d %s with %v: %d %s", i, path, header, a.status, diff)
			}
		}
	}
	for _, word := range []string{"good.example", "pool\"", "xen", "draft"} {
		if strings.Contains(first.body, word) {
			t.Errorf("strangers are told %s", first.body)
		}
	}
	if !strings.Contains(first.body, `action="/page/sign-in"`) || first.header.Get("Content-Security-Policy") == "" {
		t.Errorf("that is no form: %s", first.body)
	}
}

func TestAProgramWithoutATokenGetsNoForm(t *testing.T) {
	t.Parallel()
	s := emptySite(t)
	for _, one := range []string{"GET /page/", "POST /page/sets/xen/effect", "POST /page/sign-out", "PUT /page/"} {
		method, path, _ := strings.Cut(one, " ")
		a := s.ask(t, "", method, path, "", "Accept", "application/json")
		if a.status != http.StatusUnauthorized || a.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %s", one, a.status, a.header.Get("Content-Type"))
		}
	}
}

func TestASessionShowsWhatItsTokenMaySeeAndEndsWithIt(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	cookie := s.signedIn(t, access.Reader)
	if a := s.ask(t, "", http.MethodGet, "/page/", "", cookie...); a.status != http.StatusOK || !strings.Contains(a.text(), "token:the-reader Sign out") {
		t.Errorf("%d %s", a.status, a.text())
	}
	if a := s.ask(t, "", http.MethodGet, "/page/log", "", cookie...); a.status != http.StatusForbidden {
		t.Errorf("a reader sees the admin log: %d", a.status)
	}
	if err := s.Store.RemoveToken(t.Context(), act(), "the-reader"); err != nil {
		t.Fatal(err)
	}
	if a := s.ask(t, "", http.MethodGet, "/page/", "", cookie...); a.status != http.StatusUnauthorized {
		t.Errorf("after the token was removed: %d", a.status)
	}
}

func TestSigningOutEndsTheSessionAlsoForWhoeverKeptTheCookie(t *testing.T) {
	t.Parallel()
	s := emptySite(t)
	cookie := s.signedIn(t, access.Admin)
	a := s.ask(t, "", http.MethodPost, "/page/sign-out", "", append(cookie, "Sec-Fetch-Site", "same-origin")...)
	if a.status != http.StatusSeeOther || !strings.Contains(a.header.Get("Set-Cookie"), "Max-Age=0") {
		t.Errorf("%d %v", a.status, a.header)
	}
	if a := s.ask(t, "", http.MethodGet, "/page/", "", cookie...); a.status != http.StatusUnauthorized {
		t.Errorf("the cookie still counts: %d", a.status)
	}
}

func TestTheCookieIsForThisServerAloneAndNotForScripts(t *testing.T) {
	t.Parallel()
	s := emptySite(t)
	a := s.ask(t, "", http.MethodPost, "/page/sign-in", "token="+url.QueryEscape(s.tokens[access.Reader]))
	got := a.header.Get("Set-Cookie")
	if !regexp.MustCompile(`^__Host-trustpool=[A-Za-z0-9_-]{43}; Path=/; HttpOnly; Secure; SameSite=Strict$`).MatchString(got) {
		t.Errorf("Set-Cookie: %s", got)
	}
	if strings.Contains(got, s.tokens[access.Reader][27:]) {
		t.Error("the cookie has the token in it")
	}
}

func TestAnotherSitesPageCanDoNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	cookie := s.signedIn(t, access.Admin)
	for _, header := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}} {
		for _, path := range []string{"/page/sign-in", "/page/sign-out", "/page/sets/draft/effect"} {
			a := s.ask(t, "", http.MethodPost, path, "token="+url.QueryEscape(s.tokens[access.Admin]), append(header, cookie...)...)
			if a.status != http.StatusForbidden || a.header.Get("Set-Cookie") != "" {
				t.Errorf("%s with %v: %d %v", path, header, a.status, a.header)
			}
		}
	}
	if a := s.ask(t, "", http.MethodGet, "/page/", "", cookie...); a.status != http.StatusOK {
		t.Errorf("the session was ended: %d", a.status)
	}
}

func TestWhoSignsInComesBackToWhereHeWasAndNowhereElse(t *testing.T) {
	t.Parallel()
	s := emptySite(t)
	for referer, want := range map[string]string{
		s.URL + "/page/nodes?pool=a%20b&trust=unknown": "/page/nodes?pool=a%20b&trust=unknown",
		s.URL + "/page/sign-in":                        "/page/",
		s.URL + "/v1/hosts":                            "/page/",
		"https://evil.example/page/nodes":              "/page/",
		s.URL + "//evil.example/page/":                 "/page/",
		"javascript:alert(1)":                          "/page/",
		"":                                             "/page/",
	} {
		a := s.ask(t, "", http.MethodPost, "/page/sign-in", "token="+url.QueryEscape(s.tokens[access.Reader]), "Referer", referer)
		if got := a.header.Get("Location"); a.status != http.StatusSeeOther || got != want {
			t.Errorf("from %q: %d %q, want %q", referer, a.status, got, want)
		}
	}
}

func TestWhoeverGuessesIsStopped(t *testing.T) {
	t.Parallel()
	s := emptySite(t)
	statuses := make(map[int]int)
	for range 20 {
		statuses[s.ask(t, "", http.MethodPost, "/page/sign-in", "token=guess").status]++
	}
	if statuses[http.StatusUnauthorized] < 5 || statuses[http.StatusTooManyRequests] < 5 {
		t.Errorf("%v", statuses)
	}
	if a := s.ask(t, "", http.MethodPost, "/page/sign-in", "token="+url.QueryEscape(s.tokens[access.Admin])); a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") == "" {
		t.Errorf("%d %v", a.status, a.header)
	}
	if a := s.see(t, access.Admin, "/page/"); a.status != http.StatusOK {
		t.Errorf("others are stopped, too: %d", a.status)
	}
}

func TestASessionDoesNotOutliveItsToken(t *testing.T) {
	t.Parallel()
	s := emptySite(t)
	text, kept, err := access.NewToken("short", access.Reader, time.Now().Add(-time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Store.AddToken(t.Context(), act(), kept); err != nil {
		t.Fatal(err)
	}
	if a := s.ask(t, "", http.MethodPost, "/page/sign-in", "token="+url.QueryEscape(text)); a.status != http.StatusUnauthorized || a.header.Get("Set-Cookie") != "" {
		t.Errorf("%d %v", a.status, a.header)
	}
}

func TestFilesOfThePageAreKeptForEverAndHaveNothingOfACaller(t *testing.T) {
	t.Parallel()
	s := emptySite(t)
	form := s.ask(t, "", http.MethodGet, "/page/", "", browser()...)
	files := regexp.MustCompile(`/page/static/[a-z]+-[0-9a-f]{16}\.(?:css|js|svg)`).FindAllString(form.body+s.see(t, access.Reader, "/page/").body, -1)
	if len(files) < 5 {
		t.Fatalf("only %v", files)
	}
	for _, file := range files {
		a := s.ask(t, "", http.MethodGet, file, "")
		if a.status != http.StatusOK || a.header.Get("Cache-Control") != "public, max-age=31536000, immutable" || a.header.Get("X-Content-Type-Options") != "nosniff" || len(a.body) == 0 {
			t.Errorf("%s: %d %v", file, a.status, a.header)
		}
	}
}
