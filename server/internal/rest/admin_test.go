package rest_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/server/internal/access"
	"github.com/trustpool/trustpool/server/internal/store/storetest"
)

func TestAnAKThatIsRefusedIsTrustedNoMore(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	operator, admin := s.as(t, access.Operator), s.as(t, access.Admin)
	n, err := s.Store.Node(t.Context(), "good")
	if err != nil {
		t.Fatal(err)
	}
	ak := n.Record.AKs[0].Name.String()
	if err := operator.RefuseAK(t.Context(), ak, "it was seen elsewhere"); err != nil {
		t.Fatal(err)
	}
	if h, err := operator.Host(t.Context(), "good"); err != nil || h.Trust == api.Trusted {
		t.Error(h, err)
	}
	refused, err := operator.RefusedAKs(t.Context())
	if err != nil || len(refused) != 1 || refused[0].Name != ak || refused[0].Note != "it was seen elsewhere" || refused[0].By != "token:the-operator" || refused[0].At.IsZero() {
		t.Error(refused, err)
	}
	if err := operator.AllowAK(t.Context(), ak); api.StatusOf(err) != http.StatusForbidden {
		t.Errorf("an operator allowed it again: %v", err)
	}
	if err := admin.AllowAK(t.Context(), ak); err != nil {
		t.Error(err)
	}
	if err := admin.AllowAK(t.Context(), ak); !api.IsNotFound(err) {
		t.Error(err)
	}
	for _, name := range []string{"xyz", "000b", ak + "00", ak + "\n" + ak, "# " + ak} {
		if err := operator.RefuseAK(t.Context(), name, ""); api.StatusOf(err) != http.StatusUnprocessableEntity || !strings.Contains(err.Error(), "path.ak") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestATokenIsToldOnceAndCountsUntilItIsRemoved(t *testing.T) {
	t.Parallel()
	s := emptySite(t)
	admin := s.as(t, access.Admin)
	made, err := admin.AddToken(t.Context(), api.TokenSpec{Name: "scheduler", Role: "reader"})
	if err != nil {
		t.Fatal(err)
	}
	if a := s.ask(t, made.Token, http.MethodGet, "/v1/caller", ""); a.status != http.StatusOK || !strings.Contains(a.body, `"token:scheduler"`) {
		t.Error(a)
	}
	all, err := admin.Tokens(t.Context())
	if err != nil || len(all) != 4 {
		t.Fatal(all, err)
	}
	for _, token := range all {
		if token.Name == "scheduler" && (token.Role != "reader" || token.CreatedBy != "token:the-admin" || token.CreatedAt.IsZero() || !strings.Contains(made.Token, token.ID)) {
			t.Errorf("%+v", token)
		}
	}
	if list := s.ask(t, s.tokens[access.Admin], http.MethodGet, "/v1/tokens", ""); strings.Contains(list.body, made.Token[30:]) {
		t.Error("the list tells the secret")
	}
	if _, err := admin.AddToken(t.Context(), api.TokenSpec{Name: "scheduler", Role: "admin"}); api.StatusOf(err) != http.StatusConflict {
		t.Errorf("two of one name: %v", err)
	}
	for location, spec := range map[string]api.TokenSpec{
		"body.name": {Name: "a b", Role: "reader"}, "body.role": {Name: "b", Role: "nobody"}, "body.expires_at": {Name: "b", Role: "reader", ExpiresAt: time.Now().Add(-time.Second)},
	} {
		if _, err := admin.AddToken(t.Context(), spec); api.StatusOf(err) != http.StatusUnprocessableEntity || !strings.Contains(err.Error(), location+": ") {
			t.Errorf("%s: %v", location, err)
		}
	}
	if err := admin.RemoveToken(t.Context(), "scheduler"); err != nil {
		t.Fatal(err)
	}
	if a := s.ask(t, made.Token, http.MethodGet, "/v1/caller", ""); a.status != http.StatusUnauthorized {
		t.Errorf("a token that was removed: %d", a.status)
	}
	if err := admin.RemoveToken(t.Context(), "scheduler"); !api.IsNotFound(err) {
		t.Error(err)
	}
}

func TestTheAdminLogTellsWhoDidWhatAndWhetherItWasAltered(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	admin := s.as(t, access.Admin)
	if _, err := s.as(t, access.Operator).HoldNode(t.Context(), "good", "a test", 0); err != nil {
		t.Fatal(err)
	}
	var last api.AdminEntry
	for e, err := range admin.AdminLog(t.Context(), 0) {
		if err != nil || e.Seq != last.Seq+1 || len(e.Hash) != 64 {
			t.Fatal(e, err)
		}
		last = e
	}
	if last.Action != "node.hold" || last.By != "token:the-operator" || last.Subject != "good.example" || !strings.Contains(string(last.Detail), "a test") {
		t.Errorf("%+v", last)
	}
	for e, err := range admin.AdminLog(t.Context(), last.Seq) {
		t.Error("after the last one", e, err)
	}
	check, err := admin.CheckAdminLog(t.Context())
	if err != nil || !check.Intact || check.Last != last.Seq || check.Hash != last.Hash {
		t.Fatal(check, err)
	}
	page := s.ask(t, s.tokens[access.Admin], http.MethodGet, "/v1/admin-log?limit=2", "")
	if !strings.Contains(page.body, `"next":2`) {
		t.Error(page.body)
	}

	storetest.Alter(t, s.database, "UPDATE admin_log SET actor = 'nobody' WHERE seq = 3")
	check, err = admin.CheckAdminLog(t.Context())
	if err != nil || check.Intact || check.Last != 2 || !strings.Contains(check.Problem, "entry 3") {
		t.Error(check, err)
	}
}
