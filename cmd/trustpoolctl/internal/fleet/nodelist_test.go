package fleet

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/server/api"
)

func TestAnImportKnowsTheLineOfEachEntry(t *testing.T) {
	t.Parallel()

	list, err := parseCSV([]byte("# made by hand\nname,address,pool\na,a:1,gold\n# b is gone\nc,\"c:\n1\",gold\n\nd,d:1,gold\n"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int{3, 5, 8}, list.lines); diff != "" {
		t.Error(diff)
	}
	for _, text := range []string{
		"[\n{\"name\": \"a\"},\n\n{\"name\":\n\"b\"}]",
		"{\"nodes\": [\n{\"name\": \"a\"},\n\n{\"name\":\n\"b\"}]}",
	} {
		list, err := parseJSON([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]int{2, 4}, list.lines); diff != "" {
			t.Error(diff)
		}
		if len(list.nodes) != 2 || list.nodes[1].Name != "b" {
			t.Errorf("got %v", list.nodes)
		}
	}
}

func TestAListThatIsWrongInItselfSaysWhere(t *testing.T) {
	t.Parallel()

	for text, want := range map[string]string{
		"[\n{\"name\": \"a\", \"addr\": \"a:1\"}]": `line 2: entry 1: json: unknown field "addr"`,
		"{\"hosts\": []}":                          "line 1: this is no list of nodes",
		"[\n{\"name\": \"a\"}\n":                   "the list of nodes does not end as it began",
		"[{\"name\": \"a\"}] []":                   "line 1: something follows the end of the list of nodes",
		"{\"nodes\": [{\"name\": \"a\"}]":          "the list of nodes does not end as it began",
		"{\"nodes\": []}\n{\"nodes\": [{}]}":       "line 2: something follows the end of the list of nodes",
		"{\"nodes\": [], \"nodes\": [{}]}":         "the list of nodes does not end as it began",
		"\"a\"":                                    "this is no list of nodes",
		"":                                         "EOF",
		"[\n{\"name\": \"a\"},\n{]":                "line 3: entry 2: ",
	} {
		if _, err := parseJSON([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
	if _, err := parseCSV([]byte("name,address,pool\na,a:1,gold\nb,b:1\n")); err == nil || !strings.Contains(err.Error(), "record on line 3: wrong number of fields") {
		t.Errorf("got %v", err)
	}
}

func TestWhatTheServerRefusesOfAListIsToldByLine(t *testing.T) {
	t.Parallel()

	list := &nodeList{lines: []int{2, 5}, named: map[string]int{"b.example": 5}}
	for name, test := range map[string]struct {
		problem *api.Problem
		want    string
	}{
		"CSV": {
			&api.Problem{Status: 422, Errors: []api.FieldError{{Location: "body", Message: `reading the list of nodes: entry 1 (a): pool: "" is no name; entry 2 (b): address: "b" is no address, write host:port`}}},
			"no node of nodes was added:\nline 2 (a): pool: \"\" is no name\nline 5 (b): address: \"b\" is no address, write host:port",
		},
		"JSON": {
			&api.Problem{Status: 422, Errors: []api.FieldError{{Location: "body.nodes[1].address", Message: `"b" is no address, write host:port`}, {Location: "body.nodes[7].pool", Message: "is missing"}}},
			"no node of nodes was added:\nline 5: address: \"b\" is no address, write host:port\n.nodes[7].pool: is missing",
		},
		"what the database refuses": {
			&api.Problem{Status: 422, Errors: []api.FieldError{{Location: "body", Message: "adding the node b.example: the pool silver: there is none of this name"}}},
			"no node of nodes was added:\nline 5 (b.example): the pool silver: there is none of this name",
		},
	} {
		err := list.explain("nodes", test.problem)
		if diff := cmp.Diff(test.want, err.Error()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if api.StatusOf(err) != 422 || console.Hint(err) == "" {
			t.Errorf("%s: status %d, hint %q", name, api.StatusOf(err), console.Hint(err))
		}
	}
}
