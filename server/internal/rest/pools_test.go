package rest_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/server/internal/access"
)

func TestAPoolIsMadeReplacedAndRemoved(t *testing.T) {
	t.Parallel()
	s := emptySite(t)
	c := s.as(t, access.Admin)
	spec := api.PoolSpec{
		Description: "the good ones", Requires: []api.Requirement{{Part: "hypervisor", Match: "any_of"}, {Part: "platform", Match: "all_of"}}, Bindings: []string{"inventory", "first_use"},
	}
	p, err := c.PutPool(t.Context(), "gold", spec, 0)
	if err != nil || p.Revision != 1 {
		t.Fatal(p, err)
	}
	got, err := c.Pool(t.Context(), "gold")
	if diff := cmp.Diff(api.Pool{Name: "gold", PoolSpec: spec, Revision: 1}, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if _, err := c.PutPool(t.Context(), "gold", spec, 0); !api.IsChanged(err) {
		t.Errorf("made twice: %v", err)
	}
	spec.AllowSimulatedNodes = true
	if p, err = c.PutPool(t.Context(), "gold", spec, 1); err != nil || p.Revision != 2 || !p.AllowSimulatedNodes {
		t.Error(p, err)
	}
	if _, err := c.PutPool(t.Context(), "gold", spec, 1); !api.IsChanged(err) {
		t.Error(err)
	}
	if _, err := c.PutPool(t.Context(), "silver", spec, 1); !api.IsNotFound(err) {
		t.Error(err)
	}
	all, err := c.Pools(t.Context())
	if err != nil || len(all) != 2 || all[0].Name != "gold" || all[1].Name != "pool" {
		t.Error(all, err)
	}
	if err := c.RemovePool(t.Context(), "gold"); err != nil {
		t.Error(err)
	}
	if _, err := c.Pool(t.Context(), "gold"); !api.IsNotFound(err) {
		t.Error(err)
	}
}

func TestWhatIsWrongWithAPoolIsTold(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for location, body := range map[string]string{
		"body.requires":          `{"requires":[{"part":"platform","match":"any_of"},{"part":"platform","match":"all_of"}]}`,
		"body.requires[0].part":  `{"requires":[{"part":"everything","match":"any_of"}]}`,
		"body.requires[0].match": `{"requires":[{"part":"platform","match":"some"}]}`,
		"body.bindings[0]":       `{"requires":[],"bindings":["hope"]}`,
		"body.trust":             `{"requires":[],"trust":"everybody"}`,
		"body":                   `{}`,
	} {
		a := s.ask(t, s.tokens[access.Admin], http.MethodPut, "/v1/pools/gold", body, "If-None-Match", "*")
		if a.status != http.StatusUnprocessableEntity || !strings.Contains(a.body, `"location":"`+location+`"`) {
			t.Errorf("%s: %d %s", location, a.status, a.body)
		}
	}
	for header, want := range map[[2]string]int{
		{"If-Match", `"1"`}: http.StatusNotFound, {"If-None-Match", `"1"`}: http.StatusBadRequest, {"X-Nothing", "x"}: http.StatusPreconditionRequired, {"If-Match", "*"}: http.StatusPreconditionRequired,
	} {
		if a := s.ask(t, s.tokens[access.Admin], http.MethodPut, "/v1/pools/gold", `{"requires":[]}`, header[0], header[1]); a.status != want {
			t.Errorf("%v: %d %s", header, a.status, a.body)
		}
	}
	if err := s.as(t, access.Admin).RemovePool(t.Context(), "pool"); api.StatusOf(err) != http.StatusConflict {
		t.Errorf("a pool with nodes was removed: %v", err)
	}
	if _, err := s.as(t, access.Admin).PutPool(t.Context(), ".hidden", api.PoolSpec{}, 0); api.StatusOf(err) != http.StatusUnprocessableEntity || !strings.Contains(err.Error(), "path.name") {
		t.Error(err)
	}
}

func TestAPoolThatChangesTakesTrustAwayAtOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c := s.as(t, access.Admin)
	p, err := c.Pool(t.Context(), "pool")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.PutPool(t.Context(), "pool", p.PoolSpec, p.Revision); err != nil {
		t.Fatal(err)
	}
	if h, err := c.Host(t.Context(), "good"); err != nil || h.Trust != api.Unknown || h.Reason != "policy_changed" {
		t.Error(h, err)
	}
}

