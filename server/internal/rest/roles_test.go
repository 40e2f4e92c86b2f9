package rest_test

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trustpool/trustpool/server/internal/access"
)

// routes says who may do what, once more and by hand: whoever changes a role has to change it twice.
func routes() map[string]access.Role {
	return map[string]access.Role{
		"GET /.well-known/jwks.json":            access.Nobody,
		"GET /healthz":                          access.Reader,
		"GET /readyz":                           access.Reader,
		"GET /v1/openapi.json":                  access.Reader,
		"GET /v1/caller":                        access.Reader,
		"GET /v1/summary":                       access.Reader,
		"GET /v1/events":                        access.Reader,
		"GET /v1/hosts":                         access.Reader,
		"POST /v1/hosts:query":                  access.Reader,
		"GET /v1/hosts/{name}":                  access.Reader,
		"GET /v1/hosts/{name}/verdict.jwt":      access.Reader,
		"POST /v1/hosts:sign":                   access.Reader,
		"GET /v1/nodes":                         access.Reader,
		"POST /v1/nodes":                        access.Admin,
		"POST /v1/nodes:import":                 access.Admin,
		"POST /v1/nodes:import-csv":             access.Admin,
		"GET /v1/nodes/{name}":                  access.Reader,
		"PUT /v1/nodes/{name}":                  access.Admin,
		"DELETE /v1/nodes/{name}":               access.Admin,
		"GET /v1/nodes/{name}/history":          access.Reader,
		"GET /v1/nodes/{name}/evidence/{which}": access.Operator,
		"PUT /v1/nodes/{name}/labels":           access.Operator,
		"POST /v1/nodes/{name}/attest":          access.Operator,
		"POST /v1/nodes/{name}/hold":            access.Operator,
		"POST /v1/nodes/{name}/release":         access.Admin,
		"POST /v1/nodes/{name}/reenroll":        access.Admin,
		"GET /v1/pools":                         access.Reader,
		"GET /v1/pools/{name}":                  access.Reader,
		"PUT /v1/pools/{name}":                  access.Admin,
		"DELETE /v1/pools/{name}":               access.Admin,
		"GET /v1/sets":                          access.Reader,
		"GET /v1/sets/{name}":                   access.Reader,
		"PUT /v1/sets/{name}":                   access.Operator,
		"GET /v1/sets/{name}/export":            access.Reader,
		"POST /v1/sets:import":                  access.Operator,
		"POST /v1/sets:compare":                 access.Reader,
		"POST /v1/sets:dry-run":                 access.Operator,
		"POST /v1/nodes/{name}/capture":         access.Operator,
		"POST /v1/sets/{name}/approve":          access.Admin,
		"POST /v1/sets/{name}/retire":           access.Admin,
		"GET /v1/refused-aks":                   access.Reader,
		"PUT /v1/refused-aks/{ak}":              access.Operator,
		"DELETE /v1/refused-aks/{ak}":           access.Admin,
		"GET /v1/alarms":                        access.Reader,
		"POST /v1/alarms/{id}/acknowledge":      access.Operator,
		"GET /v1/admin-log":                     access.Admin,
		"GET /v1/admin-log/check":               access.Admin,
		"GET /v1/tokens":                        access.Admin,
		"POST /v1/tokens":                       access.Admin,
		"DELETE /v1/tokens/{name}":              access.Admin,
	}
}

func TestEveryRouteOfTheDocumentIsInTheTableOfRoles(t *testing.T) {
	t.Parallel()
	s := emptySite(t)
	var document struct {
		Paths map[string]map[string]struct {
			Role string `json:"x-trustpool-role"`
		}
	}
	if err := json.Unmarshal([]byte(s.ask(t, s.tokens[access.Reader], http.MethodGet, "/v1/openapi.json", "").body), &document); err != nil {
		t.Fatal(err)
	}
	documented := make(map[string]string)
	for path, methods := range document.Paths {
		for method, op := range methods {
			documented[strings.ToUpper(method)+" "+path] = op.Role
		}
	}
	table := make(map[string]string)
	for route, role := range routes() {
		table[route] = role.String()
	}
	documented["GET /v1/openapi.json"] = access.Reader.String() // which does not tell of itself
	if diff := cmp.Diff(table, documented); diff != "" {
		t.Error(diff)
	}
}

