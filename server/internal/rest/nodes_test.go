package rest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/server/internal/access"
	"github.com/trustpool/trustpool/server/internal/nodetest"
)

func ekName() string { return "000b" + strings.Repeat("ab", 32) }

func spec(name string) api.NodeSpec {
	return api.NodeSpec{
		Name: name, Aliases: []string{"alias-of-" + name}, Address: name + ":9443", Pool: "pool", Labels: map[string]string{"rack": "7"}, Binding: "inventory",
		EK: &api.ExpectedEK{Name: ekName()},
	}
}

func TestANodeIsAddedAsItWasSaid(t *testing.T) {
	t.Parallel()
	s := emptySite(t)
	c := s.as(t, access.Admin)
	said := spec("Node1.Example")
	said.Aliases = []string{"NODE1"}
	added, err := c.AddNode(t.Context(), said)
	if err != nil {
		t.Fatal(err)
	}
	want := spec("node1.example")
	want.Aliases, want.Address = []string{"node1"}, "Node1.Example:9443"
	shown, err := c.Node(t.Context(), "NODE1")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, shown.NodeSpec); diff != "" {
		t.Error(diff)
	}
	if shown.State != "pending" || shown.Revision != 1 || shown.AddedBy != "token:the-admin" || shown.AddedAt.IsZero() || shown.Verdict.Reason != "not_enrolled" || shown.Contact == nil || shown.Contact.DueAt.IsZero() {
		t.Errorf("%+v", shown)
	}
	shown.Contact = nil
	if diff := cmp.Diff(shown, added); diff != "" {
		t.Error(diff)
	}
	raw, err := json.Marshal(spec("node2.example"))
	if err != nil {
		t.Fatal(err)
	}
	a := s.ask(t, s.tokens[access.Admin], http.MethodPost, "/v1/nodes", string(raw))
	if a.status != http.StatusCreated || a.header.Get("Location") != "/v1/nodes/node2.example" || a.header.Get("ETag") != `"1"` {
		t.Error(a)
	}
}

func TestEachFieldOfANodeThatIsWrongIsTold(t *testing.T) {
	t.Parallel()
	c := emptySite(t).as(t, access.Admin)
	for location, spoil := range map[string]func(*api.NodeSpec){
		"body.name":      func(n *api.NodeSpec) { n.Name = "a b" },
		"body.aliases":   func(n *api.NodeSpec) { n.Aliases = []string{"a/b"} },
		"body.address":   func(n *api.NodeSpec) { n.Address = "node1" },
		"body.pool":      func(n *api.NodeSpec) { n.Pool = "nowhere" },
		"body.labels":    func(n *api.NodeSpec) { n.Labels = map[string]string{"a b": ""} },
		"body.binding":   func(n *api.NodeSpec) { n.Binding = "hope" },
		"body.ek":        func(n *api.NodeSpec) { n.EK = nil },
		"body.ek.name":   func(n *api.NodeSpec) { n.EK.Name = "xyz" },
		"body.ek.serial": func(n *api.NodeSpec) { n.EK = &api.ExpectedEK{Serial: "xyz", Issuer: "CN=a"} },
		"body.record":    func(n *api.NodeSpec) { n.Record = json.RawMessage(`{"format":"other"}`) },
	} {
		n := spec("node1.example")
		spoil(&n)
		_, err := c.AddNode(t.Context(), n)
		if api.StatusOf(err) != http.StatusUnprocessableEntity || !strings.Contains(err.Error(), location+": ") {
			t.Errorf("%s: %v", location, err)
		}
	}
}

