package trust_test

import (
	"math/big"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trustpool/trustpool/server/internal/trust"
	"github.com/trustpool/trustpool/verifier"
)

func TestAListOfNodesIsRead(t *testing.T) {
	t.Parallel()

	ek := append([]byte{0, 0x0b}, make([]byte, 32)...)
	got, err := trust.ParseNodesCSV([]byte(`# from the vendor's delivery list
address,name,pool,binding,aliases,labels,ek_name,ek_serial,ek_issuer
10.0.0.1:9443,Node1.example,gold,,node1 564DBB18,rack=7 row=b,000b` + strings.Repeat("00", 32) + `,,
node2.example:9443,node2.example,gold,inventory,,,,30:82:0a,"CN=Maker EK CA 7,O=Maker"
node3.example:9443,node3.example,lab,first_use,,,,,
`))
	if err != nil {
		t.Fatal(err)
	}
	want := []trust.Node{
		{
			Name: "node1.example", Aliases: []string{"node1", "564dbb18"}, Address: "10.0.0.1:9443", Pool: "gold", Binding: verifier.BindingInventory,
			Labels: map[string]string{"rack": "7", "row": "b"}, EK: trust.ExpectedEK{Name: ek},
		},
		{
			Name: "node2.example", Address: "node2.example:9443", Pool: "gold", Binding: verifier.BindingInventory,
			EK: trust.ExpectedEK{Serial: big.NewInt(0x30820a), Issuer: "CN=Maker EK CA 7,O=Maker"},
		},
		{Name: "node3.example", Address: "node3.example:9443", Pool: "lab", Binding: verifier.BindingFirstUse},
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b *big.Int) bool { return a == nil && b == nil || a != nil && b != nil && a.Cmp(b) == 0 })); diff != "" {
		t.Error(diff)
	}
}

func TestAListOfNodesIsReadStrictly(t *testing.T) {
	t.Parallel()

	const head = "name,address,pool,binding,labels,ek_name,ek_serial,ek_issuer\n"
	for name, test := range map[string]struct{ list, want string }{
		"empty":                {"", "is empty"},
		"an unknown column":    {"name,address,pool,colour\n", `"colour" is unknown`},
		"a column twice":       {"name,address,pool,name\n", "twice"},
		"a column is missing":  {"name,pool\n", "address is missing"},
		"a field too few":      {head + "a,a:1,p\n", "wrong number of fields"},
		"no name":              {head + ",a:1,p,chain,,,,\n", "entry 1"},
		"no EK":                {head + "a,a:1,p,,,,,\n", "needs the EK"},
		"an EK Name of no hex": {head + "a,a:1,p,,,xyz,,\n", "invalid byte"},
		"no serial number":     {head + "a,a:1,p,,,,xyz,CN=a\n", "ek_serial"},
		"a label alone":        {head + "a,a:1,p,chain,rack,,,\n", "KEY=VALUE"},
		"two wrong lines":      {head + "a,a,p,chain,,,,\nb,b,p,chain,,,,\n", "entry 2"},
		"another binding":      {head + "a,a:1,p,tofu,,,,\n", "binding"},
	} {
		if _, err := trust.ParseNodesCSV([]byte(test.list)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzParseNodesCSV: each node of a list that is taken is one that could be added by itself.
func FuzzParseNodesCSV(f *testing.F) {
	f.Add([]byte("name,address,pool,binding,aliases,labels,ek_name,ek_serial,ek_issuer\na,a:1,p,chain,b c,k=v,,,\n"))
	f.Add([]byte("name,address,pool,ek_serial,ek_issuer\na,a:1,p,30:82,CN=a\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		nodes, err := trust.ParseNodesCSV(raw)
		for i := range nodes {
			if checkErr := nodes[i].Check(); checkErr != nil {
				t.Errorf("taken with %v: %v", err, checkErr)
			}
		}
	})
}
