package rest_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"log/slog"
	"mime"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/server/internal/access"
	"github.com/trustpool/trustpool/server/internal/ear"
	"github.com/trustpool/trustpool/server/internal/rest"
	"github.com/trustpool/trustpool/server/internal/store"
	"github.com/trustpool/trustpool/server/internal/store/storetest"
)

// hostileRoutes are all routes that read a body, a name or a cursor, but for the stream of events, which has no end. {} is the name, and at the end the query.
func hostileRoutes() []string {
	return []string{
		"POST /v1/nodes", "POST /v1/nodes:import", "POST /v1/nodes:import-csv", "PUT /v1/nodes/{}", "PUT /v1/nodes/{}/labels", "POST /v1/nodes/{}/hold", "POST /v1/nodes/{}/capture",
		"PUT /v1/pools/{}", "PUT /v1/sets/{}", "POST /v1/sets:import", "POST /v1/sets:compare", "POST /v1/sets:dry-run", "PUT /v1/refused-aks/{}", "POST /v1/tokens",
		"POST /v1/hosts:query", "POST /v1/hosts:sign",
		"DELETE /v1/nodes/{}", "POST /v1/nodes/{}/release", "POST /v1/nodes/{}/reenroll", "POST /v1/nodes/{}/attest", "DELETE /v1/pools/{}", "POST /v1/sets/{}/approve", "POST /v1/sets/{}/retire",
		"DELETE /v1/refused-aks/{}", "POST /v1/alarms/{}/acknowledge", "DELETE /v1/tokens/{}",
		"GET /v1/hosts/{}", "GET /v1/hosts/{}/verdict.jwt?", "GET /v1/nodes/{}", "GET /v1/nodes/{}/history?", "GET /v1/nodes/{}/evidence/good", "GET /v1/pools/{}", "GET /v1/sets/{}", "GET /v1/sets/{}/export?",
		"GET /v1/hosts?", "GET /v1/nodes?", "GET /v1/sets?", "GET /v1/alarms?", "GET /v1/admin-log?",
	}
}

// besieged is a server whose database is a new copy of the same one after each change.
type besieged struct {
	template string
	dir      string
	token    string
	issuer   *ear.Issuer

	store   *store.Store
	witness *sql.DB // looks at the database from beside the store
	handler http.Handler
}

func newBesieged(f *testing.F) *besieged {
	f.Helper()
	s := unserved(f, storetest.SQLite)
	if err := s.Populate(f.Context(), validity, "good"); err != nil {
		f.Fatal(err)
	}
	b := &besieged{dir: f.TempDir(), token: s.tokens[access.Admin], issuer: newIssuer(f, slog.New(slog.DiscardHandler))}
	b.template = filepath.Join(b.dir, "template.db")
	if err := s.Store.Backup(f.Context(), b.template); err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = b.close() })
	return b
}

func (b *besieged) close() error {
	if b.store == nil {
		return nil
	}
	err := errors.Join(b.witness.Close(), b.store.Close())
	b.store = nil
	return err
}