// path fills the parameters in: what is asked for is there, or is not.
func path(route string, exists bool) (method, target string) {
	method, pattern, _ := strings.Cut(route, " ")
	values := map[string]string{"{name}": "nobody.example", "{which}": "good", "{ak}": "000b" + strings.Repeat("ab", 32), "{id}": "4711"}
	if exists {
		values["{name}"] = "good.example"
		switch {
		case strings.HasPrefix(pattern, "/v1/pools/"):
			values["{name}"] = "pool"
		case strings.HasPrefix(pattern, "/v1/sets/"):
			values["{name}"] = "xen"
		case strings.HasPrefix(pattern, "/v1/tokens/"):
			values["{name}"] = "the-reader"
		}
	}
	return method, regexp.MustCompile(`\{[a-z]+\}`).ReplaceAllStringFunc(pattern, func(p string) string { return values[p] })
}

func TestEachRouteLetsThroughItsRoleAndThoseAbove(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for route, smallest := range routes() {
		for _, role := range access.Roles() {
			method, target := path(route, false)
			a := s.ask(t, s.tokens[role], method, target, "{}", "Content-Type", "application/json")
			if forbidden := a.status == http.StatusForbidden; forbidden == (role >= smallest) || a.status == http.StatusUnauthorized || a.status >= 500 {
				t.Errorf("%s as %s: %d %s", route, role, a.status, a.body)
			}
		}
	}
}

func TestWhatARoleMayNotDoFailsTheSameWhetherItExistsOrNot(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for route, smallest := range routes() {
		for _, role := range access.Roles() {
			if role >= smallest {
				continue
			}
			var answers []string
			for _, exists := range []bool{false, true} {
				method, target := path(route, exists)
				a := s.ask(t, s.tokens[role], method, target, "no JSON")
				answers = append(answers, a.body)
			}
			if answers[0] != answers[1] {
				t.Errorf("%s as %s: %s for what is not there, %s for what is", route, role, answers[0], answers[1])
			}
		}
	}
}

func TestAStrangerLearnsNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	asked := []string{"GET /", "GET /v1/nothing", "POST /v1/hosts/good.example", "PATCH /v1/nodes", "GET /v1/../metrics", "GET //v1/hosts", "OPTIONS /v1/hosts", "GET /openapi.json", "GET /docs", "GET /schemas/Host.json", "POST /.well-known/jwks.json", "GET /.well-known/", "GET /.well-known/jwks.json/", "GET //.well-known/jwks.json"}
	for route, role := range routes() {
		if role == access.Nobody {
			continue // TestTheKeySetTellsEverybodyTheSame
		}
		for _, exists := range []bool{false, true} {
			method, target := path(route, exists)
			asked = append(asked, method+" "+target)
		}
	}
	var first *answer
	for i, one := range asked {
		method, target, _ := strings.Cut(one, " ")
		token := []string{"", "x", "trustpool_0123456789abcdef_" + strings.Repeat("A", 43)}[i%3]
		a := s.ask(t, token, method, target, `{"hosts":["good.example"]}`)
		a.header.Del("Date")
		if first == nil {
			first = &a
		}
		if diff := cmp.Diff(*first, a, cmp.AllowUnexported(answer{})); diff != "" || a.status != http.StatusUnauthorized {
			t.Errorf("%s with %q: %d %s", one, token, a.status, diff)
		}
	}
	for _, word := range []string{"good", "pool", "xen", "v1", "hosts"} {
		if strings.Contains(first.body, word) {
			t.Errorf("strangers are told %s", first.body)
		}
	}
}

func TestARouteThatThereIsNotIsAProblemForCallers(t *testing.T) {
	t.Parallel()
	s := emptySite(t)
	for one, want := range map[string]int{
		"GET /v1/nothing": http.StatusNotFound, "GET /": http.StatusNotFound, "PATCH /v1/nodes": http.StatusMethodNotAllowed, "GET /openapi.json": http.StatusNotFound, "GET /docs": http.StatusNotFound,
	} {
		method, target, _ := strings.Cut(one, " ")
		a := s.ask(t, s.tokens[access.Admin], method, target, "")
		if a.status != want || a.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %s %s", one, a.status, a.header.Get("Content-Type"), a.body)
		}
	}
	allow := strings.Split(s.ask(t, s.tokens[access.Admin], http.MethodPatch, "/v1/nodes", "").header.Get("Allow"), ", ")
	if !slices.Contains(allow, http.MethodGet) || !slices.Contains(allow, http.MethodPost) {
		t.Errorf("Allow: %v", allow)
	}
}