func TestANodeThatWasEnrolledElsewhereIsActiveAtOnce(t *testing.T) {
	t.Parallel()
	s := emptySite(t)
	c := s.as(t, access.Admin)
	soft, err := nodetest.NewSoft("soft.example", "xen")
	if err != nil {
		t.Fatal(err)
	}
	record, err := soft.Record().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	n := spec("soft.example")
	n.EK, n.Record = nil, record
	added, err := c.AddNode(t.Context(), n)
	if err != nil || added.State != "active" {
		t.Fatal(added, err)
	}
	// What GET gave can be sent back, keys and all. Others can't.
	changed := added.NodeSpec
	changed.Labels = map[string]string{"row": "b"}
	again, err := c.UpdateNode(t.Context(), "soft.example", changed, added.Revision)
	if err != nil || again.State != "active" || again.Labels["row"] != "b" || again.Revision != 2 {
		t.Fatal(again, err)
	}
	if err := soft.Rekey(); err != nil {
		t.Fatal(err)
	}
	if changed.Record, err = soft.Record().Marshal(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.UpdateNode(t.Context(), "soft.example", changed, again.Revision); api.StatusOf(err) != http.StatusUnprocessableEntity || !strings.Contains(err.Error(), "body.record") {
		t.Error(err)
	}
}

func TestANameThatIsTakenRefusesAllAndRaisesAnAlarm(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c := s.as(t, access.Admin)
	thief := spec("thief.example")
	thief.Aliases = []string{"good"}
	_, err := c.ImportNodes(t.Context(), []api.NodeSpec{spec("node1.example"), thief})
	if api.StatusOf(err) != http.StatusConflict || !strings.Contains(err.Error(), "good.example") {
		t.Error(err)
	}
	if _, err := c.Node(t.Context(), "node1.example"); !api.IsNotFound(err) {
		t.Errorf("half an import was taken: %v", err)
	}
	var alarms []api.Alarm
	for alarm, err := range c.Alarms(t.Context(), true) {
		if err != nil {
			t.Fatal(err)
		}
		alarms = append(alarms, alarm)
	}
	if len(alarms) != 1 || alarms[0].Kind != "name_taken" || alarms[0].Node != "good.example" {
		t.Fatalf("%+v", alarms)
	}
	if h, err := c.Host(t.Context(), "good"); err != nil || h.Node != "good.example" {
		t.Error(h, err)
	}

	operator := s.as(t, access.Operator)
	if err := operator.AcknowledgeAlarm(t.Context(), alarms[0].ID); err != nil {
		t.Fatal(err)
	}
	if err := operator.AcknowledgeAlarm(t.Context(), alarms[0].ID); !api.IsNotFound(err) {
		t.Errorf("an alarm was acknowledged twice: %v", err)
	}
	for alarm, err := range c.Alarms(t.Context(), true) {
		t.Error("still open", alarm, err)
	}
	for alarm, err := range c.Alarms(t.Context(), false) {
		if err != nil || alarm.AcknowledgedBy != "token:the-operator" || alarm.AcknowledgedAt.IsZero() {
			t.Error(alarm, err)
		}
	}
}

func TestListsOfNodesAreImportedAllOrNone(t *testing.T) {
	t.Parallel()
	s := emptySite(t)
	c := s.as(t, access.Admin)
	done, err := c.ImportNodes(t.Context(), []api.NodeSpec{spec("node1.example"), spec("node2.example")})
	if err != nil || done.Added != 2 {
		t.Fatal(done, err)
	}
	list := "name,address,pool,binding,aliases,ek_name\nnode3.example,node3.example:9443,pool,,n3 10.0.0.3," + ekName() + "\nnode4.example,node4.example:9443,pool,chain,,\n"
	done, err = c.ImportNodesCSV(t.Context(), strings.NewReader(list))
	if err != nil || done.Added != 2 {
		t.Fatal(done, err)
	}
	n, err := c.Node(t.Context(), "n3")
	if err != nil || n.Name != "node3.example" || n.EK.Name != ekName() {
		t.Error(n, err)
	}

	broken := spec("node6.example")
	broken.Address = ""
	_, err = c.ImportNodes(t.Context(), []api.NodeSpec{spec("node5.example"), broken})
	if api.StatusOf(err) != http.StatusUnprocessableEntity || !strings.Contains(err.Error(), "body.nodes[1].address") {
		t.Error(err)
	}
	_, err = c.ImportNodesCSV(t.Context(), strings.NewReader("name,address,pool\nnode5.example,node5.example:9443,pool\n"))
	if api.StatusOf(err) != http.StatusUnprocessableEntity || !strings.Contains(err.Error(), "node5.example") {
		t.Error(err)
	}
	if _, err := c.ImportNodes(t.Context(), []api.NodeSpec{}); api.StatusOf(err) != http.StatusUnprocessableEntity {
		t.Error(err)
	}
	if a := s.ask(t, s.tokens[access.Admin], http.MethodPost, "/v1/nodes:import-csv", list, "Content-Type", "application/json"); a.status != http.StatusUnsupportedMediaType {
		t.Error(a)
	}
	var names []string
	for n, err := range c.Nodes(t.Context(), api.NodeFilter{State: "pending", Pool: "pool"}) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, n.Name)
	}
	if want := []string{"node1.example", "node2.example", "node3.example", "node4.example"}; !slices.Equal(names, want) {
		t.Error(names)
	}
}

