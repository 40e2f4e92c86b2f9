package api_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/trustpool/trustpool/server/api"
)

// serve returns a client of a server that is nothing but this handler.
func serve(t *testing.T, handler http.HandlerFunc) *api.Client {
	t.Helper()
	s := httptest.NewTLSServer(handler)
	t.Cleanup(s.Close)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	c, err := api.NewClient(api.Config{URL: s.URL, Token: "secret", RootCAs: roots})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestATokenGoesNowhereWithoutTLS(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"http://server.example:8443", "server.example:8443", "https://", "https://user@server.example", "https://server.example/?a=b", "file:///etc/passwd"} {
		if _, err := api.NewClient(api.Config{URL: url}); err == nil {
			t.Errorf("%q was taken", url)
		}
	}
	if _, err := api.NewClient(api.Config{URL: "https://server.example", Token: "a\r\nHost: other"}); err == nil {
		t.Error("a token with a line end was taken")
	}
}

func TestATokenIsNotSentWhereAServerRedirectsTo(t *testing.T) {
	t.Parallel()
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/hosts/a" {
			t.Errorf("asked for %s", r.URL)
		}
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	})
	if _, err := c.Host(t.Context(), "a"); api.StatusOf(err) != http.StatusTemporaryRedirect {
		t.Error(err)
	}
}

func TestANameIsOneSegmentOfThePathWhateverItHas(t *testing.T) {
	t.Parallel()
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"host":%q,"trust":"unknown"}`, r.RequestURI)
	})
	h, err := c.Host(t.Context(), "../nodes?a=b#c/d")
	if err != nil || h.Host != "/v1/hosts/..%2Fnodes%3Fa=b%23c%2Fd" {
		t.Error(h.Host, err)
	}
}

func TestAProblemSaysWhatAndWhere(t *testing.T) {
	t.Parallel()
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Authorization"); got != "Bearer secret" {
			t.Errorf("Authorization: %s", got)
		}
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusUnprocessableEntity)
		fmt.Fprint(w, `{"title":"Unprocessable Entity","status":200,"detail":"it is wrong","errors":[{"location":"body.address","message":"no address","value":"x"}]}`)
	})
	_, err := c.AddNode(t.Context(), api.NodeSpec{})
	want := "the server answers 422 Unprocessable Entity: it is wrong; body.address: no address"
	if err == nil || err.Error() != want || api.StatusOf(err) != http.StatusUnprocessableEntity {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestWhatIsNoAnswerOfTheServerIsAProblemToo(t *testing.T) {
	t.Parallel()
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>", http.StatusBadGateway) })
	if _, err := c.Node(t.Context(), "a"); api.StatusOf(err) != http.StatusBadGateway || !strings.Contains(err.Error(), "look at the URL") {
		t.Error(err)
	}
}

func TestAListGoesThroughItsPagesAndStopsWhereTheCallerDoes(t *testing.T) {
	t.Parallel()
	asked := 0
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked++
		q := r.URL.Query()
		if q.Get("pool") != "gold" || q.Get("limit") == "" {
			t.Errorf("asked %s", r.URL)
		}
		switch q.Get("after") {
		case "":
			fmt.Fprint(w, `{"hosts":[{"host":"a"},{"host":"b"}],"next":"b"}`)
		case "b":
			fmt.Fprint(w, `{"hosts":[{"host":"c"}]}`)
		}
	})
	var names []string
	for h, err := range c.Hosts(t.Context(), api.HostFilter{Pool: "gold"}) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Host)
	}
	if diff := cmp.Diff([]string{"a", "b", "c"}, names); diff != "" || asked != 2 {
		t.Errorf("%d pages, %s", asked, diff)
	}
	for _, err := range c.Hosts(t.Context(), api.HostFilter{Pool: "gold"}) {
		if err != nil {
			t.Fatal(err)
		}
		break
	}
	if asked != 3 {
		t.Errorf("%d pages, want 3", asked)
	}
}

func TestARevisionBecomesAPrecondition(t *testing.T) {
	t.Parallel()
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"name":%q}`, r.Header.Get("If-Match")+" "+r.Header.Get("If-None-Match"))
	})
	for revision, want := range map[int64]string{0: " *", 7: `"7" `} {
		p, err := c.PutPool(t.Context(), "gold", api.PoolSpec{}, revision)
		if err != nil || p.Name != want {
			t.Errorf("%q, want %q: %v", p.Name, want, err)
		}
	}
	n, err := c.ReleaseNode(t.Context(), "a", 0)
	if err != nil || n.Name != " " {
		t.Errorf("%q: %v", n.Name, err)
	}
}

