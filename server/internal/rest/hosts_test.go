package rest_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/server/internal/access"
)

func TestAHostIsAnsweredByEachOfItsNames(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c := s.as(t, access.Reader)
	began := time.Now()
	for _, name := range []string{"good.example", "good", "GOOD.Example"} {
		h, err := c.Host(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if h.Host != name || h.Node != "good.example" || h.Pool != "pool" || !h.TrustedAt(began) || h.Reason != "ok" || h.EKBinding != "inventory" || h.Generation == 0 || h.EvidenceID == 0 ||
			h.Boot == nil || !cmp.Equal(h.Sets, []string{"xen"}) || h.ExpiresAt.Sub(h.QuotedAt) != validity || h.QuotedAt.Location() != time.UTC {
			t.Errorf("%s: %+v", name, h)
		}
	}
	h, err := c.Host(t.Context(), "bad.example")
	if err != nil || h.Trust != api.Untrusted || h.Reason != "pcr_mismatch" || h.Detail == "" || h.EvidenceID == 0 {
		t.Error(h, err)
	}
	h, err = c.Host(t.Context(), "silent.example")
	if err != nil || h.Trust != api.Unknown || h.Reason != "no_quote" || h.Generation != 0 {
		t.Error(h, err)
	}
}

func TestAHostThatNobodyKnowsIsAnsweredAndNotRefused(t *testing.T) {
	t.Parallel()
	c := newSite(t).as(t, access.Reader)
	h, err := c.Host(t.Context(), "nobody.example")
	if err != nil || h.Host != "nobody.example" || h.Node != "" || h.Trust != api.Unknown || h.Reason != "unknown_host" {
		t.Error(h, err)
	}
	for _, name := range []string{"a b", "a/b", strings.Repeat("a", 254), "-a", "%zz"} {
		if _, err := c.Host(t.Context(), name); api.StatusOf(err) != http.StatusUnprocessableEntity || !strings.Contains(err.Error(), "path.name") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestAVerdictThatHasExpiredIsUnknown(t *testing.T) {
	t.Parallel()
	s := emptySite(t)
	if _, err := s.Add(t.Context(), "xen", "old.example"); err != nil {
		t.Fatal(err)
	}
	if err := s.Attest(t.Context(), time.Now(), time.Millisecond); err != nil {
		t.Fatal(err)
	}
	c := s.as(t, access.Reader)
	h, err := c.Host(t.Context(), "old.example")
	for err == nil && h.Trust == api.Trusted { // for a millisecond
		h, err = c.Host(t.Context(), "old.example")
	}
	if err != nil || h.Trust != api.Unknown || h.Reason != "stale" || len(h.Sets) > 0 {
		t.Error(h, err)
	}
	all, err := c.QueryHosts(t.Context(), []string{"old.example"})
	if err != nil || all[0].Trust != api.Unknown {
		t.Error(all, err)
	}
	for h, err := range c.Hosts(t.Context(), api.HostFilter{Trust: api.Trusted}) {
		t.Error(h, err)
	}
}

func TestManyHostsAreAnsweredInTheirOrderEachAsOftenAsItWasAsked(t *testing.T) {
	t.Parallel()
	c := newSite(t).as(t, access.Reader)
	names := []string{"bad.example", "nobody", "good", "a b", "", "good", "GOOD.EXAMPLE"}
	hosts, err := c.QueryHosts(t.Context(), names)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, h := range hosts {
		got = append(got, fmt.Sprintf("%s is %s: %s", h.Host, h.Trust, h.Reason))
	}
	want := []string{
		"bad.example is untrusted: pcr_mismatch", "nobody is unknown: unknown_host", "good is trusted: ok", "a b is unknown: unknown_host", " is unknown: unknown_host", "good is trusted: ok",
		"GOOD.EXAMPLE is trusted: ok",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if hosts, err := c.QueryHosts(t.Context(), nil); err != nil || len(hosts) != 0 {
		t.Error(hosts, err)
	}
}

func TestAQueryIsBounded(t *testing.T) {
	t.Parallel()
	s := emptySite(t)
	a := s.ask(t, s.tokens[access.Reader], http.MethodPost, "/v1/hosts:query", `{"hosts":["a"`+strings.Repeat(`,"a"`, api.MaxQuery)+`]}`, "Content-Type", "application/json")
	if a.status != http.StatusUnprocessableEntity {
		t.Errorf("%d names: %d %s", api.MaxQuery+1, a.status, a.body)
	}
	hosts, err := s.as(t, access.Reader).QueryHosts(t.Context(), make([]string, 2*api.MaxQuery+1))
	if err != nil || len(hosts) != 2*api.MaxQuery+1 {
		t.Error(len(hosts), err)
	}
}

func TestAListOfHostsIsFilteredAndComesInPages(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c := s.as(t, access.Reader)
	for want, filter := range map[string]api.HostFilter{
		"bad.example good.example silent.example": {}, "good.example": {Trust: api.Trusted}, "bad.example": {Trust: api.Untrusted, Pool: "pool"}, "silent.example": {Trust: api.Unknown}, "": {Pool: "gold"},
	} {
		var names []string
		for h, err := range c.Hosts(t.Context(), filter) {
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, h.Host)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%+v: %s, want %s", filter, got, want)
		}
	}
	first := s.ask(t, s.tokens[access.Reader], http.MethodGet, "/v1/hosts?limit=2", "")
	last := s.ask(t, s.tokens[access.Reader], http.MethodGet, "/v1/hosts?limit=2&after=good.example", "")
	if !strings.Contains(first.body, `"next":"good.example"`) || strings.Contains(last.body, `"next"`) || !strings.Contains(last.body, `"silent.example"`) {
		t.Errorf("%s\n%s", first.body, last.body)
	}
	for _, query := range []string{"trust=maybe", "limit=0", "limit=1001", "limit=x", "page=2"} {
		if a := s.ask(t, s.tokens[access.Reader], http.MethodGet, "/v1/hosts?"+query, ""); a.status != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d %s", query, a.status, a.body)
		}
	}
}

func TestAnAnswerThatTheCallerHasIsNotSentAgain(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, path := range []string{"/v1/hosts/good", "/v1/pools/pool", "/v1/sets/xen"} {
		one := s.ask(t, s.tokens[access.Reader], http.MethodGet, path, "")
		tag := one.header.Get("ETag")
		if one.status != http.StatusOK || tag == "" || one.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d, ETag %s", path, one.status, tag)
		}
		for header, want := range map[string]int{tag: http.StatusNotModified, `"x", W/` + tag: http.StatusNotModified, "*": http.StatusNotModified, `"x"`: http.StatusOK} {
			again := s.ask(t, s.tokens[access.Reader], http.MethodGet, path, "", "If-None-Match", header)
			if again.status != want || want == http.StatusNotModified && (again.body != "" || again.header.Get("ETag") != tag) {
				t.Errorf("%s with %s: %d %s", path, header, again.status, again.body)
			}
		}
	}
	before := s.ask(t, s.tokens[access.Reader], http.MethodGet, "/v1/hosts/good", "").header.Get("ETag")
	if _, err := s.as(t, access.Operator).HoldNode(t.Context(), "good", "a test", 0); err != nil {
		t.Fatal(err)
	}
	if a := s.ask(t, s.tokens[access.Reader], http.MethodGet, "/v1/hosts/good", "", "If-None-Match", before); a.status != http.StatusOK || !strings.Contains(a.body, "untrusted") {
		t.Errorf("a verdict that changed: %d %s", a.status, a.body)
	}
}

func TestASummaryCountsEachNodeOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	if _, err := s.as(t, access.Admin).PutPool(t.Context(), "empty", api.PoolSpec{Requires: []api.Requirement{}}, 0); err != nil {
		t.Fatal(err)
	}
	got, err := s.as(t, access.Reader).Summary(t.Context())
	if err != nil || got.Generation == 0 || got.OpenAlarms != 0 {
		t.Fatal(got, err)
	}
	one := api.Count{Trusted: 1, Untrusted: 1, Unknown: 1}
	if diff := cmp.Diff(map[string]api.Count{"pool": one, "empty": {}}, got.Pools); diff != "" || got.Total != one {
		t.Errorf("%+v %s", got.Total, diff)
	}
}

