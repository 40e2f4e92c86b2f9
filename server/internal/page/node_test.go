package page_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/trustpool/trustpool/server/internal/access"
	"github.com/trustpool/trustpool/server/internal/trust"
	"github.com/trustpool/trustpool/verifier"
)

func TestANodeSaysWhatWasExpectedAndWhatCame(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a := s.see(t, access.Operator, "/page/nodes/bad.example")
	for _, want := range []string{
		"bad.example untrusted", "It booted something that is not known good.", "Why it is untrusted", "One measurement differs", "PCR 17, event 5, slot 4: tboot module 0", "Expected", "Got",
		"trustpoolctl knowngood capture bad.example", "20 of 21 checks passed", "the last bad (tar)",
	} {
		if !strings.Contains(a.text(), want) {
			t.Errorf("it does not say %q: %s", want, a.text())
		}
	}
	good := s.see(t, access.Operator, "/page/nodes/good.example").text()
	if !strings.Contains(good, "21 of 21 checks passed") || !strings.Contains(good, "Known good by") || strings.Contains(good, "Why it is untrusted") {
		t.Errorf("a trusted node: %s", good)
	}
}

func TestAReaderIsShownTheFirstDifferenceAndNoEvidence(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a := s.see(t, access.Reader, "/page/nodes/bad.example")
	if !strings.Contains(a.text(), "PCR 17, event 5") || !strings.Contains(a.text(), "shown to the role operator") {
		t.Errorf("%s", a.text())
	}
	if strings.Contains(a.body, "/evidence/") || strings.Contains(a.text(), "checks passed") {
		t.Errorf("a reader sees evidence: %s", a.text())
	}
}

func TestAVerdictThatHasEndedIsShownAsUnknown(t *testing.T) {
	t.Parallel()
	s := emptySite(t)
	if _, err := s.Add(t.Context(), "xen", "old.example"); err != nil {
		t.Fatal(err)
	}
	if err := s.Attest(t.Context(), time.Now(), time.Nanosecond); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/page/", "/page/nodes", "/page/nodes/old.example"} {
		a := s.see(t, access.Admin, path)
		if !strings.Contains(a.body, `class="badge unknown"`) || strings.Count(a.body, `class="badge trusted"`) > strings.Count(a.body, `<ol class="history">`) {
			t.Errorf("%s: %s", path, a.text())
		}
	}
}

func TestWhatEvidenceWouldBeNowIsSaidWhereItIsOtherwise(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	if _, err := s.Store.ApproveSet(t.Context(), act(), "draft", 1); err != nil { // it is what bad.example booted; its next answer is not there yet
		t.Fatal(err)
	}
	a := s.see(t, access.Operator, "/page/nodes/bad.example")
	if !strings.Contains(a.text(), "bad.example untrusted") || !strings.Contains(a.text(), "the same evidence would be trusted") {
		t.Errorf("%s", a.text())
	}
}

func TestAnAliasAndCapitalLettersLeadToTheNode(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, path := range []string{"/page/nodes/good", "/page/nodes/GOOD.example", "/page/nodes?begins=Good"} {
		a := s.ask(t, s.tokens[access.Reader], http.MethodGet, path, "")
		found := a.header.Get("Location") == "/page/nodes/good.example" || a.status == http.StatusOK && strings.Contains(a.body, "/page/nodes/good.example")
		if !found {
			t.Errorf("%s: %d %v", path, a.status, a.header)
		}
	}
}

func TestAListOfManyNodesComesInPages(t *testing.T) {
	t.Parallel()
	s := emptySite(t)
	var nodes []trust.Node
	for i := range 250 {
		name := fmt.Sprintf("n%03d.example", i)
		nodes = append(nodes, trust.Node{Name: name, Address: name + ":9443", Pool: "pool", Binding: verifier.BindingChain})
	}
	if _, err := s.Store.AddNodes(t.Context(), act(), nodes); err != nil {
		t.Fatal(err)
	}
	seen, path := 0, "/page/nodes?pool=pool&trust=unknown"
	for range 3 {
		a := s.see(t, access.Reader, path)
		seen += strings.Count(a.body, `<th scope="row">`)
		link, _, more := strings.Cut(a.body, `" rel="next"`)
		if !more {
			break
		}
		path = strings.ReplaceAll(link[strings.LastIndex(link, `"`)+1:], "&amp;", "&")
	}
	if seen != 250 {
		t.Errorf("%d of 250 nodes are listed", seen)
	}
	if a := s.see(t, access.Reader, "/page/"); !strings.Contains(a.text(), "250 nodes are not enrolled") || !strings.Contains(a.text(), "and 244 more") {
		t.Errorf("the overview: %s", a.text())
	}
}

func TestADryRunChangesNothingAndTellsWhomItWouldCondemn(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a := s.ask(t, s.tokens[access.Operator], http.MethodPost, "/page/sets/xen/effect", "")
	for _, want := range []string{"It would condemn 1 node", "good.example", "trustpoolctl knowngood retire xen", "Nothing was changed"} {
		if a.status != http.StatusOK || !strings.Contains(a.text(), want) {
			t.Errorf("it does not say %q: %d %s", want, a.status, a.text())
		}
	}
	if a := s.ask(t, s.tokens[access.Operator], http.MethodPost, "/page/sets/draft/effect", ""); !strings.Contains(a.text(), "It would condemn no node") || !strings.Contains(a.text(), "bad.example") {
		t.Errorf("approving: %s", a.text())
	}
	if set, err := s.Store.Set(t.Context(), "xen"); err != nil || set.State != trust.InForce {
		t.Errorf("%v, %v", set.State, err)
	}
}
