package nodetest_test

import (
	"testing"

	"github.com/trustpool/trustpool/server/internal/nodetest"
	"github.com/trustpool/trustpool/verifier"
)

func TestTheVerifierTakesASoftNodeForATPM(t *testing.T) {
	t.Parallel()

	node, err := nodetest.NewSoft("node1.example", "xen")
	if err != nil {
		t.Fatal(err)
	}
	known, err := node.KnownGood()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		hypervisor string
		want       verifier.Verdict
	}{{"xen", verifier.Trusted}, {"another", verifier.Refused}, {"", verifier.Refused}} {
		node.Reboot(test.hypervisor)
		nonce := []byte("a nonce of thirty-two bytes ....")
		ev, err := node.Evidence(nonce, verifier.DefaultSelection())
		if err != nil {
			t.Fatal(err)
		}
		result := verifier.Verify(ev, verifier.Policy{Nonce: nonce, BindMode: verifier.BindBound, KnownGood: known, Node: node.Record()})
		if result.Verdict != test.want {
			t.Errorf("%q: %s, %+v", test.hypervisor, result.Verdict, result.Checks)
		}
	}
	raw, err := node.Record().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := verifier.ParseNodeRecord(raw); err != nil {
		t.Error(err)
	}
}