func TestACallerIsToldWhoHeIs(t *testing.T) {
	t.Parallel()
	s := emptySite(t)
	for _, role := range access.Roles() {
		who, err := s.as(t, role).Caller(t.Context())
		if err != nil || who.Name != "token:the-"+role.String() || who.Role != role.String() {
			t.Error(who, err)
		}
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if a := s.ask(t, s.tokens[access.Reader], http.MethodGet, path, ""); a.status != http.StatusNoContent {
			t.Errorf("%s: %d", path, a.status)
		}
	}
}

func TestADatabaseThatIsGoneTellsNoCallerWhy(t *testing.T) {
	t.Parallel()
	s := emptySite(t)
	if _, err := s.Add(t.Context(), "xen", "good.example"); err != nil {
		t.Fatal(err)
	}
	c := s.as(t, access.Reader)
	if _, err := c.Host(t.Context(), "good.example"); err != nil {
		t.Fatal(err)
	}
	if err := s.Store.Close(); err != nil {
		t.Fatal(err)
	}
	// The token can't be looked up either, so that nobody comes in.
	if _, err := c.Host(t.Context(), "good.example"); api.StatusOf(err) != http.StatusServiceUnavailable || strings.Contains(err.Error(), "sql") {
		t.Error(err)
	}
}