// ready opens a new copy, if there is none or the last one was changed.
func (b *besieged) ready(t testing.TB) {
	t.Helper()
	if b.store != nil {
		return
	}
	raw, err := os.ReadFile(b.template)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(b.dir, "now.db")
	for _, tail := range []string{"-wal", "-shm"} {
		_ = os.Remove(path + tail)
	}
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if b.store, err = store.Open(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	if b.witness, err = sql.Open("sqlite", "file:"+path); err != nil {
		t.Fatal(err)
	}
	b.witness.SetMaxOpenConns(1)
	if _, err := b.witness.ExecContext(t.Context(), "ATTACH ? AS template", b.template); err != nil {
		t.Fatal(err)
	}
	logger := slog.New(slog.DiscardHandler)
	door, err := access.New(access.Config{Store: b.store, Logger: logger, Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	b.handler, err = rest.New(rest.Config{Store: b.store, Door: door, Issuer: b.issuer, Hurry: hurryIn(b.store), Done: make(chan struct{}), Logger: logger, Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
}

// version changes if and only if somebody else changes the database (SQLite, PRAGMA data_version).
func (b *besieged) version(t *testing.T) (version int64) {
	t.Helper()
	if err := b.witness.QueryRowContext(t.Context(), "PRAGMA data_version").Scan(&version); err != nil {
		t.Fatal(err)
	}
	return version
}

func (b *besieged) ask(t testing.TB, method, target, contentType string, revision uint8, body []byte) *httptest.ResponseRecorder {
	t.Helper()
	q := httptest.NewRequestWithContext(t.Context(), method, "/", bytes.NewReader(body))
	var err error
	if q.URL, err = url.ParseRequestURI(target); err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Authorization", "Bearer "+b.token)
	q.Header.Set("Content-Type", contentType)
	if revision == 0 {
		q.Header.Set("If-None-Match", "*")
	} else {
		q.Header.Set("If-Match", strconv.Quote(strconv.Itoa(int(revision))))
	}
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, q)
	return w
}

// FuzzREST: whatever the body, the name and the query of a request are, the server never fails; a refusal is a problem of a bearable size and leaves nothing in the database, but for the alarm that a taken
// name raises; what can mean two things is refused; and what was taken, and is shown, is taken again as it is shown.
func FuzzREST(f *testing.F) {
	b := newBesieged(f)
	for route, pattern := range hostileRoutes() {
		for _, seed := range seedsFor(pattern) {
			f.Add(uint8(route), seed.name, "limit=1&after=0", seed.revision, []byte(seed.body))
			b.mustTake(f, pattern, seed)
		}
	}
	f.Add(uint8(14), "", "", uint8(0), []byte(`{"hosts":["good"],"ho`+"\u017F"+`ts":["bad.example"]}`)) // a letter that json folds to s
	routes := hostileRoutes()
	f.Fuzz(func(t *testing.T, route uint8, name, query string, revision uint8, body []byte) {
		b.ready(t)
		method, target, _ := strings.Cut(routes[int(route)%len(routes)], " ")
		target = strings.ReplaceAll(target, "{}", url.PathEscape(name))
		if rest, wanted := strings.CutSuffix(target, "?"); wanted {
			values, _ := url.ParseQuery(query)
			target = rest + "?" + values.Encode()
		}
		before := b.version(t)
		a := b.ask(t, method, target, contentType(target), revision, body)
		changed := b.version(t) != before
		if changed {
			defer func() {
				if err := b.close(); err != nil {
					t.Error(err)
				}
			}()
		}
		switch {
		case a.Code >= http.StatusInternalServerError:
			t.Fatalf("%s %s: %d %s", method, target, a.Code, a.Body)
		case a.Code >= http.StatusBadRequest:
			wantProblem(t, a)
			if changed {
				b.wantAlarmOnly(t, method+" "+target, a)
			}
		case changed && method == http.MethodGet:
			t.Fatalf("GET %s changes something", target)
		case a.Code < 300 && contentType(target) == "application/json" && method != http.MethodGet:
			if key := ambiguous(body); key != "" && a.Body.Len() > 0 {
				t.Fatalf("%s %s: %q has the key %q twice, and was taken: %s", method, target, body, key, a.Body)
			}
		}
		if a.Code < 300 && changed {
			b.wantShownAsSaid(t, target, a)
		}
	})
}

// wantAlarmOnly wants a refusal that changed something to tell of a taken name, and to have added its alarm and nothing else. Its code may be that of something else that is wrong in the same list.
func (b *besieged) wantAlarmOnly(t *testing.T, request string, a *httptest.ResponseRecorder) {
	t.Helper()
	if !strings.Contains(a.Body.String(), "an alarm was raised") {
		t.Fatalf("%s: refused, and yet something is stored: %d %s", request, a.Code, a.Body)
	}
	for _, table := range b.tables(t) {
		if gone := b.count(t, "SELECT * FROM template."+table+" EXCEPT SELECT * FROM main."+table); gone > 0 {
			t.Errorf("%s: refused, and yet %d rows of %s are changed or gone", request, gone, table)
		}
		added := "SELECT * FROM main." + table + " EXCEPT SELECT * FROM template." + table
		if table != "alarms" {
			if n := b.count(t, added); n > 0 {
				t.Errorf("%s: refused, and yet %d rows of %s are new", request, n, table)
			}
			continue
		}
		if all, taken := b.count(t, added), b.count(t, "SELECT * FROM ("+added+") WHERE kind = '"+store.AlarmNameTaken+"'"); all == 0 || taken != all {
			t.Errorf("%s: refused, and %d alarms are new, %d of them because of a taken name", request, all, taken)
		}
	}
}

// tables are those of the database, but for SQLite's own.
func (b *besieged) tables(t *testing.T) (names []string) {
	t.Helper()
	rows, err := b.witness.QueryContext(t.Context(), "SELECT name FROM main.sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	if err := rows.Err(); err != nil || !slices.Contains(names, "alarms") {
		t.Fatalf("the tables %q: %v", names, err)
	}
	return names
}

// count counts the rows of a query.
func (b *besieged) count(t *testing.T, query string) (n int) {
	t.Helper()
	if err := b.witness.QueryRowContext(t.Context(), "SELECT count(*) FROM ("+query+")").Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

// mustTake wants a seed to be taken: what ends at the first check tests nothing behind it.
func (b *besieged) mustTake(f *testing.F, pattern string, seed bodySeed) {
	f.Helper()
	b.ready(f)
	defer func() { _ = b.close() }()
	method, target, _ := strings.Cut(strings.TrimSuffix(pattern, "?"), " ")
	if a := b.ask(f, method, strings.ReplaceAll(target, "{}", seed.name), contentType(target), seed.revision, []byte(seed.body)); a.Code >= 300 && !seed.refused {
		f.Errorf("%s %s: %d %s", pattern, seed.name, a.Code, a.Body)
	}
}

func contentType(target string) string {
	if strings.HasSuffix(target, "csv") {
		return "text/csv"
	}
	return "application/json"
}

// wantProblem wants a refusal to be a problem (RFC 9457) that does not send back what it got.
func wantProblem(t *testing.T, a *httptest.ResponseRecorder) {
	t.Helper()
	var problem api.Problem
	kind, _, err := mime.ParseMediaType(a.Header().Get("Content-Type"))
	if err != nil || kind != "application/problem+json" || json.Unmarshal(a.Body.Bytes(), &problem) != nil || problem.Status != a.Code || a.Body.Len() > 64<<10 {
		t.Fatalf("%d %s: %d bytes, %.300s", a.Code, kind, a.Body.Len(), a.Body)
	}
}

// wantShownAsSaid follows a change in the log, and sends back what is shown of a thing that has a name and a body.
func (b *besieged) wantShownAsSaid(t *testing.T, target string, a *httptest.ResponseRecorder) {
	t.Helper()
	if last, _, err := b.store.CheckAdminLog(t.Context()); err != nil || last == 0 {
		t.Fatalf("the admin log after %s: %d, %v", target, last, err)
	}
	if at := a.Header().Get("Location"); at != "" {
		target = at
	}
	kind, name, isThing := strings.Cut(strings.TrimPrefix(target, "/v1/"), "/")
	if !isThing || strings.Contains(name, "/") || a.Body.Len() == 0 {
		return
	}
	var back any
	switch kind {
	case "nodes":
		var n api.Node
		back = specOf(t, a.Body.Bytes(), &n, func() any { return n.NodeSpec })
		target = "/v1/nodes/" + n.Name // it may have been an alias that it has no more
	case "pools":
		var p api.Pool
		back = specOf(t, a.Body.Bytes(), &p, func() any { return p.PoolSpec })
	case "sets":
		var s api.Set
		back = specOf(t, a.Body.Bytes(), &s, func() any { return s.SetSpec })
	default:
		return
	}
	body, err := json.Marshal(back)
	if err != nil {
		t.Fatal(err)
	}
	revision, err := strconv.ParseUint(strings.Trim(a.Header().Get("ETag"), `"`), 10, 8)
	if err != nil {
		t.Fatalf("%s has the ETag %s", target, a.Header().Get("ETag"))
	}
	if again := b.ask(t, http.MethodPut, target, "application/json", uint8(revision), body); again.Code != http.StatusOK {
		t.Fatalf("%s is shown as %s, and that is refused: %d %s", target, body, again.Code, again.Body)
	}
}

func specOf(t *testing.T, raw []byte, into any, spec func() any) any {
	t.Helper()
	if err := json.Unmarshal(raw, into); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return spec()
}

// ambiguous finds a key that stands twice in an object of a JSON value, by the letters that encoding/json holds for the same.
func ambiguous(raw []byte) string {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	var within func() string
	broken := false // which More does not tell
	within = func() string {
		token, err := decoder.Token()
		if err != nil {
			broken = true
			return ""
		}
		var keys []string
		for delim, opens := token.(json.Delim); opens && (delim == '{' || delim == '[') && !broken && decoder.More(); {
			if delim == '{' {
				key, err := decoder.Token()
				text, isText := key.(string)
				if err != nil || !isText {
					return ""
				}
				if slices.ContainsFunc(keys, func(other string) bool { return strings.EqualFold(other, text) }) {
					return text
				}
				keys = append(keys, text)
			}
			if key := within(); key != "" {
				return key
			}
		}
		if _, isOpen := token.(json.Delim); isOpen {
			_, _ = decoder.Token() // its end
		}
		return ""
	}
	return within()
}

// bodySeed is a request to a route, which takes it unless it is to be refused.
type bodySeed struct {
	name     string
	revision uint8
	body     string
	refused  bool
}

// seedsFor are requests that are taken, as far as the route has any.
func seedsFor(pattern string) []bodySeed {
	node := `{"name":"n.example","aliases":["n"],"address":"n.example:9443","pool":"pool","labels":{"rack":"7"},"binding":"inventory","ek":{"name":"` + ekName() + `"}}`
	known := `{"format":"trustpool-known-good/1","pcrs":[{"bank":"sha256","pcr":17,"values":["` + strings.Repeat("ab", 32) + `"]}]}`
	set := `{"description":"d","part":"hypervisor","pools":["pool"],"known_good":` + known + `,"source":"s","valid_from":"2026-01-01T00:00:00Z"}`
	good := func(body string) []bodySeed { return []bodySeed{{"good.example", 1, body, false}} }
	seeds := map[string][]bodySeed{
		"POST /v1/nodes": {{"", 0, node, false}, {"", 0, strings.ReplaceAll(node, "n.example", "good.example"), true}, {"", 0, `{"name":"m","address":"m:1","pool":"pool","ek":{"serial":"0a","issuer":"CN=a"}}`, false}},
		"POST /v1/nodes:import": {
			{"", 0, `{"nodes":[` + node + `]}`, false}, {"", 0, `{"nodes":[{"name":"o","address":"o:1","pool":"no-pool","binding":"chain"},` + strings.ReplaceAll(node, "n.example", "good.example") + `]}`, true},
		},
		"POST /v1/nodes:import-csv": {
			{"", 0, "name,address,pool,binding,aliases,labels,ek_name,ek_serial,ek_issuer\na,a:1,pool,chain,b c,k=v,,,\n", false}, {"", 0, "name,address,pool,binding\ngood.example,a:1,pool,chain\n", true},
		},
		"PUT /v1/nodes/{}": {
			{"good.example", 1, `{"address":"s:1","pool":"pool","aliases":["x"],"labels":{"a":"b"}}`, false}, {"good.example", 1, `{"address":"s:1","pool":"pool","aliases":["bad.example"]}`, true},
		},
		"PUT /v1/nodes/{}/labels":   good(`{"labels":{"a":"b","c":""}}`),
		"POST /v1/nodes/{}/hold":    good(`{"reason":"it is odd"}`),
		"POST /v1/nodes/{}/capture": good(`{"prefix":"p","pools":["pool"],"parts":{"18":"host_specific"}}`),
		"PUT /v1/pools/{}": {
			{"gold", 0, `{"description":"d","requires":[{"part":"platform","match":"all_of"}],"bindings":["chain"],"allow_simulated_nodes":true}`, false}, {"pool", 1, `{"requires":[]}`, false},
		},
		"PUT /v1/sets/{}": {{"new", 0, set, false}, {"host", 0, strings.Replace(set, `"part":"hypervisor"`, `"part":"host_specific","node":"good.example"`, 1), false}},
		"POST /v1/sets:import": {
			{"", 0, `{"format":"trustpool","name":"x","part":"hypervisor","document":` + known + `}`, false},
			{"", 0, `{"format":"keylime-tpm-policy","name":"y","part":"hypervisor","document":{"17":["` + strings.Repeat("ab", 32) + `"],"mask":"0x20000"}}`, false},
		},
		"POST /v1/sets:compare":          {{"", 0, `{"a":"xen","b":"xen"}`, false}},
		"POST /v1/sets:dry-run":          {{"", 0, `{"retire":["xen"],"sets":{"new":` + set + `},"pools":{"pool":{"requires":[]}}}`, false}},
		"PUT /v1/refused-aks/{}":         {{ekName(), 0, `{"note":"n"}`, false}},
		"DELETE /v1/refused-aks/{}":      {{ekName(), 0, "", true}},
		"POST /v1/tokens":                {{"", 0, `{"name":"t","role":"reader","expires_at":"2099-01-01T00:00:00Z"}`, false}},
		"DELETE /v1/tokens/{}":           {{"the-reader", 0, "", false}},
		"POST /v1/hosts:query":           {{"", 0, `{"hosts":["good","Bad.Example","nobody",""]}`, false}, {"", 0, `{"hosts":["good"],"hosts":["bad.example"]}`, true}},
		"POST /v1/hosts:sign":            {{"", 0, `{"hosts":["good"],"aud":"a","nonce":"bm9uY2Vub25jZQ"}`, false}},
		"POST /v1/nodes/{}/release":      {{"good.example", 1, "", true}},
		"DELETE /v1/pools/{}":            {{"pool", 0, "", true}},
		"POST /v1/sets/{}/approve":       {{"xen", 2, "", true}},
		"POST /v1/sets/{}/retire":        {{"xen", 2, "", false}},
		"POST /v1/alarms/{}/acknowledge": {{"1", 0, "", true}},
		"GET /v1/pools/{}":               {{"pool", 2, "", false}},
		"GET /v1/sets/{}":                {{"xen", 1, "", false}},
		"GET /v1/sets/{}/export?":        {{"xen", 0, "", false}},
	}
	if of, has := seeds[pattern]; has {
		return of
	}
	return good("")
}

func hurryIn(s *store.Store) func(context.Context, string) error {
	return func(ctx context.Context, name string) error { return s.Hurry(ctx, name, time.Now()) }
}
