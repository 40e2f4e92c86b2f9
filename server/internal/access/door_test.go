package access_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/trustpool/trustpool/server/internal/access"
	"github.com/trustpool/trustpool/server/internal/store"
	"github.com/trustpool/trustpool/server/internal/store/storetest"
)

func TestMain(m *testing.M) { os.Exit(storetest.Main(m)) }

func TestTheSameHoldsOnPostgreSQL(t *testing.T) { storetest.OnPostgres(t) }

// door is a Door in front of a handler that says who came through.
type door struct {
	*access.Door
	store   *store.Store
	handler http.Handler
}

func newDoor(t *testing.T, config access.Config) *door {
	t.Helper()
	s := storetest.New(t)
	config.Store, config.Logger, config.Registerer = s, slog.New(slog.DiscardHandler), prometheus.NewRegistry()
	d, err := access.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return &door{Door: d, store: s, handler: d.Protect(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := access.From(r.Context())
		fmt.Fprintf(w, "%s is %s", c.Name, c.Role)
	}))}
}

// token makes one and has the store keep it.
func (d *door) token(t *testing.T, name string, role access.Role, expires time.Time) string {
	t.Helper()
	text, kept, err := access.NewToken(name, role, expires)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.store.AddToken(t.Context(), store.Act{By: "test", At: time.Now()}, kept); err != nil {
		t.Fatal(err)
	}
	return text
}

func (d *door) ask(header map[string]string, state *tls.ConnectionState) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	for name, value := range header {
		r.Header.Set(name, value)
	}
	r.TLS = state
	w := httptest.NewRecorder()
	d.handler.ServeHTTP(w, r)
	return w
}

func TestATokenIsTakenFromEachHeaderThatClientsKnow(t *testing.T) {
	t.Parallel()
	d := newDoor(t, access.Config{})
	for _, role := range access.Roles() {
		text := d.token(t, "a-"+role.String(), role, time.Time{})
		for _, header := range []map[string]string{
			{"Authorization": "Bearer " + text}, {"Authorization": "bearer " + text}, {"X-Auth-Blob": text}, {"Auth_blob": text},
		} {
			w := d.ask(header, nil)
			if want := "token:a-" + role.String() + " is " + role.String(); w.Code != http.StatusOK || w.Body.String() != want {
				t.Errorf("%d %s, want %s", w.Code, w.Body, want)
			}
		}
	}
}

