package trust_test

import (
	"strings"
	"testing"
	"time"

	"github.com/trustpool/trustpool/server/internal/trust"
	"github.com/trustpool/trustpool/verifier"
)

func TestNamesHaveOneForm(t *testing.T) {
	t.Parallel()

	for text, want := range map[string]string{
		"node1.example":                        "node1.example",
		"NODE1.Example":                        "node1.example",
		"564DBB18-9A4C-4E5F-8F3A-0123456789AB": "564dbb18-9a4c-4e5f-8f3a-0123456789ab",
		"2001:db8::1":                          "2001:db8::1",
		"":                                     "",
		"node1.example.":                       "",
		"-node":                                "",
		"node 1":                               "",
		"nöde":                                 "",
		"node\x00":                             "",
		"\u212aernel":                          "", // the Kelvin sign, whose small letter is k
		strings.Repeat("a", 254):               "",
	} {
		if got, err := trust.ParseName(text); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}

func TestWhatIsWrongWithANodeIsTold(t *testing.T) {
	t.Parallel()

	good := func() trust.Node {
		return trust.Node{
			Name: "node1.example", Aliases: []string{"node1"}, Address: "node1.example:9443", Pool: "pool",
			Labels: map[string]string{"rack": "7"}, Binding: verifier.BindingInventory, EK: trust.ExpectedEK{Name: make([]byte, 34)},
		}
	}
	for name, test := range map[string]struct {
		spoil func(*trust.Node)
		want  string
	}{
		"nothing":                 {func(*trust.Node) {}, ""},
		"no name":                 {func(n *trust.Node) { n.Name = "" }, "name: "},
		"a name in capitals":      {func(n *trust.Node) { n.Name = "Node1" }, `write "node1"`},
		"an alias twice":          {func(n *trust.Node) { n.Aliases = []string{"a", "a"} }, "aliases: a is there twice"},
		"its own name as alias":   {func(n *trust.Node) { n.Aliases = []string{n.Name} }, "twice"},
		"too many aliases":        {func(n *trust.Node) { n.Aliases = make([]string, 17) }, "at most 16"},
		"no port":                 {func(n *trust.Node) { n.Address = "node1" }, "host:port"},
		"no pool":                 {func(n *trust.Node) { n.Pool = "" }, "pool: "},
		"a label with a newline":  {func(n *trust.Node) { n.Labels["rack"] = "a\nb" }, "control characters"},
		"no binding":              {func(n *trust.Node) { n.Binding = "" }, "binding"},
		"inventory without an EK": {func(n *trust.Node) { n.EK = trust.ExpectedEK{} }, "needs the EK"},
		"first use with an EK":    {func(n *trust.Node) { n.Binding = verifier.BindingFirstUse }, "does not look at"},
		"an issuer alone":         {func(n *trust.Node) { n.EK.Issuer = "CN=Maker" }, "go together"},
		"a record of another EK": {func(n *trust.Node) {
			n.Record = &verifier.NodeRecord{Binding: n.Binding, EK: verifier.EKRecord{Name: []byte{1}}}
		}, "not that of the EK in the record"},
		"a record of another enrolment": {func(n *trust.Node) {
			n.Record = &verifier.NodeRecord{Binding: verifier.BindingFirstUse, EK: verifier.EKRecord{Name: n.EK.Name}}
		}, "by first_use"},
	} {
		n := good()
		test.spoil(&n)
		err := n.Check()
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhatIsWrongWithPoolsAndSetsIsTold(t *testing.T) {
	t.Parallel()

	for name, test := range map[string]struct {
		pool trust.Pool
		want string
	}{
		"good":              {trust.Pool{Name: "pool", Requires: []trust.Requirement{{trust.Platform, trust.AllOf}, {trust.Hypervisor, trust.AnyOf}}}, ""},
		"no name":           {trust.Pool{}, "is no name"},
		"an unknown part":   {trust.Pool{Name: "p", Requires: []trust.Requirement{{"bios", trust.AnyOf}}}, "part"},
		"an unknown match":  {trust.Pool{Name: "p", Requires: []trust.Requirement{{trust.Platform, "some"}}}, "match"},
		"a part twice":      {trust.Pool{Name: "p", Requires: []trust.Requirement{{trust.Platform, trust.AnyOf}, {trust.Platform, trust.AllOf}}}, "twice"},
		"a level that's no": {trust.Pool{Name: "p", Bindings: []verifier.EKBinding{"trust-me"}}, "bindings"},
	} {
		err := test.pool.Check()
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("pool, %s: %v", name, err)
		}
	}

	good := newBench(t).policy.Sets[0]
	for name, test := range map[string]struct {
		spoil func(*trust.Set)
		want  string
	}{
		"good":                          {func(*trust.Set) {}, ""},
		"no name":                       {func(s *trust.Set) { s.Name = "" }, "is no name"},
		"no part":                       {func(s *trust.Set) { s.Part = "" }, "part"},
		"a node without the part":       {func(s *trust.Set) { s.Node = "node1" }, "node"},
		"the part without a node":       {func(s *trust.Set) { s.Part = trust.HostSpecific }, "node"},
		"an end that is stored as none": {func(s *trust.Set) { s.ValidUntil = time.Unix(0, 0) }, "valid_until"},
		"an end before 1970":            {func(s *trust.Set) { s.ValidUntil = time.Unix(-1, 0) }, "valid_until"},
		"times in disorder":             {func(s *trust.Set) { s.ValidFrom, s.ValidUntil = noon, noon.Add(-time.Second) }, "valid_until"},
		"no values":                     {func(s *trust.Set) { s.KnownGood = verifier.KnownGood{} }, "no PCR"},
		"a pinned AK":                   {func(s *trust.Set) { s.KnownGood.AKs = make([]verifier.AKPin, 1) }, "pins AKs"},
		"a digest of no bank": {func(s *trust.Set) {
			s.KnownGood.PCRs = []verifier.KnownPCR{{Bank: 0x0B, PCR: 17, Values: []verifier.Hex{{1}}}}
		}, "known_good"},
	} {
		s := good
		test.spoil(&s)
		err := s.Check()
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("set, %s: %v", name, err)
		}
	}
}
