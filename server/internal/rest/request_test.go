package rest_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/trustpool/trustpool/server/internal/access"
)

func TestARequestThatCanMeanTwoThingsIsRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	token := s.tokens[access.Admin]
	for name, test := range map[string]struct {
		body, contentType string
		want              int
		says              string
	}{
		"an unknown key":                 {`{"hosts":["good"],"count":1}`, "application/json", http.StatusUnprocessableEntity, "body.count"},
		"a key twice":                    {`{"hosts":["good"],"hosts":["bad.example"]}`, "application/json", http.StatusBadRequest, "twice"},
		"a key twice in other letters":   {`{"hosts":["good"],"Hosts":["bad.example"]}`, "application/json", http.StatusBadRequest, "twice"},
		"a key twice in a letter's form": {`{"hosts":["good"],"hoſts":["bad.example"]}`, "application/json", http.StatusBadRequest, "twice"},
		"a key that is missing":          {`{}`, "application/json", http.StatusUnprocessableEntity, "hosts"},
		"another type":                   {`{"hosts":"good"}`, "application/json", http.StatusUnprocessableEntity, "body.hosts"},
		"another type within":            {`{"hosts":[1]}`, "application/json", http.StatusUnprocessableEntity, "body.hosts[0]"},
		"null":                           {`{"hosts":null}`, "application/json", http.StatusUnprocessableEntity, "body.hosts"},
		"no object":                      {`["good"]`, "application/json", http.StatusUnprocessableEntity, "object"},
		"no JSON":                        {`hosts=good`, "application/json", http.StatusBadRequest, ""},
		"JSON that ends early":           {`{"hosts":["good"]`, "application/json", http.StatusBadRequest, ""},
		"something after the JSON":       {`{"hosts":["good"]} {}`, "application/json", http.StatusBadRequest, ""},
		"no UTF-8":                       {"{\"hosts\":[\"\xff\"]}", "application/json", http.StatusBadRequest, "UTF-8"},
		"nothing":                        {``, "application/json", http.StatusBadRequest, "required"},
		"another kind of body":           {`{"hosts":["good"]}`, "text/plain", http.StatusUnsupportedMediaType, ""},
		"a form":                         {`hosts=good`, "application/x-www-form-urlencoded", http.StatusUnsupportedMediaType, ""},
		"more levels than anybody uses":  {`{"hosts":[` + strings.Repeat(`[`, 100) + strings.Repeat(`]`, 100) + `]}`, "application/json", http.StatusBadRequest, "levels"},
	} {
		a := s.ask(t, token, http.MethodPost, "/v1/hosts:query", test.body, "Content-Type", test.contentType)
		if a.status != test.want || !strings.Contains(a.body, test.says) || a.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %s %s", name, a.status, a.header.Get("Content-Type"), a.body)
		}
	}
	for _, contentType := range []string{"application/json", "application/json; charset=utf-8", ""} {
		if a := s.ask(t, token, http.MethodPost, "/v1/hosts:query", `{"hosts":["good"]}`, "Content-Type", contentType); a.status != http.StatusOK {
			t.Errorf("%q: %d %s", contentType, a.status, a.body)
		}
	}
}

func TestABodyThatIsTooLargeIsNotSentBack(t *testing.T) {
	t.Parallel()
	s := emptySite(t)
	a := s.ask(t, s.tokens[access.Admin], http.MethodPost, "/v1/nodes", `{"name":"`+strings.Repeat("a", 1<<20)+`"}`, "Content-Type", "application/json")
	if a.status != http.StatusRequestEntityTooLarge || len(a.body) > 1000 {
		t.Errorf("%d, %d bytes", a.status, len(a.body))
	}
	a = s.ask(t, s.tokens[access.Admin], http.MethodPost, "/v1/nodes", strings.Repeat("a", 100_000), "Content-Type", "application/json")
	if a.status != http.StatusBadRequest || len(a.body) > 1000 {
		t.Errorf("%d, %d bytes", a.status, len(a.body))
	}
}

func TestARoleIsLookedAtBeforeTheBodyIs(t *testing.T) {
	t.Parallel()
	s := emptySite(t)
	for _, body := range []string{"", "no JSON", `{"unknown":1}`, strings.Repeat("a", 2<<20)} {
		if a := s.ask(t, s.tokens[access.Reader], http.MethodPost, "/v1/nodes", body, "Content-Type", "application/json"); a.status != http.StatusForbidden {
			t.Errorf("%.20q: %d %s", body, a.status, a.body)
		}
	}
}