func TestASetGoesFromDraftToActiveToRetired(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	operator, admin := s.as(t, access.Operator), s.as(t, access.Admin)
	xen, err := operator.Set(t.Context(), "xen")
	if err != nil || xen.State != api.SetActive || xen.ApprovedBy != "setup" {
		t.Fatal(xen, err)
	}
	until := time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
	spec := api.SetSpec{Description: "the next one", Part: "hypervisor", Pools: []string{"pool"}, KnownGood: xen.KnownGood, Source: "a test", ValidFrom: until.AddDate(-80, 0, 0), ValidUntil: until}
	draft, err := operator.PutSet(t.Context(), "next", spec, 0)
	if err != nil || draft.State != api.SetDraft || draft.Author != "token:the-operator" || draft.Revision != 1 {
		t.Fatal(draft, err)
	}
	if diff := cmp.Diff(spec, draft.SetSpec); diff != "" {
		t.Error(diff)
	}
	if _, err := operator.PutSet(t.Context(), "next", spec, 0); !api.IsChanged(err) {
		t.Error(err)
	}
	if draft, err = operator.PutSet(t.Context(), "next", spec, 1); err != nil || draft.Revision != 2 {
		t.Fatal(draft, err)
	}
	if _, err := operator.ApproveSet(t.Context(), "next", 2); api.StatusOf(err) != http.StatusForbidden {
		t.Errorf("an operator approved: %v", err)
	}
	if _, err := admin.ApproveSet(t.Context(), "next", 1); !api.IsChanged(err) {
		t.Errorf("what was approved is not what was seen: %v", err)
	}
	if _, err := admin.ApproveSet(t.Context(), "next", 0); api.StatusOf(err) != http.StatusPreconditionRequired {
		t.Error(err)
	}
	active, err := admin.ApproveSet(t.Context(), "next", 2)
	if err != nil || active.State != api.SetActive || active.ApprovedBy != "token:the-admin" || active.ApprovedAt.IsZero() || active.Revision != 3 {
		t.Fatal(active, err)
	}
	if _, err := operator.PutSet(t.Context(), "next", spec, 3); api.StatusOf(err) != http.StatusConflict {
		t.Errorf("an active set was changed: %v", err)
	}
	retired, err := admin.RetireSet(t.Context(), "xen", xen.Revision)
	if err != nil || retired.State != api.SetRetired || retired.RetiredBy != "token:the-admin" {
		t.Fatal(retired, err)
	}
	if h, err := operator.Host(t.Context(), "good"); err != nil || h.Trust == api.Trusted {
		t.Errorf("trusted by a set that is retired: %+v %v", h, err)
	}
	if _, err := admin.RetireSet(t.Context(), "xen", retired.Revision); api.StatusOf(err) != http.StatusConflict {
		t.Error(err)
	}
	for state, want := range map[string]string{"": "next xen", api.SetActive: "next", api.SetRetired: "xen", api.SetDraft: ""} {
		var names []string
		for set, err := range admin.Sets(t.Context(), api.SetFilter{State: state, Pool: "pool"}) {
			if err != nil || len(set.KnownGood) > 0 {
				t.Fatal(set, err)
			}
			names = append(names, set.Name)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%q: %s, want %s", state, got, want)
		}
	}
}

func TestWhatIsWrongWithASetIsTold(t *testing.T) {
	t.Parallel()
	s := emptySite(t)
	c := s.as(t, access.Operator)
	xen, err := c.Set(t.Context(), "xen")
	if err != nil {
		t.Fatal(err)
	}
	for location, spoil := range map[string]func(*api.SetSpec){
		"body.known_good":  func(s *api.SetSpec) { s.KnownGood = nil },
		"body.known_good ": func(s *api.SetSpec) { s.KnownGood = json.RawMessage(`{"format":"trustpool-known-good/1"}`) },
		"body.part":        func(s *api.SetSpec) { s.Part = "all" },
		"body.node":        func(s *api.SetSpec) { s.Node = "a.example" },
		"body.pools":       func(s *api.SetSpec) { s.Pools = []string{"a b"} },
		"body.valid_until": func(s *api.SetSpec) { s.ValidFrom = time.Now(); s.ValidUntil = s.ValidFrom.Add(-time.Hour) },
	} {
		spec := api.SetSpec{Part: "hypervisor", Pools: []string{"pool"}, KnownGood: xen.KnownGood}
		spoil(&spec)
		_, err := c.PutSet(t.Context(), "next", spec, 0)
		if api.StatusOf(err) != http.StatusUnprocessableEntity || !strings.Contains(err.Error(), strings.TrimSpace(location)+": ") {
			t.Errorf("%s: %v", location, err)
		}
	}
	if _, err := c.Set(t.Context(), "next"); !api.IsNotFound(err) {
		t.Error(err)
	}
}