func TestEventsAreReadAndAStreamThatEndsIsAnError(t *testing.T) {
	t.Parallel()
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Last-Event-ID") != "4" {
			t.Errorf("Last-Event-ID: %q", r.Header.Get("Last-Event-ID"))
		}
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "event: ready\nid: 4\ndata: {\"generation\":4}\n\n: heartbeat\n\nevent: later\ndata: x\n\n"+
			"event: verdict\nid: 5\ndata: {\"node\":\"a\",\ndata: \"pool\":\"gold\",\"trust\":\"trusted\",\"generation\":5}\n\n")
	})
	var kinds []string
	var last error
	for e, err := range c.Events(t.Context(), 4) {
		if err != nil {
			last = err
			continue
		}
		kinds = append(kinds, fmt.Sprint(e.Kind, " ", e.Generation, " ", e.Change.Node, " ", e.Change.Trust))
	}
	if diff := cmp.Diff([]string{"ready 4  ", "verdict 5 a trusted"}, kinds); diff != "" || last == nil {
		t.Error(diff, last)
	}
}

func TestAnEventWithoutEndIsGivenUp(t *testing.T) {
	t.Parallel()
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "event: verdict\nid: 5\n"+strings.Repeat("data: "+strings.Repeat(" ", 1<<16)+"\n", 32))
	})
	told := 0
	for _, err := range c.Events(t.Context(), 4) {
		told++
		if err == nil || !strings.Contains(err.Error(), "one has more than 1048576 bytes") {
			t.Error(err)
		}
	}
	if told != 1 {
		t.Errorf("told %d times", told)
	}
}

func TestFollowGoesOnAfterTheLastEventAndEndsWhenItIsRefused(t *testing.T) {
	t.Parallel()
	streams := 0
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		streams++
		if streams == 2 {
			if r.Header.Get("Last-Event-ID") != "9" {
				t.Errorf("Last-Event-ID: %q", r.Header.Get("Last-Event-ID"))
			}
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"title":"Unauthorized","status":401}`)
			return
		}
		fmt.Fprint(w, "event: verdict\nid: 9\ndata: {\"node\":\"a\",\"generation\":9}\n\n")
	})
	var got []string
	for e, err := range c.Follow(t.Context(), api.FromNow) {
		got = append(got, fmt.Sprint(e.Generation, " ", api.StatusOf(err), " ", err != nil))
	}
	if diff := cmp.Diff([]string{"9 0 false", "0 0 true", "0 401 true"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestACallEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	c := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	if _, err := c.Summary(ctx); err == nil || api.StatusOf(err) != 0 {
		t.Error(err)
	}
}

func TestOnlyAVerdictThatHoldsLetsAHostBeUsed(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	for name, v := range map[string]api.Verdict{
		"the zero verdict": {}, "unknown": {Trust: api.Unknown, ExpiresAt: now.Add(time.Hour)}, "untrusted": {Trust: api.Untrusted, ExpiresAt: now.Add(time.Hour)},
		"another word": {Trust: "Trusted", ExpiresAt: now.Add(time.Hour)}, "without an end": {Trust: api.Trusted}, "at its end": {Trust: api.Trusted, ExpiresAt: now},
	} {
		if v.TrustedAt(now) {
			t.Errorf("%s is trusted", name)
		}
	}
	if v := (api.Verdict{Trust: api.Trusted, ExpiresAt: now.Add(time.Second)}); !v.TrustedAt(now) {
		t.Error("a verdict that holds is not trusted")
	}
}