func TestAListOfNodesHasTheirVerdicts(t *testing.T) {
	t.Parallel()
	c := newSite(t).as(t, access.Admin)
	if err := c.RemoveNode(t.Context(), "bad.example", 0); err != nil {
		t.Fatal(err)
	}
	// Its name is another's now.
	n := spec("bad.example")
	if _, err := c.AddNode(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	for state, want := range map[string]string{
		"": "bad.example pending not_enrolled, good.example active ok, silent.example active no_quote", "decommissioned": "bad.example decommissioned unknown_host", "held": "",
	} {
		var got []string
		for n, err := range c.Nodes(t.Context(), api.NodeFilter{State: state}) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprint(n.Name, " ", n.State, " ", n.Verdict.Reason))
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("%q: %v, want %s", state, got, want)
		}
	}
}

func TestAChangeIsMeantForTheRevisionThatWasSeen(t *testing.T) {
	t.Parallel()
	s := emptySite(t)
	c := s.as(t, access.Admin)
	n, err := c.AddNode(t.Context(), spec("node1.example"))
	if err != nil {
		t.Fatal(err)
	}
	change := n.NodeSpec
	change.Address = "10.0.0.1:9443"
	if _, err := c.UpdateNode(t.Context(), "node1.example", change, 0); api.StatusOf(err) != http.StatusPreconditionRequired {
		t.Errorf("without a revision: %v", err)
	}
	if n, err = c.UpdateNode(t.Context(), "alias-of-node1.example", change, n.Revision); err != nil || n.Address != change.Address || n.Revision != 2 {
		t.Fatal(n, err)
	}
	if _, err := c.UpdateNode(t.Context(), "node1.example", change, 1); !api.IsChanged(err) {
		t.Errorf("for a revision that is gone: %v", err)
	}
	if _, err := c.SetLabels(t.Context(), "node1.example", nil, 1); !api.IsChanged(err) {
		t.Error(err)
	}
	if err := c.RemoveNode(t.Context(), "node1.example", 1); !api.IsChanged(err) {
		t.Error(err)
	}
	change.Name = "other.example"
	if _, err := c.UpdateNode(t.Context(), "node1.example", change, 2); api.StatusOf(err) != http.StatusUnprocessableEntity || !strings.Contains(err.Error(), "body.name") {
		t.Error(err)
	}
	if _, err := c.UpdateNode(t.Context(), "nobody.example", change, 2); !api.IsNotFound(err) {
		t.Error(err)
	}
	for _, tag := range []string{"2", `W/"2"`, `"2`, `"02"`, `"-2"`, `"2", "3"`, `"x"`} {
		if a := s.ask(t, s.tokens[access.Admin], http.MethodPost, "/v1/nodes/node1.example/reenroll", "", "If-Match", tag); a.status != http.StatusBadRequest {
			t.Errorf("If-Match: %s: %d %s", tag, a.status, a.body)
		}
	}
}

