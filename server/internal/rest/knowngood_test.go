package rest_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/server/internal/access"
)

func TestADraftGoesFromANodeToADryRun(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	operator := s.as(t, access.Operator)
	captured, err := operator.CaptureNode(t.Context(), "bad.example", api.Capture{Prefix: "other", Parts: map[string]string{"18": "hypervisor"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(captured.Sets) != 1 || captured.Sets[0].Name != "other-hypervisor" || captured.Sets[0].State != api.SetDraft || captured.Sets[0].Author != "token:the-operator" ||
		captured.EvidenceID == 0 || len(captured.Notes) == 0 {
		t.Errorf("captured %+v", captured)
	}

	differences, err := operator.CompareSets(t.Context(), "xen", "other-hypervisor")
	if err != nil || len(differences) != 1 || !strings.HasPrefix(differences[0].Text, "sha256 PCR 17: slot 4 (tboot module 0, hypervisor or kernel): only A allows ") {
		t.Errorf("differences are %+v, %v", differences, err)
	}

	effect, err := operator.DryRun(t.Context(), api.DryRun{Approve: []string{"other-hypervisor"}, Retire: []string{"xen"}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range effect.Nodes {
		if effect.Nodes[i].QuotedAt.IsZero() {
			t.Errorf("%+v", effect.Nodes[i])
		}
		effect.Nodes[i].QuotedAt, effect.Nodes[i].Detail = captured.QuotedAt, ""
	}
	want := api.Effect{
		Pools: []string{"pool"}, Judged: 2, Condemned: 1, Pardoned: 1, WithoutEvidence: 1, Nodes: []api.Turned{
			{Node: "good.example", Pool: "pool", Effect: api.Condemned, QuotedAt: captured.QuotedAt, ReasonNow: "ok", Reason: "pcr_mismatch"},
			{Node: "bad.example", Pool: "pool", Effect: api.Pardoned, QuotedAt: captured.QuotedAt, ReasonNow: "pcr_mismatch", Reason: "ok"},
		},
	}
	if diff := cmp.Diff(want, effect); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestADryRunTakesWhatIsNotOnTheServerYet(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	operator := s.as(t, access.Operator)
	xen, err := operator.Set(t.Context(), "xen")
	if err != nil {
		t.Fatal(err)
	}
	effect, err := operator.DryRun(t.Context(), api.DryRun{
		Sets: map[string]api.SetSpec{"again": xen.SetSpec}, Retire: []string{"xen"}, Pools: map[string]api.PoolSpec{"pool": {Requires: []api.Requirement{{Part: "hypervisor", Match: "all_of"}}}},
	})
	if err != nil || effect.Trusted != 1 || effect.Untrusted != 1 {
		t.Errorf("%+v, %v", effect, err)
	}
}

func TestASetTravelsFromServerToServer(t *testing.T) {
	t.Parallel()
	from, to := newSite(t), newSite(t)
	raw, err := from.as(t, access.Reader).ExportSet(t.Context(), "xen", api.FormatTrustpool)
	if err != nil {
		t.Fatal(err)
	}
	done, err := to.as(t, access.Operator).ImportSet(t.Context(), api.SetImport{Format: api.FormatTrustpool, Document: raw, Name: "theirs", Pools: []string{"pool"}})
	if err != nil || done.Set.State != api.SetDraft || done.Set.Part != "hypervisor" {
		t.Fatalf("%+v, %v", done, err)
	}
	if differences, err := to.as(t, access.Reader).CompareSets(t.Context(), "xen", "theirs"); err != nil || len(differences) != 0 {
		t.Errorf("differences are %+v, %v", differences, err)
	}
	policy, err := from.as(t, access.Reader).ExportSet(t.Context(), "xen", api.FormatKeylime)
	if err != nil || !strings.Contains(string(policy), `"mask": "0xe0000"`) {
		t.Errorf("as a Keylime policy: %s, %v", policy, err)
	}
}

func TestWhatToolsCanNotDoIsAProblemThatSaysWhy(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	keylime := func(values ...string) string {
		raw, err := json.Marshal(map[string]any{"format": "keylime-tpm-policy", "name": "x", "part": "hypervisor", "document": map[string][]string{"17": values}})
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	for _, tc := range []struct {
		rule, path, body, want string
		status                 int
	}{
		{"a node without evidence", "/v1/nodes/silent.example/capture", `{"prefix":"x"}`, "have it challenged first", http.StatusConflict},
		{"a node that there is not", "/v1/nodes/none.example/capture", `{"prefix":"x"}`, "none of this name", http.StatusNotFound},
		{"a part that is none", "/v1/nodes/good.example/capture", `{"prefix":"x","parts":{"17":"all"}}`, "body.parts", http.StatusUnprocessableEntity},
		{"a PCR that was not quoted", "/v1/nodes/good.example/capture", `{"prefix":"x","parts":{"4":"platform"}}`, "PCR 4 was not quoted", http.StatusUnprocessableEntity},
		{"a prefix that is none", "/v1/nodes/good.example/capture", `{"prefix":"a b"}`, "is no name", http.StatusUnprocessableEntity},
		{"a file with an error", "/v1/sets:import", keylime("xy"), "17[0]: is not an even number", http.StatusUnprocessableEntity},
		{"SHA-1 alone", "/v1/sets:import", keylime(strings.Repeat("11", 20)), "are of SHA-1", http.StatusUnprocessableEntity},
		{"a format that is none", "/v1/sets:import", `{"format":"xml","document":{}}`, "body.format", http.StatusUnprocessableEntity},
		{"a change of nothing", "/v1/sets:dry-run", `{}`, "touches no pool", http.StatusUnprocessableEntity},
		{"a draft that there is not", "/v1/sets:dry-run", `{"approve":["none"]}`, "the set none", http.StatusNotFound},
		{"comparing with nothing", "/v1/sets:compare", `{"a":"xen","b":"none"}`, "reading the set none", http.StatusNotFound},
	} {
		a := s.ask(t, s.tokens[access.Operator], http.MethodPost, tc.path, tc.body, "Content-Type", "application/json")
		if a.status != tc.status || !strings.Contains(a.body, tc.want) {
			t.Errorf("%s: %d %s", tc.rule, a.status, a.body)
		}
	}
}