func TestWhatIsNoTokenThatCountsIsAnsweredLikeNothing(t *testing.T) {
	t.Parallel()
	d := newDoor(t, access.Config{})
	good := d.token(t, "good", access.Admin, time.Time{})
	revoked := d.token(t, "revoked", access.Admin, time.Time{})
	if err := d.store.RemoveToken(t.Context(), store.Act{By: "test", At: time.Now()}, "revoked"); err != nil {
		t.Fatal(err)
	}
	other, _, err := access.NewToken("other", access.Admin, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	for name, header := range map[string]map[string]string{
		"expired":             {"Authorization": "Bearer " + d.token(t, "expired", access.Admin, time.Now().Add(-time.Second))},
		"revoked":             {"Authorization": "Bearer " + revoked},
		"another's secret":    {"Authorization": "Bearer " + good[:27] + other[27:]},
		"never kept":          {"Authorization": "Bearer " + other},
		"cut":                 {"Authorization": "Bearer " + good[:len(good)-1]},
		"longer":              {"Authorization": "Bearer " + good + "A"},
		"other scheme":        {"Authorization": "Basic " + base64.StdEncoding.EncodeToString([]byte("a:"+good))},
		"empty":               {"Authorization": ""},
		"empty blob":          {"X-Auth-Blob": ""},
		"quote":               {"Authorization": "Bearer ' OR 1=1 --"},
		"bad, with good blob": {"Authorization": "Bearer " + other, "X-Auth-Blob": good},
	} {
		if diff := cmp.Diff(whole(d.ask(nil, nil)), whole(d.ask(header, nil))); diff != "" {
			t.Errorf("%s: not as for somebody without a token (-want +got):\n%s", name, diff)
		}
	}
}

// whole is all of a response.
func whole(w *httptest.ResponseRecorder) map[string]any {
	return map[string]any{"code": w.Code, "header": map[string][]string(w.Header()), "body": w.Body.String()}
}

func TestAStrangerIsToldHowToComeIn(t *testing.T) {
	t.Parallel()
	w := newDoor(t, access.Config{}).ask(nil, nil)
	var problem struct{ Detail string }
	if err := json.Unmarshal(w.Body.Bytes(), &problem); err != nil || w.Code != http.StatusUnauthorized || !strings.Contains(problem.Detail, "Bearer TOKEN") {
		t.Errorf("%d %s, %v", w.Code, w.Body, err)
	}
	if got := w.Header().Get("WWW-Authenticate"); got != "Bearer" {
		t.Errorf("WWW-Authenticate: %q", got)
	}
}

func TestARuleGivesItsRoleToACertificate(t *testing.T) {
	t.Parallel()
	var revoked error
	d := newDoor(t, access.Config{
		Rules: []access.Rule{
			{SAN: []string{"dns:scheduler.example"}, Role: access.Reader},
			{SAN: []string{"dns:ops.example", "dns:scheduler2.example"}, Role: access.Operator},
			{SAN: []string{"dns:ops.example"}, Role: access.Reader},
		},
		VerifyTLS: func(tls.ConnectionState) error { return revoked },
	})
	state := func(ends time.Duration, names ...string) *tls.ConnectionState {
		c := &x509.Certificate{DNSNames: names, NotAfter: time.Now().Add(ends)}
		return &tls.ConnectionState{PeerCertificates: []*x509.Certificate{c}, VerifiedChains: [][]*x509.Certificate{{c}}}
	}
	unverified := state(time.Hour, "ops.example")
	unverified.VerifiedChains = nil

	for name, test := range map[string]struct {
		state *tls.ConnectionState
		want  string
	}{
		"one rule":               {state(time.Hour, "x.example", "scheduler.example"), "dns:scheduler.example is reader"},
		"two rules, the highest": {state(time.Hour, "ops.example"), "dns:ops.example is operator"},
		"two names, the highest": {state(time.Hour, "scheduler.example", "scheduler2.example"), "dns:scheduler2.example is operator"},
		"no rule":                {state(time.Hour, "other.example"), ""},
		"outdated":               {state(-time.Second, "ops.example"), ""},
		"not verified":           {unverified, ""},
		"no certificate":         {&tls.ConnectionState{}, ""},
	} {
		w := d.ask(nil, test.state)
		if test.want == "" && w.Code != http.StatusUnauthorized || test.want != "" && w.Body.String() != test.want {
			t.Errorf("%s: %d %s, want %q", name, w.Code, w.Body, test.want)
		}
	}

	revoked = errors.New("revoked")
	if w := d.ask(nil, state(time.Hour, "ops.example")); w.Code != http.StatusUnauthorized {
		t.Errorf("revoked: %d %s", w.Code, w.Body)
	}
}

func TestRulesThatMeanNothingAreRefused(t *testing.T) {
	t.Parallel()
	for want, rule := range map[string]access.Rule{
		"clients[0].san: empty":     {Role: access.Reader},
		"clients[0].role: missing":  {SAN: []string{"dns:a"}},
		`clients[0].san: "a" is no`: {SAN: []string{"a"}, Role: access.Reader},
	} {
		_, err := access.New(access.Config{Rules: []access.Rule{rule}, Registerer: prometheus.NewRegistry()})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	var role access.Role
	for _, text := range []string{"", "nobody", "Admin", "root"} {
		if err := role.UnmarshalText([]byte(text)); err == nil || role != access.Nobody {
			t.Errorf("the role %q was taken", text)
		}
	}
}

func TestATokenWithoutANameOrARoleIsNotMade(t *testing.T) {
	t.Parallel()
	if _, _, err := access.NewToken("a b", access.Reader, time.Time{}); err == nil {
		t.Error("a name with a space was taken")
	}
	if _, _, err := access.NewToken("a", access.Nobody, time.Time{}); err == nil {
		t.Error("a token without a role was made")
	}
}

func TestOfATokenTheServerKeepsNothingToUse(t *testing.T) {
	t.Parallel()
	d := newDoor(t, access.Config{})
	text := d.token(t, "a", access.Reader, time.Time{})
	tokens, err := d.store.Tokens(t.Context())
	if err != nil || len(tokens) != 1 {
		t.Fatal(tokens, err)
	}
	if kept := fmt.Sprintf("%+v %s", tokens[0], tokens[0].SHA256); strings.Contains(kept, text[27:]) {
		t.Errorf("the secret is kept: %s", kept)
	}
}