func TestAnEKThatCantBeReadDoesNotReplaceTheOneThatIs(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c := s.as(t, access.Admin)
	n, err := c.Node(t.Context(), "good.example")
	if err != nil {
		t.Fatal(err)
	}
	change := n.NodeSpec
	change.EK = &api.ExpectedEK{Name: "xyz"}
	if _, err := c.UpdateNode(t.Context(), "good.example", change, n.Revision); api.StatusOf(err) != http.StatusUnprocessableEntity {
		t.Error(err)
	}
	if h, err := c.Host(t.Context(), "good.example"); err != nil || h.Trust != api.Trusted {
		t.Error(h, err)
	}
}

func TestAnOperatorHoldsAndOnlyAnAdministratorReleases(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	operator, admin := s.as(t, access.Operator), s.as(t, access.Admin)
	n, err := operator.HoldNode(t.Context(), "good", "its door was open", 0)
	if err != nil || n.State != "held" || n.StateReason != "its door was open" || n.Verdict.Trust != api.Untrusted || n.Verdict.Reason != "held" {
		t.Fatal(n, err)
	}
	if err := operator.AttestNode(t.Context(), "good"); api.StatusOf(err) != http.StatusConflict {
		t.Errorf("a node that is held was hurried: %v", err)
	}
	if _, err := operator.ReleaseNode(t.Context(), "good", 0); api.StatusOf(err) != http.StatusForbidden {
		t.Error(err)
	}
	if n, err = admin.ReleaseNode(t.Context(), "good", n.Revision); err != nil || n.State != "active" || n.Verdict.Trust == api.Trusted {
		t.Fatal(n, err)
	}
	if _, err := admin.ReleaseNode(t.Context(), "good", 0); api.StatusOf(err) != http.StatusConflict {
		t.Errorf("a node that is not held was released: %v", err)
	}
	if _, err := operator.HoldNode(t.Context(), "good", "", 0); api.StatusOf(err) != http.StatusUnprocessableEntity {
		t.Errorf("held without a reason: %v", err)
	}
	if n, err = operator.SetLabels(t.Context(), "good", map[string]string{"rack": "8"}, n.Revision); err != nil || n.Labels["rack"] != "8" {
		t.Error(n, err)
	}
}

func TestANodeIsHurriedAndReenrolled(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	operator, admin := s.as(t, access.Operator), s.as(t, access.Admin)
	before, err := operator.Node(t.Context(), "good")
	if err != nil || before.Contact.GoodQuotes != 1 || before.Contact.ReachedAt.IsZero() {
		t.Fatal(before.Contact, err)
	}
	if err := operator.AttestNode(t.Context(), "good"); err != nil {
		t.Fatal(err)
	}
	if n, err := operator.Node(t.Context(), "good"); err != nil || !n.Contact.DueAt.Before(before.Contact.DueAt) {
		t.Error(n.Contact, err)
	}
	if err := operator.AttestNode(t.Context(), "nobody.example"); !api.IsNotFound(err) {
		t.Error(err)
	}
	n, err := admin.ReenrollNode(t.Context(), "good", 0)
	if err != nil || n.State != "pending" || n.Record != nil || n.Verdict.Trust != api.Unknown || n.Verdict.Reason != "policy_changed" {
		t.Error(n, err)
	}
	if err := admin.RemoveNode(t.Context(), "good", n.Revision); err != nil {
		t.Fatal(err)
	}
	if h, err := admin.Host(t.Context(), "good.example"); err != nil || h.Reason != "unknown_host" {
		t.Error(h, err)
	}
	if err := admin.RemoveNode(t.Context(), "good", 0); !api.IsNotFound(err) {
		t.Error(err)
	}
}
